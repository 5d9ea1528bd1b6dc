// SPDX-License-Identifier: MIT
// Block masks: squares on a grid of patches, windows on a sequence (data2vec 2.0, "Inverse block masking"; fairseq's
// `compute_block_mask_2d` and `compute_block_mask_1d`). Seeds are drawn with replacement, blocks may overlap, and
// single tokens are added or removed at the end, so that the count is exact.
#pragma once

#include <data2vec/core/check.hpp>
#include <data2vec/core/macros.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/masking/counts.hpp>
#include <data2vec/masking/policy.hpp>
#include <data2vec/masking/random.hpp>

namespace data2vec::inline v0 {

/// Marks the block of side `length` around `cell` in `marks` (grid): offsets -length/2 .. length-1-length/2 on both
/// axes. The reference clamps indices to the grid, which folds the outside onto the border; since the block holds its
/// own seed, that is the same set as the block cut off at the border. A sequence is a grid of height 1.
D2V_HD constexpr void mark_block(Grid grid, int length, int cell, bool* marks) {
  const int row = cell / grid.width, column = cell % grid.width;
  const int before = length / 2, after = length - 1 - before;
  const int top = row - before > 0 ? row - before : 0;
  const int bottom = row + after < grid.height - 1 ? row + after : grid.height - 1;
  const int left = column - before > 0 ? column - before : 0;
  const int right = column + after < grid.width - 1 ? column + after : grid.width - 1;
  for (int y = top; y <= bottom; ++y)
    for (int x = left; x <= right; ++x) marks[y * grid.width + x] = true;
}

/// Blocks of side `length` around `seeds` uniformly drawn cells, then exactly `target` marked cells by adding or
/// removing uniformly; overwrites `marks` (grid). 1 <= length, 0 <= target <= cells of the grid.
D2V_HD constexpr void block_mask(Rng& rng, Grid grid, int length, int seeds, int target, bool* marks) {
  const int cells = grid.height * grid.width;
  for (int t = 0; t < cells; ++t) marks[t] = false;
  for (int i = 0; i < seeds; ++i)
    mark_block(grid, length, static_cast<int>(rng.below(static_cast<std::uint32_t>(cells))), marks);
  mark_exactly(rng, cells, target, marks);
}

/// The complement: blocks of side `length` stay visible, exactly `visible` cells of them; overwrites `marks` (grid)
/// with true at hidden cells.
D2V_HD constexpr void inverse_block_mask(Rng& rng, Grid grid, int length, int seeds, int visible, bool* marks) {
  block_mask(rng, grid, length, seeds, visible, marks);
  for (int t = 0; t < grid.height * grid.width; ++t) marks[t] = !marks[t];
}

/// Policy: hides squares on a grid, `int(tokens * mask_prob)` tokens in all. Reads all of `MaskConfig` but `add_masks`.
template <Grid grid, MaskConfig C>
struct BlockMask : detail::FixedCountMask<grid.size(), block_masked(grid.size(), C.mask_prob), C> {
  static_assert(check::AtLeast<C.mask_length, 2>, "data2vec: MaskConfig::mask_length must be at least 2 for blocks");
  static constexpr int seeds =
      block_seeds(grid.size(), C.mask_prob, C.mask_prob_adjust, C.mask_length, 2, C.mask_dropout);
  static_assert(check::AtLeast<seeds, 0>,
                "data2vec: MaskConfig::mask_prob + mask_prob_adjust must not be negative");

  D2V_HD static constexpr void sample(Rng& rng, Mask<grid.size()>& mask) {
    block_mask(rng, grid, C.mask_length, seeds, BlockMask::masked, mask.hidden);
  }
};

/// Policy: squares on a grid stay visible, `int(tokens * (1 - mask_prob))` tokens in all (images in data2vec 2.0).
/// Reads all of `MaskConfig` but `add_masks`.
template <Grid grid, MaskConfig C>
struct InverseBlockMask : detail::FixedCountMask<grid.size(), inverse_block_masked(grid.size(), C.mask_prob), C> {
  static_assert(check::AtLeast<C.mask_length, 2>, "data2vec: MaskConfig::mask_length must be at least 2 for blocks");
  static constexpr int seeds =
      block_seeds(grid.size(), 1 - C.mask_prob, C.mask_prob_adjust, C.mask_length, 2, C.mask_dropout);
  static_assert(check::AtLeast<seeds, 0>,
                "data2vec: 1 - MaskConfig::mask_prob + mask_prob_adjust must not be negative");

  D2V_HD static constexpr void sample(Rng& rng, Mask<grid.size()>& mask) {
    constexpr int shown = InverseBlockMask::tokens - InverseBlockMask::masked;
    inverse_block_mask(rng, grid, C.mask_length, seeds, shown, mask.hidden);
  }
};

/// Policy: hides windows of a sequence, `int(tokens * mask_prob)` tokens in all (speech in data2vec 2.0, whose data
/// loader draws these masks). Reads all of `MaskConfig` but `add_masks`.
template <int token_count, MaskConfig C>
struct BlockMask1d : detail::FixedCountMask<token_count, block_masked(token_count, C.mask_prob), C> {
  static_assert(check::AtLeast<C.mask_length, 1>, "data2vec: MaskConfig::mask_length must be at least 1");
  static constexpr int seeds =
      block_seeds(token_count, C.mask_prob, C.mask_prob_adjust, C.mask_length, 1, C.mask_dropout);
  static_assert(check::AtLeast<seeds, 0>,
                "data2vec: MaskConfig::mask_prob + mask_prob_adjust must not be negative");

  D2V_HD static constexpr void sample(Rng& rng, Mask<token_count>& mask) {
    block_mask(rng, Grid{1, token_count}, C.mask_length, seeds, BlockMask1d::masked, mask.hidden);
  }

  /// Of a row of which the first `valid` tokens are no padding (masking/policy.hpp, PaddedMaskingPolicy).
  D2V_HD static constexpr int masked_of(int valid) {
    constexpr double prob = C.mask_prob;
    return BlockMask1d::within_slots(valid, block_masked(valid, prob));
  }
  D2V_HD static constexpr int visible_of(int valid) { return BlockMask1d::visible_among(valid, masked_of(valid)); }
  D2V_HD static constexpr void sample(Rng& rng, Mask<token_count>& mask, int valid) {
    constexpr double prob = C.mask_prob, adjust = C.mask_prob_adjust, dropout = C.mask_dropout;
    for (int t = valid; t < token_count; ++t) mask.hidden[t] = false;
    block_mask(rng, Grid{1, valid}, C.mask_length, block_seeds(valid, prob, adjust, C.mask_length, 1, dropout),
               masked_of(valid), mask.hidden);
  }
};

}  // namespace data2vec::inline v0
