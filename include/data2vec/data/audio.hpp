// SPDX-License-Identifier: MIT
// Recordings (WAV, FLAC, OGG, MP3 and whatever else libsndfile knows) as mono samples at one rate, whole or as a stream
// in bounded memory. Kinds are told apart by content and never by name. Part of data2vec::audio.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sndfile.h>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/data/sample_rate.hpp>
#include <data2vec/io/file.hpp>

namespace data2vec::inline v0 {

/// A recording that cannot be used. `reason` is one of: "not audio", "truncated", "corrupt", "unsupported", "empty",
/// "not finite", "silent", "too short", "changed"; the text says more.
struct AudioError : FileError {
  AudioError(const std::string& file, const char* why, const std::string& what)
      : FileError(file, std::string(why) + ": " + what), reason(why) {}
  std::string reason;
};

/// What a file says about its sound, before any of it is decoded.
struct AudioInfo {
  int rate = 0, channels = 0;  ///< Hz; as stored
  std::int64_t frames = 0;     ///< samples of each channel, at `rate`
  std::uint64_t bytes = 0;     ///< size of the file
  friend bool operator==(const AudioInfo&, const AudioInfo&) = default;
};

namespace detail {

/// libsndfile takes what is left of a RIFF file whose data chunk goes beyond its end for all of it. Throws AudioError.
inline void expect_whole_riff(const std::string& file, std::uint64_t bytes) {
  std::ifstream in(file, std::ios::binary);
  std::array<unsigned char, 12> head{};
  const auto read = [&](std::size_t count) {
    in.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(count));
    return static_cast<std::size_t>(in.gcount()) == count;
  };
  const auto is = [&](std::size_t at, const char* name) { return std::memcmp(head.data() + at, name, 4) == 0; };
  if (!read(12) || !is(0, "RIFF") || !is(8, "WAVE")) return;
  for (std::uint64_t at = 12; read(8);) {
    std::uint64_t size = 0;
    for (std::size_t i = 8; i-- > 4;) size = size << 8 | head[i];
    at += 8;
    if (is(0, "data")) {
      // Writers that could not seek back leave 0, or about 2^31 or 2^32: no size.
      const bool unknown = size == 0 || size >= 0xFFFF0000u || (size >= 0x7FFF0000u && size <= 0x7FFFFFFFu);
      if (!unknown && size > bytes - at)
        throw AudioError(file, "truncated",
                         "data at offset " + std::to_string(at) + ": expected " + std::to_string(size) +
                             " bytes, found " + std::to_string(bytes - at));
      return;
    }
    at += size + (size & 1);
    in.seekg(static_cast<std::streamoff>(at));
  }
}

/// libsndfile takes the last page that is there for the end of an Ogg stream; a whole one says that it is the last
/// (RFC 3533, header_type_flag). Throws AudioError.
inline void expect_whole_ogg(const std::string& file, std::uint64_t bytes) {
  std::ifstream in(file, std::ios::binary);
  std::string tail(4, '\0');
  if (!in.read(tail.data(), 4) || tail != "OggS") return;
  constexpr std::uint64_t page = 65307;  // bytes at most
  const std::uint64_t from = bytes > page ? bytes - page : 0;
  tail.resize(static_cast<std::size_t>(bytes - from));
  in.seekg(static_cast<std::streamoff>(from));
  in.read(tail.data(), static_cast<std::streamsize>(tail.size()));
  const std::size_t at = tail.rfind("OggS");
  if (at == std::string::npos || at + 5 >= tail.size() || !(static_cast<unsigned char>(tail[at + 5]) & 4))
    throw AudioError(file, "truncated",
                     "last page at offset " + std::to_string(from + std::min(at, tail.size())) +
                         ": expected the mark of the end of the stream, found none");
}

struct CloseSound {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using Sound = std::unique_ptr<SNDFILE, CloseSound>;

inline std::pair<Sound, AudioInfo> open_sound(const std::string& file) {
  AudioInfo info;
  info.bytes = InputFile(file).size();
  if (info.bytes == 0) throw AudioError(file, "not audio", "expected a recording, found an empty file");
  SF_INFO header{};
  Sound sound(sf_open(file.c_str(), SFM_READ, &header));
  if (!sound) {
    const int problem = sf_error(nullptr);
    const char* why = problem == SF_ERR_UNRECOGNISED_FORMAT    ? "not audio"
                      : problem == SF_ERR_UNSUPPORTED_ENCODING ? "unsupported"
                                                               : "corrupt";
    throw AudioError(file, why, std::string("libsndfile: ") + sf_strerror(nullptr));
  }
  info.rate = header.samplerate, info.channels = header.channels, info.frames = header.frames;
  if (info.rate < min_sample_rate || info.rate > max_sample_rate)
    throw AudioError(file, "unsupported",
                     "sample rate: expected " + std::to_string(min_sample_rate) + " to " +
                         std::to_string(max_sample_rate) + " Hz, found " + std::to_string(info.rate));
  if (info.channels < 1) throw AudioError(file, "corrupt", "channels: expected 1 or more, found none");
  expect_whole_riff(file, info.bytes);
  expect_whole_ogg(file, info.bytes);
  if (info.frames < 1) throw AudioError(file, "empty", "expected samples, found none");
  if (info.frames >= std::numeric_limits<std::int64_t>::max() / max_sample_rate)
    throw AudioError(file, "unsupported", "expected a length in the header, found none");
  return {std::move(sound), info};
}

}  // namespace detail

/// Reads the header alone. Throws FileError for what cannot be read, AudioError for what is no usable recording.
inline AudioInfo audio_info(const std::string& file) { return detail::open_sound(file).second; }

/// A recording as a stream of mono samples at one rate: channels are averaged, then the rate is converted. Memory does
/// not depend on the length. Samples are those of 16 bits / 32768, and what float files hold.
class AudioReader {
 public:
  /// Opens a file for samples at `rate` Hz; 0: the file's own. Throws FileError, AudioError, OptionError.
  explicit AudioReader(const std::string& file, int rate = 0, RateQuality quality = RateQuality::medium)
      : AudioReader(file, detail::open_sound(file), rate, quality) {}

