// SPDX-License-Identifier: MIT
// Log-mel spectrograms: a tone is loudest in its band, energy by the definition, shapes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/evaluation/log_mel.hpp>

using namespace data2vec;

TEST_CASE("log-mel: a tone is loudest in the band around it") {
  const LogMel mel({.rate = 8000});
  for (const double hz : {300.0, 1000.0, 2500.0}) {
    std::vector<float> x(2000);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(std::sin(6.283185307 * hz / 8000 * static_cast<double>(i)));
    const auto y = mel(x);
    REQUIRE(mel.frames(x.size()) == 23);
    REQUIRE(y.size() == 23 * 40);
    const auto loudest = std::max_element(y.begin() + 400, y.begin() + 440) - y.begin() - 400;
    const double step = 2595 * std::log10(1 + 4000 / 700.0) / 41;
    CHECK(std::fabs(2595 * std::log10(1 + hz / 700) / step - 1 - static_cast<double>(loudest)) < 1);
  }
}

TEST_CASE("log-mel: bands are weighted sums of the power spectrum") {
  const LogMelOptions o{.rate = 1000, .bands = 4, .window = 0.02, .hop = 0.01, .pre_emphasis = 0.5};
  Rng rng({.seed = 2});
  std::vector<float> x(35);
  for (float& v : x) v = rng.normal();
  const auto y = LogMel(o)(x);
  REQUIRE(y.size() == 2 * 4);
  for (int frame = 0; frame < 2; ++frame)
    for (int band = 0; band < 4; ++band) {
      double energy = 0;
      for (int bin = 0; bin <= 10; ++bin) {
        std::complex<double> sum = 0;
        for (int i = 0; i < 20; ++i) {
          const int at = 10 * frame + i;
          const double now = static_cast<double>(x[static_cast<std::size_t>(at)]);
          const double before = at > 0 ? static_cast<double>(x[static_cast<std::size_t>(at - 1)]) : 0;
          sum += (now - 0.5 * before) * (0.5 - 0.5 * std::cos(6.283185307179586 * i / 20)) *
                 std::polar(1.0, -6.283185307179586 * bin * i / 20);
        }
        const double top = 2595 * std::log10(1 + 500 / 700.0), at = 2595 * std::log10(1 + bin * 50 / 700.0) / top * 5;
        energy += std::max(0.0, 1 - std::fabs(at - (band + 1))) * std::norm(sum);
      }
      CHECK(y[static_cast<std::size_t>(4 * frame + band)] == doctest::Approx(std::log(energy + 1e-10)).epsilon(1e-5));
    }
  CHECK(LogMel(o).frames(3) == 1);
  CHECK(LogMel(o)(std::vector<float>(3, 1.0f)).size() == 4);
  const auto summary = LogMel(o).summary(x, 3);
  REQUIRE(summary.size() == 3 * 4 + 1);
  CHECK(summary.back() == doctest::Approx(std::log(2.0)));
  for (int band = 0; band < 4; ++band) {  // the first and the last stretch are the two frames, the middle is their mean
    CHECK(summary[static_cast<std::size_t>(band)] == doctest::Approx(-summary[static_cast<std::size_t>(8 + band)]));
    CHECK(std::fabs(summary[static_cast<std::size_t>(4 + band)]) < 1e-6f);
  }
  CHECK_THROWS_AS(LogMel({.rate = 1000, .bands = 40}), OptionError);
}
