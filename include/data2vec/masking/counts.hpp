// SPDX-License-Identifier: MIT
// How many tokens a mask hides. The number of visible tokens is part of a model's type, so these must round exactly
// as the reference does: Python's double arithmetic, truncated by int() or rounded half to even.
#pragma once

#include <data2vec/core/macros.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// `x` rounded to the nearest whole number, halves to the even one (Python's round, numpy's rint). 0 <= x < 2^31.
D2V_HD constexpr int round_half_even(double x) {
  const int below = static_cast<int>(x);
  const double rest = x - below;
  return rest > 0.5 || (rest == 0.5 && below % 2 != 0) ? below + 1 : below;
}

/// K of a random mask over `tokens` tokens (data2vec's `random_masking`).
D2V_HD constexpr int random_visible(int tokens, double mask_prob) {
  return static_cast<int>(tokens * (1 - mask_prob));
}

/// R of a block mask over `tokens` tokens (fairseq's `compute_block_mask_1d` and `_2d`).
D2V_HD constexpr int block_masked(int tokens, double mask_prob) { return static_cast<int>(tokens * mask_prob); }

/// R of an inverse block mask. It is the visible count that is truncated, and 1 - mask_prob carries its rounding:
/// 1 - 0.8 = 0.19999999999999996 gives 39 visible of 196 patches.
D2V_HD constexpr int inverse_block_masked(int tokens, double mask_prob) {
  return tokens - block_masked(tokens, 1 - mask_prob);
}

/// Number of blocks drawn (with replacement) for a block mask in which a fraction `prob` of the tokens is marked.
/// `prob` is mask_prob, or 1 - mask_prob for an inverse mask; `dims` is 1 for a sequence, 2 for a grid.
D2V_HD constexpr int block_seeds(int tokens, double prob, double mask_prob_adjust, int mask_length, int dims,
                                 double mask_dropout = 0) {
  if (mask_length < 1) return 0;
  const int area = dims == 2 ? mask_length * mask_length : mask_length;
  return static_cast<int>(tokens * ((prob + mask_prob_adjust) / area) * (1 + mask_dropout));
}

/// K, the number of tokens that the student sees: those that are not hidden, and a fraction `keep_masked_pct` of the
/// hidden ones.
D2V_HD constexpr int visible_tokens(int tokens, int masked, double keep_masked_pct) {
  return tokens - masked + round_half_even(masked * keep_masked_pct);
}

namespace check {

template <MaskConfig C>
concept MaskProbInside = C.mask_prob > 0 && C.mask_prob < 1;

template <MaskConfig C>
concept KeepMaskedPctInside = C.keep_masked_pct >= 0 && C.keep_masked_pct < 1;

template <MaskConfig C>
concept MaskDropoutInside = C.mask_dropout >= 0 && C.mask_dropout < 1;

template <int tokens, int masked>
concept HidesSomeAndShowsSome = masked >= 1 && masked < tokens;

}  // namespace check

namespace detail {

/// The constants and checks that the library's policies share. The count is judged only when the configuration's own
/// values are in range, so that a wrong value is reported once.
template <int token_count, int masked_count, MaskConfig C>
struct FixedCountMask {
  static_assert(check::MaskProbInside<C>, "data2vec: MaskConfig::mask_prob must be in (0, 1)");
  static_assert(check::KeepMaskedPctInside<C>, "data2vec: MaskConfig::keep_masked_pct must be in [0, 1)");
  static_assert(check::MaskDropoutInside<C>, "data2vec: MaskConfig::mask_dropout must be in [0, 1)");
  static_assert(check::HidesSomeAndShowsSome<
                    token_count, check::MaskProbInside<C> && check::MaskDropoutInside<C> ? masked_count : 1>,
                "data2vec: MaskConfig::mask_prob must hide at least one token and leave at least one visible");
  static constexpr MaskConfig config = C;
  static constexpr int tokens = token_count;
  static constexpr int masked = masked_count;
  static constexpr int visible = visible_tokens(tokens, masked, C.keep_masked_pct);

  /// The number of visible ones among `valid` tokens of which `hidden` are hidden.
  D2V_HD static constexpr int visible_among(int valid, int hidden) {
    constexpr double keep = C.keep_masked_pct;
    return visible_tokens(valid, hidden, keep);
  }
  /// `hidden` of a row of `valid` tokens within what the slots of a full row hold; a row of two or more tokens hides at
  /// least one and shows at least one, a single token is shown.
  D2V_HD static constexpr int within_slots(int valid, int hidden) {
    if (valid < 2) return 0;
    const int least = valid - (tokens - masked) > 1 ? valid - (tokens - masked) : 1;
    const int most = valid - 1 < masked ? valid - 1 : masked;
    return hidden < least ? least : hidden > most ? most : hidden;
  }
};

}  // namespace detail
}  // namespace data2vec::inline v0
