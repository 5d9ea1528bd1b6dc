// SPDX-License-Identifier: MIT
// Random numbers: the published vectors of Philox4x32-10, and the distributions built on it. Statistical bounds are
// five standard deviations of the statistic under the right distribution; the draws are the same in every run.
#include <data2vec/core/random.hpp>

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

using namespace data2vec;

using Words = std::array<std::uint32_t, 4>;

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
static_assert(philox({0, 0, 0, 0}, 0) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
static_assert(philox({~0u, ~0u, ~0u, ~0u}, ~std::uint64_t{0}) ==
              Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
static_assert(philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, 0x299f31d0a4093822u) ==
              Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});

TEST_CASE("philox: published vectors at run time") {
  volatile std::uint32_t zero = 0;                               // keeps the compiler from evaluating the call
  CHECK(philox({zero, zero, zero, zero}, zero) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
}

TEST_CASE("Rng reads the blocks of its key in order") {
  const DrawKey key{.seed = 5, .update = 7, .sample = 11, .mask = 3, .site = Site::noise, .layer = 2};
  Rng rng(key);
  for (std::uint32_t block = 0; block < 3; ++block)
    for (const std::uint32_t word : draw(key, block)) CHECK(rng.next() == word);
}

TEST_CASE("unit_float lies in [0, 1)") {
  CHECK(unit_float(0) == 0.0f);
  CHECK(unit_float(~0u) == 1.0f - 0x1p-24f);
  Rng rng(DrawKey{.seed = 1});
  constexpr int n = 100'000, cells = 64;
  std::array<int, cells> count{};
  for (int i = 0; i < n; ++i) {
    const float u = rng.uniform();
    REQUIRE(u >= 0.0f);
    REQUIRE(u < 1.0f);
    ++count[static_cast<std::size_t>(u * cells)];
  }
  double chi_square = 0;
  for (const int c : count) chi_square += std::pow(c - double{n} / cells, 2) / (double{n} / cells);
  CHECK(std::abs(chi_square - (cells - 1)) < 5 * std::sqrt(2.0 * (cells - 1)));
}

TEST_CASE("below has no bias where 2^32 is far from a multiple") {
  // Without rejection, 3 * 2^30 outcomes out of 2^32 words would give the multiples of 3 half of all draws.
  Rng rng(DrawKey{.seed = 2});
  constexpr int n = 60'000;
  std::array<int, 3> count{};
  for (int i = 0; i < n; ++i) {
    const std::uint32_t x = rng.below(3u << 30);
    REQUIRE(x < (3u << 30));
    ++count[x % 3];
  }
  const double bound = 5 * std::sqrt(n * (1.0 / 3) * (2.0 / 3));
  for (const int c : count) CHECK(std::abs(c - n / 3.0) < bound);
}

TEST_CASE("below reaches every number of a small range equally often, and only 0 of a range of one") {
  Rng rng(DrawKey{.seed = 3});
  constexpr int n = 70'000, range = 7;
  std::array<int, range> count{};
  for (int i = 0; i < n; ++i) ++count[rng.below(range)];
  for (const int c : count) CHECK(std::abs(c - n / 7.0) < 5 * std::sqrt(n * (1.0 / 7) * (6.0 / 7)));
  for (int i = 0; i < 10; ++i) CHECK(rng.below(1) == 0);
}

TEST_CASE("normal numbers have the moments of N(0, 1)") {
  Rng rng(DrawKey{.seed = 4, .site = Site::noise});
  constexpr int n = 200'000;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
  for (int i = 0; i < n; ++i) {
    const double x = rng.normal();
    REQUIRE(std::isfinite(x));
    m1 += x, m2 += x * x, m3 += x * x * x, m4 += x * x * x * x;
  }
  // Variances of x, x^2, x^3, x^4 under N(0, 1): 1, 2, 15, 96.
  CHECK(std::abs(m1 / n) < 5 * std::sqrt(1.0 / n));
  CHECK(std::abs(m2 / n - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::abs(m3 / n) < 5 * std::sqrt(15.0 / n));
  CHECK(std::abs(m4 / n - 3) < 5 * std::sqrt(96.0 / n));
}

TEST_CASE("the two numbers of a pair are finite at the ends of the range and independent") {
  for (const std::uint32_t a : {0u, 255u, ~0u})
    for (const std::uint32_t b : {0u, ~0u})
      for (const float x : normal_pair(a, b)) CHECK(std::isfinite(x));
  constexpr int n = 100'000;
  double product = 0;
  Rng rng(DrawKey{.seed = 6});
  for (int i = 0; i < n; ++i) {
    const std::uint32_t a = rng.next();
    const auto pair = normal_pair(a, rng.next());
    product += static_cast<double>(pair[0]) * static_cast<double>(pair[1]);
  }
  CHECK(std::abs(product / n) < 5 * std::sqrt(1.0 / n));
}

TEST_CASE("streams of keys that differ in one field are independent") {
  const DrawKey base{.seed = 9, .update = 100, .sample = 20, .mask = 4, .site = Site::masks, .layer = 1};
  DrawKey others[6] = {base, base, base, base, base, base};
  others[0].seed = 10;
  others[1].update = 101;
  others[2].sample = 21;
  others[3].mask = 5;
  others[4].site = Site::noise;
  others[5].layer = 2;
  for (const DrawKey& other : others) {
    CAPTURE(static_cast<int>(&other - others));
    Rng a(base), b(other);
    constexpr int n = 4000;
    int different_bits = 0;
    for (int i = 0; i < n; ++i) different_bits += std::popcount(a.next() ^ b.next());
    CHECK(std::abs(different_bits - 16.0 * n) < 5 * std::sqrt(32.0 * n / 4));
  }
}

TEST_CASE("equal keys give equal streams") {
  const DrawKey key{.seed = 42, .update = 1, .sample = 2, .mask = 3, .site = Site::drop_path_mlp, .layer = 4};
  Rng a(key), b(key);
  for (int i = 0; i < 100; ++i) REQUIRE(a.next() == b.next());
}
