// SPDX-License-Identifier: MIT
// What the example programs on speech are compiled for. Other rates and lengths are a change of these lines.
#pragma once

#include <data2vec/data/buckets.hpp>

namespace demo {
inline constexpr int sample_rate = 8000;  ///< Hz; recordings of other rates are converted
/// Static lengths in samples: half a second to four seconds.
using LengthBuckets = data2vec::Buckets<4000, 12'000, 32'000>;
inline constexpr int width = 128, depth = 4;  ///< of the encoder
inline constexpr int most_symbols = 64;       ///< letters of transcripts, the four special symbols included
inline constexpr char system[] = "data2vec2";
}  // namespace demo
