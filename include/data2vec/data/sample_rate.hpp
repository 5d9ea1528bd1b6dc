// SPDX-License-Identifier: MIT
// Sound at another sample rate (libsamplerate), piece by piece in bounded memory. Where the pieces are cut changes no
// bit. Part of data2vec::audio.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <samplerate.h>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// Quality of a conversion: libsamplerate's band-limited converters with 97 dB (fast), 121 dB and 145 dB (best) of
/// signal to noise.
enum class RateQuality { fast, medium, best };

/// Samples that `count` samples at `from` Hz become at `to` Hz: floor(count * to / from).
constexpr std::int64_t resampled_length(std::int64_t count, int from, int to) {
  const std::int64_t whole = count / from, rest = count % from;  // the product of all could overflow
  return whole * to + rest * to / from;
}

/// Sample rates that can be told apart from nonsense, in Hz.
inline constexpr int min_sample_rate = 100, max_sample_rate = 1'000'000;

/// One channel from one rate to another. Samples are asked for; the source is asked for what they need.
class SampleRateConverter {
 public:
  /// `from` and `to` in Hz, at most a factor of 256 apart. Throws OptionError.
  SampleRateConverter(int from, int to, RateQuality quality = RateQuality::medium) {
    for (const int rate : {from, to})
      if (rate < min_sample_rate || rate > max_sample_rate)
        throw OptionError("sample rate: expected " + std::to_string(min_sample_rate) + " to " +
                          std::to_string(max_sample_rate) + " Hz, found " + std::to_string(rate));
    ratio_ = static_cast<double>(to) / from;
    if (!src_is_valid_ratio(ratio_))
      throw OptionError("sample rates: expected at most a factor of 256, found " + std::to_string(from) + " and " +
                        std::to_string(to));
    if (from == to) return;  // nothing to do
    constexpr std::array<int, 3> kinds{SRC_SINC_FASTEST, SRC_SINC_MEDIUM_QUALITY, SRC_SINC_BEST_QUALITY};
    int problem = 0;
    state_.reset(src_new(kinds.at(static_cast<std::size_t>(quality)), 1, &problem));
    if (!state_) throw Error(std::string("libsamplerate: ") + src_strerror(problem));
    block_.resize(4096);
  }

  /// Writes all of `out`. `source(std::span<float>)` returns how many samples it wrote, fewer than asked for at its end
  /// only; zeros are taken to follow, so that the last samples of a recording come out as well.
  template <class Source>
  void read(Source&& source, std::span<float> out) {
    if (!state_) {
      std::fill(out.begin() + static_cast<std::ptrdiff_t>(source(out)), out.end(), 0.0f);
      return;
    }
    while (!out.empty()) {
      if (used_ == held_) {
        const std::size_t got = ended_ ? 0 : source(std::span<float>(block_));
        ended_ = got < block_.size();
        std::fill(block_.begin() + static_cast<std::ptrdiff_t>(got), block_.end(), 0.0f);
        used_ = 0, held_ = block_.size();
      }
      SRC_DATA data{};
      data.data_in = block_.data() + used_;
      data.input_frames = static_cast<long>(held_ - used_);
      data.data_out = out.data();
      data.output_frames = static_cast<long>(std::min<std::size_t>(out.size(), 1 << 20));
      data.src_ratio = ratio_;
      if (const int problem = src_process(state_.get(), &data))
        throw Error(std::string("libsamplerate: ") + src_strerror(problem));
      used_ += static_cast<std::size_t>(data.input_frames_used);
      out = out.subspan(static_cast<std::size_t>(data.output_frames_gen));
    }
  }

 private:
  struct Release {
    void operator()(SRC_STATE* state) const { src_delete(state); }
  };
  std::unique_ptr<SRC_STATE, Release> state_;
  double ratio_ = 1;
  std::vector<float> block_;
  std::size_t used_ = 0, held_ = 0;
  bool ended_ = false;
};

}  // namespace data2vec::inline v0
