// SPDX-License-Identifier: MIT
// ALiBi: a bias on attention logits that grows with the distance of two tokens (Press et al., 2022), here symmetric,
// in one or two dimensions, or as a learned table (data2vec 2.0, fairseq's `get_alibi` and `_learned_alibi_bias`).
#pragma once

#include <cmath>
#include <cstddef>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/core/macros.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// The slope of `head` (0-based) among `heads`, positive: 2^(-8 (head + 1) / heads) for a power of two; otherwise the
/// first heads have the slopes of the power of two c below, the others every second slope of 2c.
inline double alibi_slope(int heads, int head) {
  int power = 1;
  while (2 * power <= heads) power *= 2;
  const int twice = 2 * power;
  return head < power ? std::exp2(-8.0 * (head + 1) / power) : std::exp2(-8.0 * (2 * (head - power) + 1) / twice);
}

/// The slopes of all heads: out (heads). Throws OptionError if heads < 1.
inline void alibi_slopes(int heads, double* out) {
  if (heads < 1) throw OptionError("alibi_slopes: num_heads must be at least 1, found " + std::to_string(heads));
  for (int h = 0; h < heads; ++h) out[h] = alibi_slope(heads, h);
}

/// Distance of the cells `a` and `b` of `grid`.
inline double alibi_distance(Grid grid, int a, int b, AlibiDistance distance) {
  const int rows = a / grid.width - b / grid.width, columns = a % grid.width - b % grid.width;
  if (distance == AlibiDistance::manhattan) return std::abs(rows) + std::abs(columns);
  return std::sqrt(static_cast<double>(rows * rows + columns * columns));
}

/// Bias of a grid: out (heads, T, T), T = grid.size(), out[h][i][j] = -slope_h * distance(i, j). Slope and distance are
/// rounded to T before they are multiplied, as the reference does. Throws OptionError if heads < 1.
template <class T>
void alibi_bias_2d(int heads, Grid grid, AlibiDistance distance, T* out) {
  if (heads < 1) throw OptionError("alibi_bias: num_heads must be at least 1, found " + std::to_string(heads));
  const int tokens = grid.size();
  for (int h = 0; h < heads; ++h) {
    const T slope = static_cast<T>(alibi_slope(heads, h));
    for (int i = 0; i < tokens; ++i)
      for (int j = 0; j < tokens; ++j) *out++ = slope * static_cast<T>(-alibi_distance(grid, i, j, distance));
  }
}

/// Bias of a sequence: out (heads, tokens, tokens), out[h][i][j] = -slope_h * |i - j|. Throws OptionError if heads < 1.
template <class T>
void alibi_bias(int heads, int tokens, T* out) {
  alibi_bias_2d(heads, Grid{1, tokens}, AlibiDistance::manhattan, out);
}

/// Row or column of a learned table of side `max_pos` that token `i` of `tokens` reads. A sequence longer than the
/// table sees it extended by ceil((tokens - max_pos) / 2) copies of its edge on every side, and of that the top left
/// tokens x tokens: the table sits in the middle, one further from the start when the rest is odd.
D2V_HD constexpr int alibi_table_index(int i, int max_pos, int tokens) {
  const int padding = tokens > max_pos ? (tokens - max_pos + 1) / 2 : 0;
  const int inside = i - padding;
  return inside < 0 ? 0 : inside < max_pos ? inside : max_pos - 1;
}

/// Bias from a learned table (heads, max_pos, max_pos): out (heads, tokens, tokens), overwritten.
template <class T>
void alibi_learned(int heads, int max_pos, const T* table, int tokens, T* out) {
  for (int h = 0; h < heads; ++h, table += static_cast<std::ptrdiff_t>(max_pos) * max_pos)
    for (int i = 0; i < tokens; ++i) {
      const T* const row = table + static_cast<std::ptrdiff_t>(alibi_table_index(i, max_pos, tokens)) * max_pos;
      for (int j = 0; j < tokens; ++j) *out++ = row[alibi_table_index(j, max_pos, tokens)];
    }
}

/// Backward of `alibi_learned`: dout (heads, tokens, tokens) is added into dtable (heads, max_pos, max_pos), in the
/// order of dout.
template <class T>
void alibi_learned_backward(int heads, int max_pos, int tokens, const T* dout, T* dtable) {
  for (int h = 0; h < heads; ++h, dtable += static_cast<std::ptrdiff_t>(max_pos) * max_pos)
    for (int i = 0; i < tokens; ++i) {
      T* const row = dtable + static_cast<std::ptrdiff_t>(alibi_table_index(i, max_pos, tokens)) * max_pos;
      for (int j = 0; j < tokens; ++j) row[alibi_table_index(j, max_pos, tokens)] += *dout++;
    }
}

}  // namespace data2vec::inline v0
