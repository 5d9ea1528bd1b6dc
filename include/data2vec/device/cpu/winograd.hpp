// SPDX-License-Identifier: MIT
// Grouped 3 x 3 convolutions on the processor by minimal filtering F(2 x 2, 3 x 3) (Winograd, 1980; Lavin and Gray,
// 2016): 2 x 2 outputs take 16 products per pair of channels instead of 36. A tile of 4 x 4 inputs becomes 16 numbers
// per channel, and each of the 16 is one small product of tiles x channels with a transformed filter.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <data2vec/device/conv.hpp>
#include <data2vec/device/cpu/register_tiles.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// The tiles of a convolution from A channels to B channels per group.
template <ConvShape S, int A, int B, class T, class Isa>
struct WinogradTiles : RegisterTiles<T, Isa> {
  using Base = RegisterTiles<T, Isa>;
  using typename Base::Index, typename Base::L, typename Base::V;
  using Base::many_registers, Base::vectors, Base::width;

  static constexpr int taps = 9, points = 16;
  static constexpr int a_vectors = vectors(A), b_vectors = vectors(B), a_size = a_vectors * width,
                       b_size = b_vectors * width;
  static constexpr int lines = (S.height + 1) / 2, columns = (S.width + 1) / 2;  // of tiles
  static constexpr int lines_at_once = std::clamp(16 / columns, 1, lines), most = lines_at_once * columns;
  static constexpr Index tiles_size = Index{points} * most * std::max(a_size, b_size),
                         filter_size = Index{points} * std::max(A * b_size, B * a_size);

  // Whether the shape is one for it: a window of 3 x 3, channels that pay for the transforms, three quarters of the
  // tiles' outputs within the grid, and buffers that fit a stack and a cache.
  static constexpr bool pays = S.kernel_height == 3 && S.kernel_width == 3 && std::min(A, B) >= 12 &&
                               S.height * S.width >= 3 * lines * columns &&
                               (2 * tiles_size + filter_size) * Index{sizeof(T)} <= 320 * 1024;

  // Vectors of channels of a register tile of products.
  static constexpr int panel(int v) { return many_registers && v % 3 == 0 ? 3 : std::min(2, v); }

  /// filter (16, A, B) = G g G^T; `get(tap, a, b)` is a weight of g.
  template <class Get>
  static void transform_filter(Get get, T* filter) {
    alignas(64) T g[taps][b_size];
    const auto split = [](V x, V y, V z, V* to) {
      const V even = L::all(T(0.5)) * (x + z), odd = L::all(T(0.5)) * y;
      to[0] = x, to[1] = even + odd, to[2] = even - odd, to[3] = z;
    };
    for (int a = 0; a < A; ++a) {
      for (int t = 0; t < taps; ++t)
        for (int b = 0; b < b_size; ++b) g[t][b] = b < B ? get(t, a, b) : T(0);
      for (int b = 0; b < b_size; b += width) {
        V rows[3][4], column[4];
        for (int i = 0; i < 3; ++i)
          split(L::load(g[3 * i] + b), L::load(g[3 * i + 1] + b), L::load(g[3 * i + 2] + b), rows[i]);
        for (int j = 0; j < 4; ++j) {
          split(rows[0][j], rows[1][j], rows[2][j], column);
          for (int i = 0; i < 4; ++i) L::store(filter + (Index{4 * i + j} * A + a) * b_size + b, column[i]);
        }
      }
    }
  }

  /// dw (B, A, taps) += G^T sums G, of sums (16, B, A).
  static void transform_sums(const T* sums, T* dw) {
    alignas(64) T g[taps][width];
    const auto join = [](V x0, V x1, V x2, V x3, V* to) {
      const V half = L::all(T(0.5)), even = half * (x1 + x2);
      to[0] = x0 + even, to[1] = half * (x1 - x2), to[2] = even + x3;
    };
    for (int b = 0; b < B; ++b)
      for (int a = 0; a < A; a += width) {
        V rows[4][3], column[3];
        const auto at = [&](int k) { return L::load(sums + (Index{k} * B + b) * a_size + a); };
        for (int i = 0; i < 4; ++i) join(at(4 * i), at(4 * i + 1), at(4 * i + 2), at(4 * i + 3), rows[i]);
        for (int j = 0; j < 3; ++j) {
          join(rows[0][j], rows[1][j], rows[2][j], rows[3][j], column);
          for (int i = 0; i < 3; ++i) L::store(g[3 * i + j], column[i]);
        }
        for (int c = 0; c < std::min(width, A - a); ++c)
          for (int t = 0; t < taps; ++t) dw[(Index{b} * A + a + c) * taps + t] += g[t][c];
      }
  }

