// SPDX-License-Identifier: MIT
// What the example programs on speech are compiled for in their test.
#pragma once

#include <data2vec/data/buckets.hpp>

namespace demo {
inline constexpr int sample_rate = 8000;
using LengthBuckets = data2vec::Buckets<1200, 2400>;
inline constexpr int width = 16, depth = 2, most_symbols = 20;
inline constexpr char system[] = "wav2vec2";
}  // namespace demo
