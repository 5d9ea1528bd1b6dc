// SPDX-License-Identifier: MIT
// The matrix product of all kernels: register tiles over packed panels. An element is the sum over blocks of 384 terms,
// each a chain of fused multiply-adds in the order of k: its bits depend neither on its place nor on the tile.
#pragma once

#include <algorithm>
#include <cstddef>

#include <data2vec/device/cpu/vec.hpp>

namespace data2vec::inline v0::detail {

/// A matrix by its strides, in elements.
template <class T>
struct Strided {
  const T* data;
  std::ptrdiff_t row, column;
};

template <class T, class Isa>
struct Product {
  using L = Lanes<T, Isa>;
  using V = typename L::V;
  static constexpr int width = L::size;
  static constexpr int panel = 2 * width;                            // columns of a tile
  static constexpr int tall = Isa::vector_bytes == 64 ? 8 : 6;       // rows of a tile: accumulators fill the registers
  static constexpr int depth = 384;                                  // terms of a block: fixed, part of the result
  static constexpr int row_block = 384;                              // rows per packing of a panel: a block stays in L2

  /// Columns [0, n) of k rows of b as rows of `columns`, zeros behind n.
  static void pack(int k, int n, Strided<T> b, int columns, T* packed) {
    int p = 0;
    if (b.column == 1) {
      for (; p < k; ++p)
        for (int j = 0; j < columns; j += width) {
          const T* x = b.data + p * b.row + j;
          L::store(packed + p * columns + j, n - j >= width ? L::load(x) : L::load(x, n - j));
        }
    } else if (b.row == 1) {
      for (; p + width <= k; p += width)
        for (int j = 0; j < columns; j += width) {
          V x[width];
#pragma GCC unroll 16
          for (int i = 0; i < width; ++i) x[i] = j + i < n ? L::load(b.data + p + (j + i) * b.column) : V{};
          transpose(x);
#pragma GCC unroll 16
          for (int i = 0; i < width; ++i) L::store(packed + (p + i) * columns + j, x[i]);
        }
    }
    for (T* target = packed + p * columns; p < k; ++p, target += columns)
      for (int j = 0; j < columns; ++j) target[j] = j < n ? b.data[p * b.row + j * b.column] : T(0);
  }

  /// A square of vectors, by log2(width) perfect shuffles.
  [[gnu::always_inline]] static inline void transpose(V (&x)[width]) {
#pragma GCC unroll 4
    for (int step = 1; step < width; step *= 2) {
      V y[width];
#pragma GCC unroll 8
      for (int i = 0; i < width / 2; ++i) {
        y[2 * i] = L::interleave_low(x[i], x[i + width / 2]);
        y[2 * i + 1] = L::interleave_high(x[i], x[i + width / 2]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) x[i] = y[i];
    }
  }

  /// R rows x Vectors vectors of c (+)= a b: starts from zero, then adds `bias` and, if `add`, what was there.
  template <int R, int Vectors>
  static void tile(int k, Strided<T> a, const T* packed, int n, const T* bias, bool add, T* c, std::ptrdiff_t stride) {
    V sum[R][Vectors];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[r][v] = V{};
    const T* x = a.data;
    for (int p = 0; p < k; ++p, x += a.column, packed += Vectors * width) {
      V b[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) b[v] = L::load(packed + v * width);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V y = L::all(x[r * a.row]);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sum[r][v] = L::fma(y, b[v], sum[r][v]);
      }
    }
    const int rest = n - (Vectors - 1) * width;  // columns of the last vector
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      const bool whole = v + 1 < Vectors || rest >= width;
      V base{};
      if (bias) base = whole ? L::load(bias + v * width) : L::load(bias + v * width, rest);
      T* y = c + v * width;
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r, y += stride) {
        if (bias) sum[r][v] += base;
        if (whole) {
          if (add) sum[r][v] += L::load(y);
          L::store(y, sum[r][v]);
        } else {
          if (add) sum[r][v] += L::load(y, rest);
          L::store(y, sum[r][v], rest);
        }
      }
    }
  }

  template <int Vectors>
  static void rows(int m, int k, Strided<T> a, const T* packed, int n, const T* bias, bool add, T* c,
                   std::ptrdiff_t stride) {
    const auto step = [&]<int R>(std::integral_constant<int, R>) {
      for (; m >= R; m -= R, a.data += R * a.row, c += R * stride)
        tile<R, Vectors>(k, a, packed, n, bias, add, c, stride);
    };
    step(std::integral_constant<int, tall>());
    step(std::integral_constant<int, 4>());
    step(std::integral_constant<int, 2>());
    step(std::integral_constant<int, 1>());
  }

  /// c (m, n) = a (m, k) b (k, n) + bias (n), added to c if `add`. `bias` may be null.
  static void run(int m, int n, int k, Strided<T> a, Strided<T> b, const T* bias, bool add, T* c,
                  std::ptrdiff_t stride) {
    alignas(64) T packed[static_cast<std::size_t>(depth) * panel];
    if (k == 0 && add) return;
    int p = 0;
    do {
      const int kc = std::min(depth, k - p);
      for (int i = 0; i < m; i += row_block) {
        const int mc = std::min(row_block, m - i);
        const Strided<T> ablock{a.data + i * a.row + p * a.column, a.row, a.column};
        for (int j = 0; j < n; j += panel) {
          const int nc = std::min(panel, n - j);
          const bool one = nc <= width;
          pack(kc, nc, {b.data + p * b.row + j * b.column, b.row, b.column}, one ? width : panel, packed);
          const T* first_bias = bias && p == 0 ? bias + j : nullptr;
          T* target = c + i * stride + j;
          if (one) rows<1>(mc, kc, ablock, packed, nc, first_bias, add || p > 0, target, stride);
          else rows<2>(mc, kc, ablock, packed, nc, first_bias, add || p > 0, target, stride);
        }
      }
      p += kc;
    } while (p < k);
  }
};

/// sums[c] += sum of column c of x (rows, columns), in blocks of 256 rows.
template <class Isa, class T>
void column_sums(std::ptrdiff_t rows, int columns, const T* x, T* sums) {
  using L = Lanes<T, Isa>;
  for (; rows > 0; rows -= 256, x += 256 * std::ptrdiff_t{columns}) {
    const int count = static_cast<int>(std::min<std::ptrdiff_t>(rows, 256));
    for (int c = 0; c < columns; c += L::size) {
      const int n = std::min(columns - c, L::size);
      const T* p = x + c;
      typename L::V sum{};
      if (n == L::size) {
        for (int r = 0; r < count; ++r, p += columns) sum += L::load(p);
        L::store(sums + c, L::load(sums + c) + sum);
      } else {
        for (int r = 0; r < count; ++r, p += columns) sum += L::load(p, n);
        L::store(sums + c, L::load(sums + c, n) + sum, n);
      }
    }
  }
}

}  // namespace data2vec::inline v0::detail
