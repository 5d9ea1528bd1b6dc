// SPDX-License-Identifier: MIT
// Moments, normalisation, crops and padding of samples in memory.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include <data2vec/data/waveform.hpp>

#include "tests/data/audio_files.hpp"

namespace d2v = data2vec;
using audio_files::noise;

TEST_CASE("waveform: moments in pieces are those of the whole, with a large offset too") {
  for (const float offset : {0.0f, 1000.0f}) {
    auto samples = noise(1000, 1);
    for (float& x : samples) x += offset;
    double mean = 0, variance = 0;
    for (const float x : samples) mean += double{x} / 1000;
    for (const float x : samples) variance += (double{x} - mean) * (double{x} - mean) / 1000;
    d2v::WaveformMoments moments;
    const std::span<const float> all(samples);
    moments.add(all.first(1)), moments.add(all.subspan(1, 0)), moments.add(all.subspan(1));
    CHECK(moments.count() == 1000);
    // Sums of 1000 terms in double, relative to the terms: 8 * 2^-52 * sqrt(1000) = 6e-14.
    CHECK(std::abs(moments.mean() - mean) < 6e-14 * (1 + double{offset}));
    CHECK(std::abs(moments.variance() - variance) < 6e-14);
    CHECK(moments.amplitude() == doctest::Approx(0.5).epsilon(0.01));
  }
  CHECK(d2v::WaveformMoments().variance() == 0);
}

TEST_CASE("waveform: normalised to mean 0 and variance v / (v + 1e-5)") {
  auto samples = noise(5000, 2, 0.01f);
  d2v::WaveformMoments before, after;
  before.add(samples);
  d2v::normalise(samples);
  after.add(samples);
  CHECK(std::abs(after.mean()) < 8 * double{std::numeric_limits<float>::epsilon()});
  CHECK(after.variance() == doctest::Approx(before.variance() / (before.variance() + 1e-5)).epsilon(1e-6));
  std::vector<float> silent(100, 0.25f);
  d2v::normalise(silent);
  CHECK(silent == std::vector<float>(100, 0.0f));
}

TEST_CASE("waveform: a crop is a stretch of the recording, every one of them possible") {
  const auto samples = noise(10, 3);
  std::set<std::ptrdiff_t> starts;
  for (std::uint32_t sample = 0; sample < 400; ++sample) {
    const d2v::Rng rng({.seed = 1, .sample = sample});
    std::vector<float> out(4), again(4);
    CHECK(d2v::crop_or_pad(samples, rng, out) == 4);
    d2v::crop_or_pad(samples, rng, again);
    CHECK(out == again);
    const auto at = std::search(samples.begin(), samples.end(), out.begin(), out.end());
    REQUIRE(at != samples.end());
    starts.insert(at - samples.begin());
  }
  CHECK(starts == std::set<std::ptrdiff_t>{0, 1, 2, 3, 4, 5, 6});  // missing one of 7: 7 (6/7)^400 = 1e-26
}

TEST_CASE("waveform: what is too short is followed by zeros") {
  const auto samples = noise(3, 4);
  std::vector<float> out(5, 9.0f);
  CHECK(d2v::crop_or_pad(samples, d2v::Rng({}), out) == 3);
  CHECK(out == std::vector<float>{samples[0], samples[1], samples[2], 0, 0});
  CHECK(d2v::crop_or_pad({}, d2v::Rng({}), out) == 0);
  CHECK(out == std::vector<float>(5));
}
