// SPDX-License-Identifier: MIT
// What the example programs on text are compiled for: the glosses of the demo. `./run ... text` writes such a file for
// other data.
#pragma once

namespace demo {
inline constexpr int vocab_size = 4096;  ///< tokens of the vocabulary
inline constexpr int tokens = 20;        ///< of a text; longer ones are cut
inline constexpr int classes = 45;       ///< labels; 1: a number each (regression)
inline constexpr char system[] = "data2vec2";
}  // namespace demo
