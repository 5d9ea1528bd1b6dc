// SPDX-License-Identifier: MIT
// Blocks of patches as BEiT hides them (Bao et al., 2022, algorithm 1; data2vec's vision models): rectangles of random
// area and aspect until enough is hidden. At most so many patches, often but not always all of them.
#pragma once

#include <algorithm>
#include <cmath>

#include <data2vec/core/check.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/masking/policy.hpp>

namespace data2vec::inline v0 {

/// Field names and defaults are those of data2vec's vision models.
struct BeitMaskConfig {
  int num_mask_patches = 75;
  int min_mask_patches_per_block = 16;
  int max_mask_patches_per_block = 196;

  friend constexpr bool operator==(const BeitMaskConfig&, const BeitMaskConfig&) = default;
};

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const BeitMaskConfig& c, F&& f) {
  f("num_mask_patches", c.num_mask_patches);
  f("min_mask_patches_per_block", c.min_mask_patches_per_block);
  f("max_mask_patches_per_block", c.max_mask_patches_per_block);
}

namespace detail {

/// Hides a rectangle that adds 1 to `limit` patches; returns how many, 0 if none was found.
inline int hide_rectangle(Rng& rng, Grid grid, int min_area, int limit, bool* hidden) {
  constexpr double log_aspect = 1.2039728043259361;  // log(1 / 0.3)
  constexpr int attempts = 10;
  const auto rounded = [](double x) { return static_cast<int>(std::nearbyint(x)); };
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const double area = min_area + static_cast<double>(rng.uniform()) * (limit - min_area);
    const double aspect = std::exp(log_aspect * (2 * static_cast<double>(rng.uniform()) - 1));
    const int height = rounded(std::sqrt(area * aspect)), width = rounded(std::sqrt(area / aspect));
    if (height >= grid.height || width >= grid.width || height < 1 || width < 1) continue;
    const int top = static_cast<int>(rng.below(static_cast<std::uint32_t>(grid.height - height + 1)));
    const int left = static_cast<int>(rng.below(static_cast<std::uint32_t>(grid.width - width + 1)));
    int added = 0;
    const auto each = [&](auto&& f) {
      for (int y = top; y < top + height; ++y)
        for (int x = left; x < left + width; ++x) f(hidden[y * grid.width + x]);
    };
    each([&](bool h) { added += !h; });
    if (added == 0 || added > limit) continue;
    each([](bool& h) { h = true; });
    return added;
  }
  return 0;
}

}  // namespace detail

/// Hides up to `num_mask_patches` patches of a grid in `hidden` (grid.size()), which it overwrites; returns how many.
inline int beit_block_mask(Rng& rng, Grid grid, const BeitMaskConfig& c, bool* hidden) {
  std::fill_n(hidden, grid.size(), false);
  int count = 0;
  while (count < c.num_mask_patches) {
    const int limit = std::min(c.num_mask_patches - count, c.max_mask_patches_per_block);
    const int added = detail::hide_rectangle(rng, grid, c.min_mask_patches_per_block, limit, hidden);
    if (added == 0) break;
    count += added;
  }
  if (count > 0) return count;
  hidden[rng.below(static_cast<std::uint32_t>(grid.size()))] = true;  // no rectangle fitted: every sample has a loss
  return 1;
}

/// The same as a policy: up to `most` patches.
template <Grid grid, BeitMaskConfig C>
struct BeitBlockMask {
  static_assert(check::AtLeast<C.num_mask_patches, 1>,
                "data2vec: BeitMaskConfig::num_mask_patches must be at least 1");
  static_assert(check::AtLeast<grid.size() - C.num_mask_patches, 1>,
                "data2vec: BeitMaskConfig::num_mask_patches must be below the number of patches");
  static constexpr BeitMaskConfig config = C;
  static constexpr int tokens = grid.size(), most = C.num_mask_patches;

  static int sample(Rng& rng, Mask<tokens>& mask) { return beit_block_mask(rng, grid, config, mask.hidden); }
};

}  // namespace data2vec::inline v0
