// SPDX-License-Identifier: MIT
// Recordings by index: lengths once, samples at one rate and normalised, broken ones counted, replaced and limited.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <data2vec/data/recordings.hpp>

#include "tests/data/audio_files.hpp"

namespace d2v = data2vec;
using namespace audio_files;
using Counts = std::map<std::string, int>;

namespace {

constexpr int wav_float = SF_FORMAT_WAV | SF_FORMAT_FLOAT;

/// Ten recordings of 1000, 1100, ... samples.
d2v::Manifest ten(const Folder& folder) {
  for (std::uint32_t i = 0; i < 10; ++i)
    sound(folder.file("r/" + std::to_string(i) + ".wav"), noise(1000 + 100 * i, i), 16'000, 1, wav_float);
  return d2v::open_manifest(folder.text());
}

}  // namespace

TEST_CASE("recordings: lengths at the wanted rate, samples of whole utterances with mean 0 and variance 1") {
  const Folder folder("recordings");
  sound(folder.file("a.wav"), noise(8000, 1), 8000);
  sound(folder.file("b.flac"), noise(5000, 2), 16'000, 1, SF_FORMAT_FLAC | SF_FORMAT_PCM_16);
  const d2v::Recordings data(d2v::open_manifest(folder.text()));
  CHECK(data.lengths() == std::vector<std::int64_t>{16'000, 5000});
  CHECK(data.entry(0).rate == 8000);
  CHECK(data.entry(0).frames == 8000);
  CHECK(data.name(1) == folder.file("b.flac"));
  std::vector<float> samples;
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(data.load(i, samples) == i);
    CHECK(static_cast<std::int64_t>(samples.size()) == data.lengths()[i]);
    d2v::WaveformMoments moments;
    moments.add(samples);
    CHECK(std::abs(moments.mean()) < 1e-6);
    CHECK(std::abs(moments.variance() - 1) < 2e-4);  // 1e-5 beside a variance of 0.08
  }
  const d2v::Recordings raw(d2v::open_manifest(folder.text()), {.normalise = false});
  raw.load(1, samples);
  CHECK(samples == d2v::read_audio(folder.file("b.flac")));
  CHECK_THROWS_AS(raw.load(2, samples), d2v::OptionError);
}

TEST_CASE("recordings: every reason is counted, the limit names files") {
  const Folder folder("recordings_bad");
  auto manifest = ten(folder);
  folder.write("r/0.wav", "no sound");
  sound(folder.file("r/1.wav"), noise(10, 1));
  const std::string whole = read(folder.file("r/2.wav"));
  folder.write("r/2.wav", whole.substr(0, 3000));
  std::filesystem::remove(folder.file("r/3.wav"));
  auto bad = noise(1400, 4);
  bad[700] = NAN;
  sound(folder.file("r/4.wav"), bad, 16'000, 1, wav_float);
  sound(folder.file("r/5.wav"), std::vector<float>(1500, 0.125f), 16'000, 1, wav_float);
  const d2v::Recordings data(manifest, {.min_samples = 400, .max_broken = 0.6});
  CHECK(data.skipped().reasons == Counts{{"not audio", 1}, {"too short", 1}, {"truncated", 1}, {"unreadable", 1}});
  REQUIRE(data.size() == 6);  // 4 to 9: the two that only their samples tell are still among them
  std::vector<float> samples;
  CHECK(data.load(0, samples) == 2);
  CHECK(samples.size() == 1600);
  CHECK(data.load(1, samples) == 2);
  CHECK(data.load(5, samples) == 5);
  CHECK(data.skipped().reasons ==
        Counts{
            {"not audio", 1}, {"not finite", 1}, {"silent", 1}, {"too short", 1}, {"truncated", 1}, {"unreadable", 1}});
  CHECK_THROWS_AS(data.read(0, samples), d2v::AudioError);  // for evaluation: no replacement
  const auto text =
      error_of<d2v::FileError>([&] { d2v::Recordings(manifest, {.min_samples = 400, .max_broken = 0.3}); });
  CHECK(has(text,
            "recordings that cannot be used: expected at most 3 of 10, found 4 (1 not audio, 1 too short, "
            "1 truncated, 1 unreadable); the first: "));
  for (const char* name :
       {"r/0.wav", "r/1.wav: too short: expected 400 samples at 16000 Hz, found 10", "r/2.wav", "r/3.wav"})
    CHECK(has(text, name));
  const d2v::Recordings strict(manifest, {.min_samples = 400, .max_broken = 0.5});
  CHECK(has(error_of<d2v::FileError>([&] { strict.load(0, samples); }), "expected at most 5 of 10, found 6"));
}

TEST_CASE("recordings: the one that takes a broken one's place is the same for every thread") {
  const Folder folder("recordings_threads");
  auto manifest = ten(folder);
  for (const char* name : {"r/3.wav", "r/4.wav", "r/9.wav"})
    sound(folder.file(name), std::vector<float>(static_cast<std::size_t>(900 + 100 * (name[2] - '/')), 0.5f), 16'000, 1,
          wav_float);
  const d2v::Recordings data(manifest, {.max_broken = 0.3});
  const std::size_t expected[] = {0, 1, 2, 5, 5, 5, 6, 7, 8, 0};
  std::vector<int> wrong(3);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      std::vector<float> samples;
      for (std::size_t k = 0; k < 30; ++k)
        wrong[t] += data.load((k * 3 + t) % 10, samples) != expected[(k * 3 + t) % 10];
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(3));
  CHECK(data.skipped().reasons == Counts{{"silent", 3}});
}

TEST_CASE("recordings: headers are read once; a file of another size is read again") {
  const Folder folder("recordings_index");
  const auto manifest = ten(folder);
  const d2v::RecordingOptions options{.max_broken = 0.5, .index = folder.file("index.tsv")};
  const d2v::Recordings first(manifest, options);
  // Files of the same size that are no sound any more: only who opens them sees it.
  for (const char* name : {"r/1.wav", "r/2.wav"}) folder.write(name, std::string(read(folder.file(name)).size(), 'x'));
  sound(folder.file("r/5.wav"), noise(4000, 5), 16'000, 1, wav_float);
  const d2v::Recordings second(manifest, options);
  REQUIRE(second.size() == 10);
  CHECK(second.lengths()[4] == first.lengths()[4]);
  CHECK(second.lengths()[5] == 4000);
  CHECK(d2v::Recordings(manifest, {.max_broken = 0.5}).size() == 8);
  std::vector<float> samples;
  CHECK(second.load(1, samples) == 3);
  const Folder other("recordings_index_other");  // the index of another root does not count
  CHECK(d2v::Recordings(ten(other), options).lengths() == first.lengths());
}

TEST_CASE("recordings: a file that changed since the index was made") {
  const Folder folder("recordings_changed");
  const d2v::Recordings data(ten(folder), {.max_broken = 0.1});
  sound(folder.file("r/6.wav"), noise(1234, 9), 16'000, 1, wav_float);
  std::vector<float> samples;
  CHECK(has(
      error_of<d2v::AudioError>([&] { data.read(6, samples); }),
      "r/6.wav: changed: expected 1600 frames at 16000 Hz as in the manifest or its index, found 1234 at 16000 Hz"));
  CHECK(data.load(6, samples) == 7);
  CHECK(data.skipped().reasons == Counts{{"changed", 1}});
}

TEST_CASE("recordings: a manifest's lengths are checked, or trusted without opening a file") {
  const Folder folder("recordings_trust");
  sound(folder.file("0.wav"), noise(500, 1));
  sound(folder.file("1.wav"), noise(600, 2), 8000);
  const auto manifest = d2v::open_manifest(folder.write("m.tsv", folder.text() + "\n0.wav\t501\n1.wav\t600\n"));
  CHECK(d2v::Recordings(manifest, {.max_broken = 0.5}).skipped().reasons == Counts{{"changed", 1}});
  const d2v::Recordings trusting(manifest, {.max_broken = 1, .scan = false});
  CHECK(trusting.lengths() == std::vector<std::int64_t>{501, 600});
  std::vector<float> samples;
  CHECK_THROWS_AS(trusting.load(0, samples), d2v::FileError);  // one is shorter, one of another rate
  CHECK(trusting.skipped().reasons == Counts{{"changed", 2}});
  CHECK_THROWS_AS(d2v::Recordings(manifest, {.rate = 10}), d2v::OptionError);
  CHECK_THROWS_AS(d2v::Recordings(manifest, {.min_samples = 0}), d2v::OptionError);
}
