// SPDX-License-Identifier: MIT
// Every kind of sound file, whole and as a stream; what is broken is named with its reason.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <data2vec/data/audio.hpp>

#include "tests/data/audio_files.hpp"

namespace d2v = data2vec;
using namespace audio_files;

namespace {

std::string reason_of(auto&& f) {
  try {
    f();
  } catch (const d2v::AudioError& error) {
    return error.reason;
  }
  return "";
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(double{a[i]} - double{b[i]}));
  return most;
}

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    ab += double{a[i]} * double{b[i]}, aa += double{a[i]} * double{a[i]}, bb += double{b[i]} * double{b[i]};
  return ab / std::sqrt(aa * bb);
}

constexpr int wav16 = SF_FORMAT_WAV | SF_FORMAT_PCM_16, flac16 = SF_FORMAT_FLAC | SF_FORMAT_PCM_16,
              vorbis = SF_FORMAT_OGG | SF_FORMAT_VORBIS, mp3 = SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III,
              wav_float = SF_FORMAT_WAV | SF_FORMAT_FLOAT;

}  // namespace

TEST_CASE("audio: lossless kinds give what was written; names do not matter") {
  const Folder folder("audio_kinds");
  const auto samples = noise(5000, 1);
  for (const int format : {wav16, flac16, wav_float, SF_FORMAT_WAV | SF_FORMAT_PCM_24}) {
    CAPTURE(format);
    const std::string file = sound(folder.file("no_ending"), samples, 16'000, 1, format);
    const d2v::AudioInfo info = d2v::audio_info(file);
    CHECK(info == d2v::AudioInfo{16'000, 1, 5000, std::filesystem::file_size(file)});
    const auto found = d2v::read_audio(file);
    // libsndfile writes x * 32767 rounded and reads x / 32768: half a step, and a step of what is 1.
    CHECK(largest_difference(found, samples) <= (format == wav_float ? 0 : 0x1p-16 + 0.5 * 0x1p-15));
  }
}

TEST_CASE("audio: lossy kinds give the same sound") {
  const Folder folder("audio_lossy");
  const auto samples = sine(48'000, 440, 16'000);
  for (const int format : {vorbis, mp3}) {
    CAPTURE(format);
    const auto found = d2v::read_audio(sound(folder.file("sound"), samples, 16'000, 1, format));
    CHECK(std::abs(static_cast<double>(found.size()) - 48'000) <= 2 * 1152);  // MP3 comes in frames of 1152 samples
    CHECK(correlation(found, samples) > (format == vorbis ? 0.99 : 0.5));     // MP3 may come a little later
  }
}

TEST_CASE("audio: channels are averaged") {
  const Folder folder("audio_mono");
  std::vector<float> stereo;
  for (int i = 0; i < 1000; ++i) stereo.push_back(0.5f), stereo.push_back(static_cast<float>(i % 2) * 0.25f);
  const auto found = d2v::read_audio(sound(folder.file("stereo.wav"), stereo, 8000, 2, wav_float));
  REQUIRE(found.size() == 1000);
  CHECK(found[0] == 0.25f);
  CHECK(found[1] == 0.375f);
}

TEST_CASE("audio: another rate, whole or in pieces, has the same bits") {
  const Folder folder("audio_rate");
  const std::string file = sound(folder.file("a.wav"), noise(30'000, 2), 44'100, 1, wav_float);
  const auto whole = d2v::read_audio(file, 16'000);
  CHECK(whole.size() == 30'000ull * 16'000 / 44'100);
  for (const std::size_t piece : {1u, 7u, 1000u, 4096u, 20'000u}) {
    d2v::AudioReader reader(file, 16'000);
    CHECK(reader.length() == static_cast<std::int64_t>(whole.size()));
    std::vector<float> found, some(piece);
    while (const std::size_t got = reader.read(some))
      found.insert(found.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(got));
    CHECK(found == whole);
    CHECK(reader.position() == reader.length());
  }
}

TEST_CASE("audio: what is no usable recording is named with a reason") {
  const Folder folder("audio_bad");
  const auto error = [&](const std::string& file) { return error_of<d2v::AudioError>([&] { d2v::read_audio(file); }); };
  const auto reason = [&](const std::string& file) { return reason_of([&] { d2v::read_audio(file); }); };
  CHECK(reason(folder.write("text.wav", "this is not a sound file, however it is called")) == "not audio");
  CHECK(reason(folder.write("empty.wav", "")) == "not audio");
  CHECK(reason(sound(folder.file("none.wav"), {})) == "empty");
  CHECK_THROWS_AS(d2v::read_audio(folder.file("gone.wav")), d2v::FileError);

  const auto samples = noise(20'000, 3);
  const auto cut = [&](const std::string& name, int format, double share) {
    const std::string whole = read(sound(folder.file(name), samples, 16'000, 1, format));
    return folder.write(name, whole.substr(0, static_cast<std::size_t>(share * static_cast<double>(whole.size()))));
  };
  const std::string wav = cut("cut.wav", wav16, 0.5);  // 44 bytes before the 40,000 of the data
  CHECK(has(error(wav), "cut.wav: truncated: data at offset 44: expected 40000 bytes, found 19978"));
  CHECK(reason_of([&] { d2v::audio_info(wav); }) == "truncated");  // the header is enough to see it
  CHECK(reason(cut("cut.ogg", vorbis, 0.5)) == "truncated");
  const std::string flac = reason(cut("cut.flac", flac16, 0.5));
  CHECK((flac == "truncated" || flac == "corrupt"));
  CHECK(has(error(folder.file("cut.flac")), "expected 20000 frames, found "));

  auto broken = samples;
  broken[12'345] = std::numeric_limits<float>::quiet_NaN();
  const std::string nan = sound(folder.file("nan.wav"), broken, 16'000, 1, wav_float);
  CHECK(has(error(nan), "nan.wav: not finite: frame 12345: expected a finite number, found "));
  broken[12'345] = 0, broken[19'999] = std::numeric_limits<float>::infinity();  // the last one, which may not be needed
  CHECK(reason_of([&] { d2v::read_audio(sound(nan, broken, 16'000, 1, wav_float), 8000); }) == "not finite");
  CHECK_THROWS_AS(d2v::read_audio(nan, 10), d2v::OptionError);
}

TEST_CASE("audio: a header whose writer could not seek back is no truncation") {
  const Folder folder("audio_pipe");
  std::string bytes = read(sound(folder.file("a.wav"), noise(1000, 4)));
  for (std::size_t i = 40; i < 44; ++i) bytes[i] = '\xff';
  CHECK(d2v::read_audio(folder.write("a.wav", bytes)).size() == 1000);
}
