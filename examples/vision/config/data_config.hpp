// SPDX-License-Identifier: MIT
// What the example programs are compiled for: the images of the demo. `./run ... --data DIR` writes such a file for
// another data set.
#pragma once

namespace demo {
inline constexpr int height = 28, width = 28, channels = 1, classes = 10;
inline constexpr char system[] = "data2vec2";
inline constexpr int device_batch = 512;  // images of an update on a GPU
}  // namespace demo
