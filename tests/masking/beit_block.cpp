// SPDX-License-Identifier: MIT
// BEiT's blocks against statistics of the reference's generator: 4000 masks on a grid of 14 x 14.
#include <doctest/doctest.h>

#include <cmath>

#include <data2vec/masking/beit_block.hpp>

using namespace data2vec;

namespace {

struct Statistics {
  double mean = 0, exact = 0, centre = 0, corner = 0;
  int least = 1 << 20, most = 0;
};

template <class Policy, int side>
Statistics statistics(int draws) {
  Statistics s;
  for (int i = 0; i < draws; ++i) {
    Rng rng({.seed = 5, .update = static_cast<std::uint32_t>(i)});
    Mask<Policy::tokens> mask;
    const int count = Policy::sample(rng, mask);
    int hidden = 0;
    for (const bool h : mask.hidden) hidden += h;
    REQUIRE(hidden == count);
    s.mean += count;
    s.exact += count == Policy::most;
    s.centre += mask.hidden[side / 2 * side + side / 2];
    s.corner += mask.hidden[0];
    s.least = std::min(s.least, count);
    s.most = std::max(s.most, count);
  }
  s.mean /= draws, s.exact /= draws, s.centre /= draws, s.corner /= draws;
  return s;
}

/// Five deviations of the difference of two frequencies of `n` draws each.
double bound(double p, int n) { return 5 * std::sqrt(2 * p * (1 - p) / n); }

}  // namespace

TEST_CASE("beit blocks: counts and places are those of the reference") {
  constexpr int n = 4000;
  const auto s = statistics<BeitBlockMask<Grid{14, 14}, BeitMaskConfig{.num_mask_patches = 120}>, 14>(n);
  CHECK(s.mean == doctest::Approx(119.507).epsilon(5 * 0.96 * std::sqrt(2.0 / n) / 119.5));  // deviation 0.96
  CHECK(std::fabs(s.exact - 0.68725) < bound(0.687, n));
  CHECK(std::fabs(s.centre - 0.936) < bound(0.936, n));
  CHECK(std::fabs(s.corner - 0.09125) < bound(0.091, n));
  CHECK(s.most == 120);
  CHECK(s.least >= 100);
}

TEST_CASE("beit blocks: a small grid") {
  constexpr int n = 4000;
  constexpr BeitMaskConfig config{
      .num_mask_patches = 8, .min_mask_patches_per_block = 2, .max_mask_patches_per_block = 16};
  const auto s = statistics<BeitBlockMask<Grid{4, 4}, config>, 4>(n);
  CHECK(std::fabs(s.exact - 0.99475) < bound(0.994, n));
  CHECK(std::fabs(s.centre - 0.69825) < bound(0.698, n));
  CHECK(std::fabs(s.corner - 0.33125) < bound(0.331, n));
}
