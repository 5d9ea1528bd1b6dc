// SPDX-License-Identifier: MIT
// Random masks: every set of the right size is equally likely (text in data2vec 2.0, and MAE). The exact sampling of
// subsets that the other masks end with lives here too.
#pragma once

#include <data2vec/core/macros.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/masking/counts.hpp>
#include <data2vec/masking/policy.hpp>

namespace data2vec::inline v0 {

/// Inverts `count` uniformly chosen marks of those equal to `from`, of which there are `available` in `marks` (tokens).
/// Selection sampling (Fan, Muller and Rezucha, 1962; Knuth, TAOCP 2, algorithm S): one pass, in place, exact.
D2V_HD constexpr void flip_uniformly(Rng& rng, int tokens, bool from, int available, int count, bool* marks) {
  for (int t = 0; t < tokens && count > 0; ++t) {
    if (marks[t] != from) continue;
    if (static_cast<int>(rng.below(static_cast<std::uint32_t>(available))) < count) {
      marks[t] = !from;
      --count;
    }
    --available;
  }
}

/// The number of true entries of `marks` (tokens).
D2V_HD constexpr int count_marks(int tokens, const bool* marks) {
  int count = 0;
  for (int t = 0; t < tokens; ++t) count += marks[t] ? 1 : 0;
  return count;
}

/// Marks or unmarks uniformly chosen entries so that exactly `target` of `marks` (tokens) are true.
/// 0 <= target <= tokens.
D2V_HD constexpr void mark_exactly(Rng& rng, int tokens, int target, bool* marks) {
  const int marked = count_marks(tokens, marks);
  if (marked > target) flip_uniformly(rng, tokens, true, marked, marked - target, marks);
  if (marked < target) flip_uniformly(rng, tokens, false, tokens - marked, target - marked, marks);
}

/// A uniformly chosen set of `masked` tokens; overwrites `marks` (tokens). 0 <= masked <= tokens.
D2V_HD constexpr void random_mask(Rng& rng, int tokens, int masked, bool* marks) {
  for (int t = 0; t < tokens; ++t) marks[t] = false;
  flip_uniformly(rng, tokens, false, tokens, masked, marks);
}

/// Policy: hides `token_count - int(token_count * (1 - mask_prob))` tokens, all sets equally likely. Padding is not
/// known here: as in the reference, padding tokens can be hidden and predicted. Reads `mask_prob` and
/// `keep_masked_pct` (which the reference reads for blocks and spans only).
template <int token_count, MaskConfig C>
struct RandomMask : detail::FixedCountMask<token_count, token_count - random_visible(token_count, C.mask_prob), C> {
  D2V_HD static constexpr void sample(Rng& rng, Mask<token_count>& mask) {
    random_mask(rng, token_count, RandomMask::masked, mask.hidden);
  }

  /// Of a row of which the first `valid` tokens are no padding (masking/policy.hpp, PaddedMaskingPolicy).
  D2V_HD static constexpr int masked_of(int valid) {
    constexpr double prob = C.mask_prob;
    return RandomMask::within_slots(valid, valid - random_visible(valid, prob));
  }
  D2V_HD static constexpr int visible_of(int valid) { return RandomMask::visible_among(valid, masked_of(valid)); }
  D2V_HD static constexpr void sample(Rng& rng, Mask<token_count>& mask, int valid) {
    for (int t = valid; t < token_count; ++t) mask.hidden[t] = false;
    random_mask(rng, valid, masked_of(valid), mask.hidden);
  }
};

}  // namespace data2vec::inline v0
