// SPDX-License-Identifier: MIT
// Distractors of contrastive learning: other hidden positions (wav2vec 2.0, Baevski et al., 2020, section 3.2).
#pragma once

#include <data2vec/core/macros.hpp>
#include <data2vec/core/random.hpp>

namespace data2vec::inline v0 {

/// `count` positions among first .. first + positions - 1 other than `self`, with replacement, each alike; -1, no
/// position, where there is no other.
D2V_HD constexpr void sample_negatives(Rng& rng, int first, int positions, int self, int count, int* negatives) {
  for (int i = 0; i < count; ++i) {
    if (positions < 2) {
      negatives[i] = -1;
      continue;
    }
    const int drawn = first + static_cast<int>(rng.below(static_cast<std::uint32_t>(positions - 1)));
    negatives[i] = drawn + (drawn >= self);
  }
}

}  // namespace data2vec::inline v0
