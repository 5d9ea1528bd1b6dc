// SPDX-License-Identifier: MIT
// Block masks: windows at borders, exact counts, the corner rule that folding onto the border implies.
#include <data2vec/masking/block.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

using namespace data2vec;

namespace {

Rng rng_at(std::uint32_t update) { return Rng(DrawKey{.seed = 23, .update = update, .site = Site::masks}); }

using ImageBase = InverseBlockMask<Grid{14, 14},
                                   MaskConfig{.mask_prob = 0.8, .mask_prob_adjust = 0.07, .mask_length = 3}>;
using ImageLarge = InverseBlockMask<Grid{14, 14},
                                    MaskConfig{.mask_prob = 0.75, .mask_prob_adjust = 0.1, .mask_length = 3}>;
using ImageHuge14 = InverseBlockMask<Grid{16, 16},
                                     MaskConfig{.mask_prob = 0.75, .mask_prob_adjust = 0.1, .mask_length = 3}>;
using SpeechBase = BlockMask1d<499, MaskConfig{.mask_prob = 0.5, .mask_prob_adjust = 0.05, .mask_length = 5}>;
using Wide = BlockMask<Grid{4, 10}, MaskConfig{.mask_prob = 0.6, .mask_length = 3}>;

static_assert(MaskingPolicy<ImageBase> && MaskingPolicy<SpeechBase> && MaskingPolicy<Wide>);
static_assert(ImageBase::tokens == 196 && ImageBase::seeds == 5);
static_assert(ImageBase::visible == 39 && ImageBase::masked == 157);
static_assert(ImageLarge::visible == 49 && ImageLarge::masked == 147 && ImageLarge::seeds == 7);
static_assert(ImageHuge14::visible == 64 && ImageHuge14::masked == 192 && ImageHuge14::seeds == 9);
static_assert(SpeechBase::masked == 249 && SpeechBase::visible == 250 && SpeechBase::seeds == 54);
static_assert(Wide::tokens == 40 && Wide::masked == 24);

/// The marks of one block as text, rows separated by '/'.
std::string block_at(Grid grid, int length, int row, int column) {
  bool marks[64] = {};
  mark_block(grid, length, row * grid.width + column, marks);
  std::string text;
  for (int t = 0; t < grid.size(); ++t) {
    if (t > 0 && t % grid.width == 0) text += '/';
    text += marks[t] ? '#' : '.';
  }
  return text;
}

template <MaskingPolicy P>
void check_counts() {
  Mask<P::tokens> mask;
  for (std::uint32_t i = 0; i < 300; ++i) {
    Rng rng = rng_at(i);
    P::sample(rng, mask);
    REQUIRE(count_marks(P::tokens, mask.hidden) == masked_tokens<P>);
  }
}

}  // namespace

TEST_CASE("a block lies around its seed and is cut off at borders") {
  CHECK(block_at({5, 5}, 3, 2, 2) == "...../.###./.###./.###./.....");
  CHECK(block_at({5, 5}, 3, 0, 0) == "##.../##.../...../...../.....");
  CHECK(block_at({5, 5}, 3, 4, 3) == "...../...../...../..###/..###");
  CHECK(block_at({5, 5}, 4, 2, 2) == "####./####./####./####./.....");  // an even side reaches further up and left
  CHECK(block_at({5, 5}, 4, 4, 4) == "...../...../..###/..###/..###");
  CHECK(block_at({5, 5}, 2, 0, 0) == "#..../...../...../...../.....");
  CHECK(block_at({1, 8}, 5, 0, 3) == ".#####..");
  CHECK(block_at({1, 8}, 5, 0, 0) == "###.....");
  CHECK(block_at({1, 8}, 4, 0, 7) == ".....###");
}

TEST_CASE("cutting off is the same as clamping every index, as the reference does") {
  const Grid grid{4, 6};
  for (int length = 1; length <= 7; ++length)
    for (int cell = 0; cell < grid.size(); ++cell) {
      bool cut[24] = {}, clamped[24] = {};
      mark_block(grid, length, cell, cut);
      for (int i = 0; i < length; ++i)
        for (int j = 0; j < length; ++j) {
          const int y = std::clamp(cell / 6 + i - length / 2, 0, 3), x = std::clamp(cell % 6 + j - length / 2, 0, 5);
          clamped[y * 6 + x] = true;
        }
      REQUIRE(std::equal(cut, cut + 24, clamped));
    }
}

TEST_CASE("block masks hide exactly the policy's count") {
  check_counts<ImageBase>();
  check_counts<ImageLarge>();
  check_counts<ImageHuge14>();
  check_counts<SpeechBase>();
  check_counts<Wide>();
}

TEST_CASE("block mask: with the target at the size of the drawn block nothing is added or removed") {
  bool marks[64];
  for (std::uint32_t i = 0; i < 200; ++i) {
    Rng rng = rng_at(i);
    const int cell = static_cast<int>(rng.below(64));
    bool expected[64] = {};
    mark_block({8, 8}, 3, cell, expected);
    Rng same = rng_at(i);
    block_mask(same, {8, 8}, 3, 1, count_marks(64, expected), marks);
    REQUIRE(std::equal(marks, marks + 64, expected));
  }
}

TEST_CASE("inverse block mask is the complement of the block mask of the same stream") {
  bool hidden[196], shown[196];
  Rng a = rng_at(1), b = rng_at(1);
  inverse_block_mask(a, {14, 14}, 3, 5, 39, hidden);
  block_mask(b, {14, 14}, 3, 5, 39, shown);
  for (int t = 0; t < 196; ++t) REQUIRE(hidden[t] != shown[t]);
}

TEST_CASE("block mask: seeds and removals are uniform") {
  // One seed, 3 x 3, and as target the 4 cells of the smallest (corner) block: a cell's chance to be marked is the mean
  // over the seeds whose block holds it of the share of that block that is kept.
  constexpr int draws = 40'000;
  std::array<int, 25> count{};
  bool marks[25];
  for (std::uint32_t i = 0; i < draws; ++i) {
    Rng rng = rng_at(i);
    block_mask(rng, {5, 5}, 3, 1, 4, marks);
    for (std::size_t t = 0; t < 25; ++t) count[t] += marks[t];
  }
  for (int cell = 0; cell < 25; ++cell) {
    double p = 0;
    for (int seed = 0; seed < 25; ++seed) {
      bool block[25] = {};
      mark_block({5, 5}, 3, seed, block);
      if (block[cell]) p += 4.0 / count_marks(25, block) / 25;
    }
    CAPTURE(cell);
    CHECK(std::abs(count[static_cast<std::size_t>(cell)] - draws * p) < 5 * std::sqrt(draws * p * (1 - p)));
  }
}

TEST_CASE("block masks: equal keys give equal marks") {
  Mask<196> a, b, c;
  Rng first = rng_at(8), again = rng_at(8), other = rng_at(9);
  ImageBase::sample(first, a);
  ImageBase::sample(again, b);
  ImageBase::sample(other, c);
  CHECK(std::equal(std::begin(a.hidden), std::end(a.hidden), b.hidden));
  CHECK_FALSE(std::equal(std::begin(a.hidden), std::end(a.hidden), c.hidden));
}
