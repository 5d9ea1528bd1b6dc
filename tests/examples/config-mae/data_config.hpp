// SPDX-License-Identifier: MIT
// The programs as they are tested for masked autoencoders.
#pragma once

namespace demo {
inline constexpr int height = 8, width = 8, channels = 1, classes = 3;
inline constexpr char system[] = "mae";
inline constexpr int device_batch = 8;
}  // namespace demo
