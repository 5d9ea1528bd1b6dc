// SPDX-License-Identifier: MIT
// The masking policy of models in cases.
#pragma once

#include <data2vec/masking/policy.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::parity {

/// A mask that comes from the case, with its numbers of visible and hidden tokens.
template <int tokens_, int visible_, int masked_>
struct GivenMask {
  static constexpr int tokens = tokens_, visible = visible_, masked = masked_;
  static void sample(Rng&, Mask<tokens>&) {}
};

/// Masks that come from the case, `masked_` in each row.
template <int tokens_, int masked_>
struct GivenFrames {
  static constexpr int tokens = tokens_, visible = tokens_ - masked_, masked = masked_;
  static constexpr MaskConfig config{};
  static constexpr int masked_of(int) { return masked; }
  static constexpr int visible_of(int valid) { return valid - masked; }
  static void sample(Rng&, Mask<tokens>&, int = 0) {}
};

}  // namespace data2vec::parity