  /// A vector of the n channels that are left at p.
  [[gnu::always_inline]] static V channels(const T* p, int n) { return n >= width ? L::load(p) : L::load(p, n); }

  /// tiles (16, most, C) = B^T x B of the 4 x 4 inputs around every tile of the lines [first, first + lines_at_once).
  template <int C>
  static void transform_input(const T* x, int stride, int first, T* tiles) {
    constexpr int size = vectors(C) * width;
    for (int line = first, tile = 0; line < std::min(lines, first + lines_at_once); ++line, tile += columns)
      for (int c = 0; c < C; c += width) {
        // A column of four inputs, transformed downwards; two columns are those of the tile before.
        const auto column = [&](int w, V* to) {
          V d[4];
          for (int i = 0; i < 4; ++i) {
            const int h = 2 * line - 1 + i;
            const bool inside = h >= 0 && h < S.height && w >= 0 && w < S.width;
            d[i] = inside ? channels(x + (Index{h} * S.width + w) * stride + c, C - c) : V{};
          }
          to[0] = d[0] - d[2], to[1] = d[1] + d[2], to[2] = d[2] - d[1], to[3] = d[1] - d[3];
        };
        V past[2][4];
        column(-1, past[0]), column(0, past[1]);
        for (int j = 0; j < columns; ++j) {
          V next[2][4];
          column(2 * j + 1, next[0]), column(2 * j + 2, next[1]);
          T* p = tiles + Index{tile + j} * size + c;
          for (int i = 0; i < 4; ++i) {
            const auto put = [&](int k, V v) { L::store(p + Index{4 * i + k} * most * size, v); };
            put(0, past[0][i] - next[0][i]), put(1, past[1][i] + next[0][i]);
            put(2, next[0][i] - past[1][i]), put(3, past[1][i] - next[1][i]);
            past[0][i] = next[0][i], past[1][i] = next[1][i];
          }
        }
      }
  }

  /// y = A^T tiles A + bias, added to y if `add`, of the lines [first, first + lines_at_once) of tiles (16, most, B).
  static void transform_output(const T* tiles, int first, const T* bias, bool add, T* y, int stride) {
    for (int line = first, tile = 0; line < std::min(lines, first + lines_at_once); ++line)
      for (int j = 0; j < columns; ++j, ++tile)
        for (int b = 0; b < B; b += width) {
          const V base = bias ? channels(bias + b, B - b) : V{};
          V rows[4][2];
          for (int i = 0; i < 4; ++i) {
            const auto at = [&](int k) { return L::load(tiles + (Index{4 * i + k} * most + tile) * b_size + b); };
            const V x1 = at(1), x2 = at(2);
            rows[i][0] = at(0) + (x1 + x2), rows[i][1] = (x1 - x2) - at(3);
          }
          for (int k = 0; k < 2; ++k) {
            const V sum = rows[1][k] + rows[2][k], difference = rows[1][k] - rows[2][k];
            const auto put = [&](int h, V v) {
              const int w = 2 * j + k;
              if (h >= S.height || w >= S.width) return;
              T* p = y + (Index{h} * S.width + w) * stride + b;
              if (add) v += channels(p, B - b);
              if (B - b >= width) L::store(p, v);
              else L::store(p, v, B - b);
            };
            put(2 * line, base + (rows[0][k] + sum)), put(2 * line + 1, base + (difference - rows[3][k]));
          }
        }
  }

  /// tiles (16, most, B) = A dy A^T of the 2 x 2 gradients of every tile of the lines [first, first + lines_at_once).
  static void transform_gradient(const T* dy, int stride, int first, T* tiles) {
    for (int line = first, tile = 0; line < std::min(lines, first + lines_at_once); ++line)
      for (int j = 0; j < columns; ++j, ++tile)
        for (int b = 0; b < B; b += width) {
          const auto at = [&](int h, int w) {
            return h < S.height && w < S.width ? channels(dy + (Index{h} * S.width + w) * stride + b, B - b) : V{};
          };
          V rows[4][2];
          for (int k = 0; k < 2; ++k) {
            const V top = at(2 * line, 2 * j + k), bottom = at(2 * line + 1, 2 * j + k);
            rows[0][k] = top, rows[1][k] = top + bottom, rows[2][k] = top - bottom, rows[3][k] = -bottom;
          }
          for (int i = 0; i < 4; ++i) {
            const auto put = [&](int k, V v) { L::store(tiles + (Index{4 * i + k} * most + tile) * b_size + b, v); };
            put(0, rows[i][0]), put(1, rows[i][0] + rows[i][1]);
            put(2, rows[i][0] - rows[i][1]), put(3, -rows[i][1]);
          }
        }
  }