  const AudioInfo& info() const { return info_; }      ///< of the file
  int rate() const { return rate_; }                   ///< of the samples that are read
  std::int64_t length() const { return length_; }      ///< samples in all
  std::int64_t position() const { return position_; }  ///< samples read so far

  /// The next samples: as many as `out` holds, fewer at the end, then 0. Throws AudioError where the file holds fewer
  /// frames than its header says, or a number that is not finite.
  std::size_t read(std::span<float> out) {
    const auto left = static_cast<std::uint64_t>(length_ - position_);
    out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left)));
    converter_.read([this](std::span<float> to) { return mixed(to); }, out);
    position_ += static_cast<std::int64_t>(out.size());
    if (position_ == length_) expect_end();
    return out.size();
  }

 private:
  AudioReader(const std::string& file, std::pair<detail::Sound, AudioInfo> opened, int rate, RateQuality quality)
      : file_(file),
        sound_(std::move(opened.first)),
        info_(opened.second),
        rate_(rate == 0 ? info_.rate : rate),
        converter_(info_.rate, rate_, quality),
        length_(resampled_length(info_.frames, info_.rate, rate_)),
        frames_(4096 * static_cast<std::size_t>(info_.channels)) {}

  /// Mono samples at the rate of the file, fewer than asked for at its end.
  std::size_t mixed(std::span<float> out) {
    const auto channels = static_cast<std::size_t>(info_.channels);
    std::size_t done = 0;
    while (done < out.size() && frame_ < info_.frames) {
      const auto most =
          std::min<std::int64_t>({static_cast<std::int64_t>(out.size() - done),
                                  static_cast<std::int64_t>(frames_.size() / channels), info_.frames - frame_});
      const sf_count_t got = sf_readf_float(sound_.get(), frames_.data(), most);
      if (got < most) fail_short(frame_ + std::max<sf_count_t>(got, 0));
      for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
        float sum = 0;
        for (std::size_t c = 0; c < channels; ++c) sum += frames_[i * channels + c];
        const float value = channels == 1 ? sum : sum / static_cast<float>(channels);
        if (!is_finite(value))
          throw AudioError(file_, "not finite",
                           "frame " + std::to_string(frame_ + static_cast<std::int64_t>(i)) +
                               ": expected a finite number, found " + std::to_string(value));
        out[done++] = value;
      }
      frame_ += got;
    }
    return done;
  }

  /// The converter may not need the last frames; they are part of the file all the same.
  void expect_end() {
    std::array<float, 256> rest;
    while (mixed(rest) == rest.size()) {}
  }

  [[noreturn]] void fail_short(std::int64_t found) const {
    const int problem = sf_error(sound_.get());
    std::string text = "expected " + std::to_string(info_.frames) + " frames, found " + std::to_string(found);
    if (problem != SF_ERR_NO_ERROR) text += std::string("; libsndfile: ") + sf_strerror(sound_.get());
    throw AudioError(file_, problem == SF_ERR_NO_ERROR ? "truncated" : "corrupt", text);
  }

  std::string file_;
  detail::Sound sound_;
  AudioInfo info_;
  int rate_;
  SampleRateConverter converter_;
  std::int64_t length_, position_ = 0, frame_ = 0;
  std::vector<float> frames_;  // (frames, channels)
};

/// All samples of a recording, mono, at `rate` Hz (0: its own).
inline std::vector<float> read_audio(const std::string& file, int rate = 0, RateQuality quality = RateQuality::medium) {
  AudioReader reader(file, rate, quality);
  std::vector<float> samples(static_cast<std::size_t>(reader.length()));
  reader.read(samples);
  return samples;
}

}  // namespace data2vec::inline v0
