// SPDX-License-Identifier: MIT
// Random masks: exact counts, uniform sets, equal marks for equal keys.
#include <data2vec/masking/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

using namespace data2vec;

namespace {

Rng rng_at(std::uint32_t update) { return Rng(DrawKey{.seed = 17, .update = update, .site = Site::masks}); }

using TextBase = RandomMask<512, MaskConfig{.mask_prob = 0.48, .mask_length = 1}>;
static_assert(MaskingPolicy<TextBase>);
static_assert(TextBase::visible == 266 && TextBase::masked == 246 && masked_tokens<TextBase> == 246);

// The student sees a quarter of the hidden tokens all the same: they stay hidden in the mask.
using Kept = RandomMask<100, MaskConfig{.mask_prob = 0.5, .keep_masked_pct = 0.25}>;
static_assert(Kept::masked == 50 && Kept::visible == 62 && masked_tokens<Kept> == 50);

// A mask can be drawn while compiling: nothing in the algorithm needs memory or a library.
static_assert([] {
  Rng rng(DrawKey{});
  Mask<16> mask;
  RandomMask<16, MaskConfig{.mask_prob = 0.75}>::sample(rng, mask);
  return count_marks(16, mask.hidden);
}() == 12);

}  // namespace

TEST_CASE("random mask: exactly the policy's count, whatever was in the mask before") {
  Mask<512> mask;
  std::fill(std::begin(mask.hidden), std::end(mask.hidden), true);
  for (std::uint32_t i = 0; i < 200; ++i) {
    Rng rng = rng_at(i);
    TextBase::sample(rng, mask);
    REQUIRE(count_marks(512, mask.hidden) == 246);
  }
}

TEST_CASE("random mask: every position equally often") {
  constexpr int tokens = 49, masked = 20, draws = 20'000;
  std::array<int, tokens> count{};
  bool marks[tokens];
  for (std::uint32_t i = 0; i < draws; ++i) {
    Rng rng = rng_at(i);
    random_mask(rng, tokens, masked, marks);
    for (std::size_t t = 0; t < tokens; ++t) count[t] += marks[t];
  }
  // The marks of a draw have variance p (1 - p) and sum to a constant, so their covariance is p (1 - p) tokens /
  // (tokens - 1) times the projection orthogonal to (1, ..., 1): the sum is chi-square with tokens - 1 degrees.
  const double p = double{masked} / tokens, variance = draws * p * (1 - p) * tokens / (tokens - 1.0);
  double chi_square = 0;
  for (const int c : count) chi_square += std::pow(c - draws * p, 2) / variance;
  CHECK(std::abs(chi_square - (tokens - 1)) < 5 * std::sqrt(2.0 * (tokens - 1)));
}

TEST_CASE("random mask: every set equally often") {
  std::map<int, int> count;
  constexpr int draws = 20'000;
  bool marks[6];
  for (std::uint32_t i = 0; i < draws; ++i) {
    Rng rng = rng_at(i);
    random_mask(rng, 6, 3, marks);
    int set = 0;
    for (int t = 0; t < 6; ++t) set |= (marks[t] ? 1 : 0) << t;
    ++count[set];
  }
  REQUIRE(count.size() == 20);                                     // 6 choose 3
  double chi_square = 0;
  for (const auto& [set, c] : count) chi_square += std::pow(c - draws / 20.0, 2) / (draws / 20.0);
  CHECK(chi_square < 19 + 5 * std::sqrt(2.0 * 19));
}

TEST_CASE("random mask: equal keys give equal marks, other keys others") {
  Mask<512> a, b, c;
  Rng first = rng_at(3), again = rng_at(3), other = rng_at(4);
  TextBase::sample(first, a);
  TextBase::sample(again, b);
  TextBase::sample(other, c);
  CHECK(std::equal(std::begin(a.hidden), std::end(a.hidden), b.hidden));
  CHECK_FALSE(std::equal(std::begin(a.hidden), std::end(a.hidden), c.hidden));
}

TEST_CASE("mark_exactly only adds or only removes") {
  for (std::uint32_t i = 0; i < 100; ++i) {
    for (const int target : {0, 3, 8, 13, 20}) {
      bool before[20], after[20];
      for (int t = 0; t < 20; ++t) before[t] = after[t] = t % 5 < 2;  // 8 marks
      Rng rng = rng_at(i);
      mark_exactly(rng, 20, target, after);
      REQUIRE(count_marks(20, after) == target);
      for (int t = 0; t < 20; ++t) REQUIRE((target >= 8 ? after[t] >= before[t] : after[t] <= before[t]));
    }
  }
}
