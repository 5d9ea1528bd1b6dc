// SPDX-License-Identifier: MIT
// The masking policy of models in cases.
#pragma once

#include <data2vec/masking/policy.hpp>

namespace data2vec::parity {

/// A mask that comes from the case, with its numbers of visible and hidden tokens.
template <int tokens_, int visible_, int masked_>
struct GivenMask {
  static constexpr int tokens = tokens_, visible = visible_, masked = masked_;
  static void sample(Rng&, Mask<tokens>&) {}
};

}  // namespace data2vec::parity