  /// R rows of v vectors: y = sum over `count` steps of x[r * x_row + step * x_step] * z[step], added to y if `add`.
  template <int R, int v, bool add>
  static void products(int count, const T* x, int x_row, int x_step, const T* z, int z_stride, T* y, int y_stride) {
    V sum[R][v];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < v; ++j) sum[r][j] = add ? L::load(y + Index{r} * y_stride + j * width) : V{};
    for (int i = 0; i < count; ++i, x += x_step, z += z_stride) {
      V b[v];
#pragma GCC unroll 4
      for (int j = 0; j < v; ++j) b[j] = L::load(z + j * width);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V factor = L::all(x[Index{r} * x_row]);
#pragma GCC unroll 4
        for (int j = 0; j < v; ++j) sum[r][j] = L::fma(factor, b[j], sum[r][j]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < v; ++j) L::store(y + Index{r} * y_stride + j * width, sum[r][j]);
  }

  /// products() of `rows` rows, mostly `all` of them, and n vectors, in register tiles.
  template <int n, int all, bool add>
  static void product(int rows, int count, const T* x, int x_row, int x_step, const T* z, T* y) {
    constexpr int v = panel(n), stride = n * width, R = Base::template tall<v, all>;
    const auto strip = [&]<int v_>(std::integral_constant<int, v_>, int j) {
      int r = 0;
      const auto step = [&]<int R_>(std::integral_constant<int, R_>) {
        for (; r + R_ <= rows; r += R_)
          products<R_, v_, add>(count, x + Index{r} * x_row, x_row, x_step, z + j * width, stride,
                                y + Index{r} * stride + j * width, stride);
      };
      step(std::integral_constant<int, R>());
      if constexpr (R > 4) step(std::integral_constant<int, 4>());
      step(std::integral_constant<int, 1>());
    };
    for (int j = 0; j + v <= n; j += v) strip(std::integral_constant<int, v>(), j);
    if constexpr (n % v > 0) strip(std::integral_constant<int, n % v>(), n - n % v);
  }

  static int tiles_of(int first) { return std::min(lines_at_once, lines - first) * columns; }

  /// y = x * weights + bias for one group, added to y if `add`; `get(tap, a, b)` is a weight. Strides are per pixel.
  template <class Get>
  static void forward(int rows, const T* x, int x_stride, Get get, const T* bias, bool add, T* y, int y_stride) {
    alignas(64) T filter[points * A * b_size];
    alignas(64) T inputs[points * most * a_size];
    alignas(64) T outputs[points * most * b_size];
    transform_filter(get, filter);
    for (int r = 0; r < rows; ++r, x += Index{S.height} * S.width * x_stride, y += Index{S.height} * S.width * y_stride)
      for (int line = 0; line < lines; line += lines_at_once) {
        transform_input<A>(x, x_stride, line, inputs);
        for (int k = 0; k < points; ++k)
          product<b_vectors, most, false>(tiles_of(line), A, inputs + k * most * a_size, a_size, 1,
                                          filter + k * A * b_size, outputs + k * most * b_size);
        transform_output(outputs, line, bias, add, y, y_stride);
      }
  }

  /// Adds to dw, (B, A, taps) of one group, the sums over all pixels.
  static void weight_gradient(int rows, const T* x, int x_stride, const T* dy, int dy_stride, T* dw) {
    alignas(64) T sums[points * B * a_size];
    alignas(64) T inputs[points * most * a_size];
    alignas(64) T gradients[points * most * b_size];
    std::fill(sums, sums + points * B * a_size, T(0));
    for (int r = 0; r < rows; ++r, x += Index{S.height} * S.width * x_stride,
             dy += Index{S.height} * S.width * dy_stride)
      for (int line = 0; line < lines; line += lines_at_once) {
        transform_input<A>(x, x_stride, line, inputs);
        transform_gradient(dy, dy_stride, line, gradients);
        for (int k = 0; k < points; ++k)
          product<a_vectors, B, true>(B, tiles_of(line), gradients + k * most * b_size, 1, b_size,
                                      inputs + k * most * a_size, sums + k * B * a_size);
      }
    transform_sums(sums, dw);
  }
};

}  // namespace detail
}  // namespace data2vec::inline v0
