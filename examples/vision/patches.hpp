// SPDX-License-Identifier: MIT
// The patches that the images of the example programs are cut into.
#pragma once

#include <data2vec/model/config.hpp>

#include <data_config.hpp>  // height, width, channels, classes, system, device_batch: config/, or written by ./run

namespace demo {

constexpr int patch_side(int side) {
  for (int patch = side <= 32 ? (side + 3) / 4 : (side + 7) / 8; patch < side; ++patch)
    if (side % patch == 0) return patch;
  return side;
}

inline constexpr data2vec::Extent patch_size{patch_side(height), patch_side(width)};

}  // namespace demo
