// SPDX-License-Identifier: MIT
// What the example programs on text are compiled for in their test.
#pragma once

namespace demo {
inline constexpr int vocab_size = 300, tokens = 16, classes = 3;
inline constexpr char system[] = "data2vec2";
}  // namespace demo
