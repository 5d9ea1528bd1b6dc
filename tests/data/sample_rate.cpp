// SPDX-License-Identifier: MIT
// Conversion of sample rates: lengths, a sine stays a sine, pieces do not show, what is above half the rate is gone.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <data2vec/data/sample_rate.hpp>

#include "tests/data/audio_files.hpp"

namespace d2v = data2vec;
using namespace audio_files;

namespace {

std::vector<float> convert(const std::vector<float>& in, int from, int to, std::size_t piece = 1 << 20,
                           d2v::RateQuality quality = d2v::RateQuality::medium) {
  d2v::SampleRateConverter converter(from, to, quality);
  std::size_t at = 0;
  const auto source = [&](std::span<float> block) {
    const std::size_t count = std::min(block.size(), in.size() - at);
    std::copy_n(in.begin() + static_cast<std::ptrdiff_t>(at), count, block.begin());
    at += count;
    return count;
  };
  std::vector<float> out(
      static_cast<std::size_t>(d2v::resampled_length(static_cast<std::int64_t>(in.size()), from, to)));
  for (std::size_t done = 0; done < out.size(); done += piece)
    converter.read(source, std::span<float>(out).subspan(done, std::min(piece, out.size() - done)));
  return out;
}

double energy(const std::vector<float>& x) {
  double sum = 0;
  for (const float v : x) sum += double{v} * double{v};
  return sum / static_cast<double>(x.size());
}

}  // namespace

TEST_CASE("sample rate: lengths are floor(count * to / from), without overflow") {
  static_assert(d2v::resampled_length(44'100, 44'100, 16'000) == 16'000);
  static_assert(d2v::resampled_length(1, 44'100, 16'000) == 0);
  static_assert(d2v::resampled_length(1001, 16'000, 8000) == 500);
  static_assert(d2v::resampled_length(std::int64_t{1} << 50, 48'000, 16'000) == (std::int64_t{1} << 50) / 3);
  CHECK(convert(noise(1001, 1), 16'000, 8000).size() == 500);
}

TEST_CASE("sample rate: a sine stays the same sine, at its own time") {
  // 97 dB of signal to noise is 1.4e-5 of the amplitude, 8 times that is an error. The ends, where the converter sees
  // silence outside, are left out.
  for (const auto& [from, to] : {std::pair{8000, 16'000}, {44'100, 16'000}, {48'000, 16'000}, {22'050, 16'000}})
    for (const auto quality : {d2v::RateQuality::fast, d2v::RateQuality::medium, d2v::RateQuality::best}) {
      CAPTURE(quality);
      const auto out = convert(sine(static_cast<std::size_t>(from), 440, from), from, to, 1 << 20, quality);
      const auto expected = sine(out.size(), 440, to);
      REQUIRE(out.size() == static_cast<std::size_t>(to));
      double most = 0;
      for (std::size_t i = 2000; i < out.size() - 2000; ++i)
        most = std::max(most, std::abs(double{out[i] - expected[i]}));
      CHECK(most < 8 * 1.4e-5 * 0.5);
    }
}

TEST_CASE("sample rate: what the new rate cannot hold is gone") {
  const auto out = convert(sine(48'000, 11'000, 48'000), 48'000, 16'000);
  CHECK(energy(std::vector<float>(out.begin() + 2000, out.end() - 2000)) < 1e-9);  // -80 dB of 0.125
}

TEST_CASE("sample rate: pieces do not show; the same rate changes nothing") {
  const auto in = noise(20'000, 2);
  const auto whole = convert(in, 22'050, 16'000);
  CHECK(convert(in, 22'050, 16'000, 1) == whole);
  CHECK(convert(in, 22'050, 16'000, 333) == whole);
  CHECK(convert(in, 16'000, 16'000, 777) == in);
}

TEST_CASE("sample rate: what is refused") {
  CHECK_THROWS_WITH_AS(d2v::SampleRateConverter(16'000, 99), "sample rate: expected 100 to 1000000 Hz, found 99",
                       d2v::OptionError);
  CHECK_THROWS_WITH_AS(d2v::SampleRateConverter(1'000'000, 1000),
                       "sample rates: expected at most a factor of 256, found 1000000 and 1000", d2v::OptionError);
}
