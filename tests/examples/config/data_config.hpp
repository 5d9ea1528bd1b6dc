// SPDX-License-Identifier: MIT
// The programs as they are tested: images so small that a run takes a second.
#pragma once

namespace demo {
inline constexpr int height = 8, width = 8, channels = 1, classes = 3;
inline constexpr char system[] = "data2vec2";
inline constexpr int device_batch = 8;
}  // namespace demo
