// SPDX-License-Identifier: MIT
// From a mask to the indices that everything downstream reads.
#pragma once

#include <data2vec/core/macros.hpp>
#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// For one row of `tokens` tokens of which the student sees `visible`: the visible tokens in ascending order, then the
/// hidden ones in ascending order, are the row's shuffled order. keep (visible): its first `visible` entries;
/// restore (tokens): the place of each token in it; masked: all hidden positions, ascending (their number is returned).
/// If the row hides fewer than tokens - visible tokens, the last visible ones are dropped; if more, hidden ones are
/// shown, as the reference does.
D2V_HD constexpr int index_mask(const bool* hidden, int tokens, int visible, int* keep, int* restore, int* masked) {
  int shown = 0, count = 0;
  for (int t = 0; t < tokens; ++t) shown += !hidden[t];
  for (int t = 0, v = 0; t < tokens; ++t) {
    const int place = hidden[t] ? shown + count : v;
    restore[t] = place;
    if (place < visible) keep[place] = t;
    if (hidden[t]) masked[count++] = t;
    else ++v;
  }
  return count;
}

}  // namespace data2vec::inline v0
