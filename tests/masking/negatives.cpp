// SPDX-License-Identifier: MIT
// Distractors: never the position itself, all others equally often.
#include <data2vec/masking/negatives.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>

using namespace data2vec;

TEST_CASE("negatives: never the position itself, all others alike") {
  constexpr int first = 5, positions = 9, draws = 20'000, count = 4;
  for (const int self : {5, 8, 13}) {
    std::array<int, 20> found{};
    for (std::uint32_t i = 0; i < draws; ++i) {
      Rng rng({.seed = 3, .update = i});
      int negatives[count];
      sample_negatives(rng, first, positions, self, count, negatives);
      for (const int n : negatives) ++found.at(static_cast<std::size_t>(n));
    }
    double chi_square = 0;
    const double each = draws * count / (positions - 1.0);
    for (int p = 0; p < 20; ++p) {
      const int n = found[static_cast<std::size_t>(p)];
      if (p < first || p >= first + positions || p == self) CHECK(n == 0);
      else chi_square += std::pow(n - each, 2) / each;
    }
    CHECK(std::abs(chi_square - (positions - 2)) < 5 * std::sqrt(2.0 * (positions - 2)));
  }
}

TEST_CASE("negatives: none where there is no other position") {
  Rng rng({.seed = 4});
  int negatives[3];
  sample_negatives(rng, 7, 1, 7, 3, negatives);
  for (const int n : negatives) CHECK(n == -1);
  sample_negatives(rng, 7, 2, 7, 3, negatives);
  for (const int n : negatives) CHECK(n == 8);
}
