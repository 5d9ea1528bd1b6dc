// SPDX-License-Identifier: MIT
// Attention bias by the distance of tokens, or learned, as a table over all tokens; and of the tokens that a row keeps.
// Learned bias by the offset of tokens on a grid.
#pragma once

#include <cmath>
#include <cstddef>

#include <data2vec/core/macros.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Alibi;
}

/// The slope of `head` (0-based) among `heads`, positive: 2^(-8 (head + 1) / heads) for a power of two; otherwise the
/// first heads have the slopes of the power of two c below, the others every second slope of 2c.
D2V_HD inline double alibi_slope(int heads, int head) {
  int power = 1;
  while (2 * power <= heads) power *= 2;
  const int twice = 2 * power;
  return head < power ? std::exp2(-8.0 * (head + 1) / power) : std::exp2(-8.0 * (2 * (head - power) + 1) / twice);
}

/// Distance of the cells `a` and `b` of `grid`, along its sides or as the crow flies.
D2V_HD inline double alibi_distance(Grid grid, int a, int b, bool euclidean) {
  const double rows = a / grid.width - b / grid.width, columns = a % grid.width - b % grid.width;
  return euclidean ? std::sqrt(rows * rows + columns * columns) : std::fabs(rows) + std::fabs(columns);
}

/// out (heads, T, T), T = grid.size(): minus slope times distance, both rounded to T before they are multiplied, as the
/// reference does; in memory of the host.
template <class T>
void alibi_distances(int heads, Grid grid, bool euclidean, T* out) {
  for (int h = 0; h < heads; ++h) {
    const T slope = static_cast<T>(alibi_slope(heads, h));
    for (int i = 0; i < grid.size(); ++i)
      for (int j = 0; j < grid.size(); ++j) *out++ = slope * static_cast<T>(-alibi_distance(grid, i, j, euclidean));
  }
}

/// Row or column of a learned table of side `max_pos` that token `i` of `tokens` reads. A sequence longer than the
/// table sees it extended by ceil((tokens - max_pos) / 2) copies of its edge on every side, and of that the top left
/// tokens x tokens: the table sits in the middle, one further from the start when the rest is odd.
D2V_HD constexpr int alibi_padding(int max_pos, int tokens) {
  return tokens > max_pos ? (tokens - max_pos + 1) / 2 : 0;
}
D2V_HD constexpr int alibi_table_index(int i, int max_pos, int tokens) {
  const int inside = i - alibi_padding(max_pos, tokens);
  return inside < 0 ? 0 : inside < max_pos ? inside : max_pos - 1;
}

/// Sizes of a gather of attention bias: rows keep `visible` of `tokens` tokens, behind `extra` tokens without bias.
struct BiasShape {
  int rows, heads, tokens, extra, visible;
  constexpr int sequence() const { return extra + visible; }
};

/// The offsets of two cells of `grid`, and the row of a table of bias by offset (BEiT, Bao et al., 2022, section 2.1).
/// Behind the offsets come three rows: from extra tokens, which are negative, to cells, from cells to extra tokens, and
/// among these.
D2V_HD constexpr int relative_offsets(Grid grid) { return (2 * grid.height - 1) * (2 * grid.width - 1); }
D2V_HD constexpr int relative_row(Grid grid, int query, int key) {
  if (query < 0 || key < 0) return relative_offsets(grid) + (key >= 0 ? 0 : query >= 0 ? 1 : 2);
  const int down = query / grid.width - key / grid.width + grid.height - 1;
  return down * (2 * grid.width - 1) + query % grid.width - key % grid.width + grid.width - 1;
}

namespace device {

/// What `alibi_distances` says, in memory of the device.
template <Device D, class T>
void distance_bias(D& d, int heads, Grid grid, bool euclidean, T* table) {
  kernel::Alibi<D>::template distances<T>(d, heads, grid, euclidean, table);
}

/// out (heads, tokens, tokens) from a learned table (heads, max_pos, max_pos): see alibi_table_index.
template <Device D, class T>
void learned_bias(D& d, int heads, int max_pos, In<T> table, int tokens, T* out) {
  kernel::Alibi<D>::template learned<T>(d, heads, max_pos, table, tokens, out);
}

/// Backward of `learned_bias`: dout (heads, tokens, tokens) is added into dtable, in the order of dout.
template <Device D, class T>
void learned_bias_gradient(D& d, int heads, int max_pos, int tokens, In<T> dout, T* dtable) {
  kernel::Alibi<D>::template learned_gradient<T>(d, heads, max_pos, tokens, dout, dtable);
}

/// bias (rows, heads, S, S), S = extra + visible: table (heads, tokens, tokens) at the kept tokens keep (rows,
/// visible), zero where a query or a key is an extra token.
template <Device D, class T>
void gather_bias(D& d, const BiasShape& shape, In<T> table, const int* keep, T* bias) {
  kernel::Alibi<D>::template gather<T>(d, shape, table, keep, bias);
}

/// scaled = max(scale, 0) bias, with one scale for all heads or one for each.
template <Device D, class T>
void scale_bias(D& d, const BiasShape& shape, In<T> bias, In<T> scale, bool per_head, T* scaled) {
  kernel::Alibi<D>::template scale<T>(d, shape, bias, scale, per_head, scaled);
}

/// dscale += gradient of `scale_bias` with respect to the scale; zero where the scale is negative.
template <Device D, class T>
void scale_bias_gradient(D& d, const BiasShape& shape, In<T> dscaled, In<T> bias, In<T> scale, bool per_head,
                         T* dscale) {
  kernel::Alibi<D>::template scale_gradient<T>(d, shape, dscaled, bias, scale, per_head, dscale);
}

/// dtable (heads, tokens, tokens) += gradient of `gather_bias` followed by `scale_bias` with respect to the table.
template <Device D, class T>
void gather_bias_gradient(D& d, const BiasShape& shape, In<T> dscaled, In<T> scale, bool per_head, const int* keep,
                          T* dtable) {
  kernel::Alibi<D>::template gather_gradient<T>(d, shape, dscaled, scale, per_head, keep, dtable);
}

/// bias (rows, heads, S, S), S = extra + visible, of the tokens keep (rows, visible) of `grid` behind the extra ones:
/// table (offsets + 3, heads; without extra tokens the offsets alone) at relative_row.
template <Device D, class T>
void relative_bias(D& d, const BiasShape& shape, Grid grid, In<T> table, const int* keep, T* bias) {
  kernel::Alibi<D>::template relative<T>(d, shape, grid, table, keep, bias);
}

/// dtable += gradient of `relative_bias`, in the order of dbias.
template <Device D, class T>
void relative_bias_gradient(D& d, const BiasShape& shape, Grid grid, In<T> dbias, const int* keep, T* dtable) {
  kernel::Alibi<D>::template relative_gradient<T>(d, shape, grid, dbias, keep, dtable);
}

}  // namespace device
}  // namespace data2vec::inline v0
