// SPDX-License-Identifier: MIT
// ALiBi: a bias on attention logits that grows with the distance of two tokens (Press et al., 2022), here symmetric,
// in one or two dimensions, or as a learned table (data2vec 2.0, fairseq's `get_alibi` and `_learned_alibi_bias`).
#pragma once

#include <cstddef>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/device/alibi.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// The slopes of all heads: out (heads). Throws OptionError if heads < 1.
inline void alibi_slopes(int heads, double* out) {
  if (heads < 1) throw OptionError("alibi_slopes: num_heads must be at least 1, found " + std::to_string(heads));
  for (int h = 0; h < heads; ++h) out[h] = alibi_slope(heads, h);
}

/// Bias of a grid: out (heads, T, T), T = grid.size(), out[h][i][j] = -slope_h * distance(i, j). Throws OptionError if
/// heads < 1.
template <class T>
void alibi_bias_2d(int heads, Grid grid, AlibiDistance distance, T* out) {
  if (heads < 1) throw OptionError("alibi_bias: num_heads must be at least 1, found " + std::to_string(heads));
  alibi_distances(heads, grid, distance == AlibiDistance::euclidean, out);
}

/// Bias of a sequence: out (heads, tokens, tokens), out[h][i][j] = -slope_h * |i - j|. Throws OptionError if heads < 1.
template <class T>
void alibi_bias(int heads, int tokens, T* out) {
  alibi_bias_2d(heads, Grid{1, tokens}, AlibiDistance::manhattan, out);
}

}  // namespace data2vec::inline v0
