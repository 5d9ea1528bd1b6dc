// SPDX-License-Identifier: MIT
// The extension point for masks: which tokens the student does not see. The number of visible tokens is part of the
// type, so that the student's shapes are static and hidden tokens cost nothing.
#pragma once

#include <concepts>
#include <type_traits>

#include <data2vec/core/random.hpp>
#include <data2vec/core/view.hpp>

namespace data2vec::inline v0 {

/// One drawn mask over `tokens` tokens.
template <int tokens>
struct Mask {
  bool hidden[tokens] = {};
};

/// A masking policy hides exactly `masked_tokens<P>` of `P::tokens` tokens and leaves `P::visible` for the student.
/// Members: `tokens`, `visible`, `sample(rng, mask)`; and `masked` where the student sees some hidden tokens all the
/// same (`keep_masked_pct`), so that masked + visible > tokens.
template <class P>
concept MaskingPolicy = requires(Rng& rng, Mask<P::tokens>& mask) {
  { P::tokens } -> std::convertible_to<int>;
  { P::visible } -> std::convertible_to<int>;
  P::sample(rng, mask);
};

/// A policy that can hide tokens of rows that are shorter than its length, for the exact rule of padding: `masked_of(n)`
/// says how many of n valid tokens it hides, `visible_of(n)` how many the student then sees, and `sample(rng, mask, n)`
/// hides that many of the first n. Neither is more, nor is n - visible_of(n), than for a full row.
template <class P>
concept PaddedMaskingPolicy = MaskingPolicy<P> && requires(Rng& rng, Mask<P::tokens>& mask, int valid) {
  { P::masked_of(valid) } -> std::convertible_to<int>;
  { P::visible_of(valid) } -> std::convertible_to<int>;
  P::sample(rng, mask, valid);
};

/// R, the number of positions that a policy hides in each row.
template <MaskingPolicy P>
inline constexpr int masked_tokens = [] {
  if constexpr (requires { P::masked; }) return int{P::masked};
  else return int{P::tokens - P::visible};
}();

}  // namespace data2vec::inline v0
