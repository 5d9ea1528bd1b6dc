// SPDX-License-Identifier: MIT
// Span masks: fixed-length spans at distinct random starts (wav2vec 2.0, section 3.1; fairseq's
// `compute_mask_indices` with `mask_type = static`). Spans overlap, so the number of hidden tokens varies from row to
// row; rows that share a batch are made equal afterwards.
#pragma once

#include <data2vec/core/check.hpp>
#include <data2vec/core/macros.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/masking/counts.hpp>
#include <data2vec/masking/policy.hpp>
#include <data2vec/masking/random.hpp>

namespace data2vec::inline v0 {

/// The number of start positions that `count` spans of `mask_length` are drawn from, in a row of `valid` tokens. As
/// in the reference a span never reaches the last token, unless the row is too short for that many starts.
D2V_HD constexpr int span_starts(int valid, int mask_length, int count) {
  return valid - mask_length <= count ? count + 1 : valid - mask_length;
}

/// Hides spans in one row: int(mask_prob * valid / mask_length + U[0, 1)) of them, at least `min_masks`. Overwrites
/// `marks` (tokens); tokens from `valid` on (padding) are not hidden. Returns the number of hidden tokens. The
/// reference raises an error where that number is `valid`.
D2V_HD constexpr int span_mask(Rng& rng, int tokens, int valid, double mask_prob, int mask_length, bool* marks,
                               int min_masks = 1) {
  for (int t = 0; t < tokens; ++t) marks[t] = false;
  const int drawn = static_cast<int>(mask_prob * valid / mask_length + static_cast<double>(rng.uniform()));
  int needed = drawn > min_masks ? drawn : min_masks;
  int left = span_starts(valid, mask_length, needed);
  int hidden = 0, end = 0;                                       // end: one behind the last span marked so far
  for (int start = 0; needed > 0; ++start, --left) {             // selection sampling of the starts, ascending
    if (static_cast<int>(rng.below(static_cast<std::uint32_t>(left))) >= needed) continue;
    --needed;
    for (int t = start > end ? start : end; t < start + mask_length && t < valid; ++t) {
      marks[t] = true;
      ++hidden;
    }
    end = start + mask_length;
  }
  return hidden;
}

/// Makes the rows of one call hide equally many tokens, as `compute_mask_indices` does: the smallest count by showing
/// uniformly chosen hidden tokens, or with `add_masks` the largest by hiding uniformly chosen others (padding
/// included). Then `mask_dropout` shows that fraction of the hidden tokens again. Changes `marks` (rows, tokens) in
/// place and returns the number of hidden tokens of each row.
D2V_HD constexpr int equalise_rows(Rng& rng, int rows, int tokens, bool add_masks, double mask_dropout, bool* marks) {
  int target = 0;
  for (int r = 0; r < rows; ++r) {
    const int count = count_marks(tokens, marks + r * tokens);
    if (r == 0 || (add_masks ? count > target : count < target)) target = count;
  }
  const int kept = target - round_half_even(target * mask_dropout);
  for (int r = 0; r < rows; ++r) {
    mark_exactly(rng, tokens, target, marks + r * tokens);
    mark_exactly(rng, tokens, kept, marks + r * tokens);
  }
  return kept;
}

/// Expected number of distinct tokens that `count` spans hide in a row of `valid` tokens. A token that w of the S
/// possible starts would hide stays visible with probability C(S - w, count) / C(S, count), and w takes each value
/// below min(S, mask_length) at either end of the row and min(S, mask_length) between.
constexpr double expected_span_tokens(int valid, int mask_length, int count) {
  const int starts = span_starts(valid, mask_length, count);
  const int widest = starts < mask_length ? starts : mask_length;
  const int reach = starts + mask_length - 1;                    // tokens that any start could hide, were the row long
  double shown = 1, expected = 0;
  for (int w = 1; w <= widest; ++w) {
    shown *= static_cast<double>(starts - count - (w - 1)) / (starts - (w - 1));
    const int first = w < widest ? reach - w : w - 1;            // of the tokens with this w, other than token w - 1
    const int last = reach - w < valid - 1 ? reach - w : valid - 1;
    int tokens = last >= first ? last - first + 1 : 0;
    if (w < widest && w - 1 < valid) ++tokens;
    expected += tokens * (1 - shown);
  }
  return expected;
}

/// R of `SpanMask`: the expected number of tokens that `span_mask` hides in a row without padding, rounded, less the
/// fraction `mask_dropout`. The number of spans is floor(x) or floor(x) + 1, x = mask_prob * tokens / mask_length,
/// with mean x.
constexpr int span_masked(int tokens, double mask_prob, int mask_length, double mask_dropout = 0) {
  const double spans = mask_prob * tokens / mask_length;
  const int fewer = static_cast<int>(spans);
  const double rest = spans - fewer;
  const double expected = (1 - rest) * expected_span_tokens(tokens, mask_length, fewer > 1 ? fewer : 1) +
                          rest * expected_span_tokens(tokens, mask_length, fewer + 1);
  const int target = round_half_even(expected);
  return target - round_half_even(target * mask_dropout);
}

/// Policy: spans, then tokens added or removed uniformly so that exactly `span_masked(...)` are hidden. The reference
/// instead takes the smallest (or, with `add_masks`, the largest) count among the rows of a batch, which no type can
/// know; `equalise_rows` does that at run time. Reads `mask_prob`, `mask_length`, `mask_dropout`, `keep_masked_pct`;
/// as in the reference, `mask_prob_adjust` has no effect on spans.
template <int token_count, MaskConfig C>
struct SpanMask
    : detail::FixedCountMask<token_count,
                             C.mask_length >= 1
                                 ? span_masked(token_count, C.mask_prob, C.mask_length, C.mask_dropout) : 1,
                             C> {
  static_assert(check::AtLeast<C.mask_length, 1>, "data2vec: MaskConfig::mask_length must be at least 1");

  D2V_HD static constexpr void sample(Rng& rng, Mask<token_count>& mask) {
    constexpr double prob = C.mask_prob;
    span_mask(rng, token_count, token_count, prob, C.mask_length, mask.hidden);
    mark_exactly(rng, token_count, SpanMask::masked, mask.hidden);
  }

  /// Of a row of which the first `valid` tokens are no padding (masking/policy.hpp, PaddedMaskingPolicy).
  D2V_HD static constexpr int masked_of(int valid) {
    constexpr double prob = C.mask_prob, dropout = C.mask_dropout;
    return SpanMask::within_slots(valid, span_masked(valid, prob, C.mask_length, dropout));
  }
  D2V_HD static constexpr int visible_of(int valid) { return SpanMask::visible_among(valid, masked_of(valid)); }
  D2V_HD static constexpr void sample(Rng& rng, Mask<token_count>& mask, int valid) {
    constexpr double prob = C.mask_prob;
    for (int t = valid; t < token_count; ++t) mask.hidden[t] = false;
    span_mask(rng, valid, valid, prob, C.mask_length, mask.hidden);
    mark_exactly(rng, valid, masked_of(valid), mask.hidden);
  }
};

}  // namespace data2vec::inline v0
