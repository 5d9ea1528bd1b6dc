// SPDX-License-Identifier: MIT
// The patches that the images of the example programs are cut into.
#pragma once

#include <data2vec/model/config.hpp>

#include <data_config.hpp>  // height, width, channels, classes, system: examples/config, or written for other data

namespace demo {

/// The side of a patch: the divisor of `side` that comes nearest from above to its quarter, beyond 32 pixels its eighth.
constexpr int patch_side(int side) {
  for (int patch = side <= 32 ? (side + 3) / 4 : (side + 7) / 8; patch < side; ++patch)
    if (side % patch == 0) return patch;
  return side;
}

inline constexpr data2vec::Extent patch_size{patch_side(height), patch_side(width)};

}  // namespace demo
