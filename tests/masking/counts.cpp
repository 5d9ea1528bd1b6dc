// SPDX-License-Identifier: MIT
// Counts of hidden tokens: the published configurations, the reference's rounding, and the checks' truth values.
#include <data2vec/masking/counts.hpp>

#include <doctest/doctest.h>

using namespace data2vec;

// ImageNet base, large and huge-14: 1 - 0.8 is 0.19999999999999996, hence 39 and not 40 - 1 of 39.2.
static_assert(inverse_block_masked(196, 0.8) == 157);
static_assert(inverse_block_masked(196, 0.75) == 147);
static_assert(inverse_block_masked(256, 0.75) == 192);
static_assert(block_seeds(196, 1 - 0.8, 0.07, 3, 2) == 5);
static_assert(block_seeds(196, 1 - 0.75, 0.1, 3, 2) == 7);
static_assert(block_seeds(256, 1 - 0.75, 0.1, 3, 2) == 9);
static_assert(block_seeds(196, 0.6, 0, 4, 2) == 7);
// Speech base and large, text base and large.
static_assert(block_masked(499, 0.5) == 249 && block_masked(799, 0.5) == 399 && block_masked(749, 0.55) == 411);
static_assert(random_visible(512, 0.48) == 266 && random_visible(512, 0.5) == 256);

TEST_CASE("counts round as the reference does") {
  // Rows of the reference's table, chosen where the three rules differ.
  struct Row { int tokens; double mask_prob; int random, inverse_block, block; };
  for (const Row r : {Row{16, 0.7, 12, 12, 11}, Row{25, 0.75, 19, 19, 18}, Row{25, 0.6, 15, 15, 15},
                      Row{31, 0.42, 14, 14, 13}, Row{49, 0.8, 40, 40, 39}, Row{64, 0.55, 36, 36, 35},
                      Row{196, 0.55, 108, 108, 107}, Row{196, 0.7, 138, 138, 137}, Row{256, 0.48, 123, 123, 122},
                      Row{499, 0.5, 250, 250, 249}, Row{512, 0.42, 216, 216, 215}}) {
    CAPTURE(r.tokens);
    CAPTURE(r.mask_prob);
    CHECK(r.tokens - random_visible(r.tokens, r.mask_prob) == r.random);
    CHECK(inverse_block_masked(r.tokens, r.mask_prob) == r.inverse_block);
    CHECK(block_masked(r.tokens, r.mask_prob) == r.block);
  }
}

TEST_CASE("seeds: the window's area, the adjustment and the dropout") {
  CHECK(block_seeds(100, 0.5, 0, 5, 1) == 10);
  CHECK(block_seeds(100, 0.5, 0, 5, 2) == 2);
  CHECK(block_seeds(100, 0.5, 0.25, 5, 2) == 3);
  CHECK(block_seeds(100, 0.5, 0, 5, 1, 0.25) == 12);               // 12.5 truncated
}

TEST_CASE("halves are rounded to the even number") {
  CHECK(round_half_even(0.5) == 0);
  CHECK(round_half_even(1.5) == 2);
  CHECK(round_half_even(2.5) == 2);
  CHECK(round_half_even(2.4999) == 2);
  CHECK(round_half_even(2.5001) == 3);
  CHECK(visible_tokens(196, 157, 0) == 39);
  CHECK(visible_tokens(100, 50, 0.25) == 62);                      // 12.5 hidden tokens are shown: 12
  CHECK(visible_tokens(100, 50, 0.27) == 64);                      // 13.5: 14
}

static_assert(check::MaskProbInside<MaskConfig{.mask_prob = 0.5}>);
static_assert(!check::MaskProbInside<MaskConfig{.mask_prob = 0}> && !check::MaskProbInside<MaskConfig{.mask_prob = 1}>);
static_assert(!check::KeepMaskedPctInside<MaskConfig{.keep_masked_pct = 1}>);
static_assert(!check::MaskDropoutInside<MaskConfig{.mask_dropout = -0.1}>);
static_assert(check::HidesSomeAndShowsSome<2, 1> && !check::HidesSomeAndShowsSome<2, 2> &&
              !check::HidesSomeAndShowsSome<2, 0>);
