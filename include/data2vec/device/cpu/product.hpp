// SPDX-License-Identifier: MIT
// The matrix product of all kernels: register tiles over packed panels. An element is the sum over equal blocks of at most
// 384 terms, each a chain of fused multiply-adds in the order of k: its bits depend neither on its place nor on the tile.
#pragma once

#include <algorithm>
#include <cstddef>

#include <data2vec/device/cpu/openblas.hpp>
#include <data2vec/device/cpu/vec.hpp>

namespace data2vec::inline v0::detail {

template <class T, class Isa>
struct Product {
  using L = Lanes<T, Isa>;
  using V = typename L::V;
  static constexpr int width = L::size;
  static constexpr int panel = 2 * width;                            // columns of a tile
  static constexpr int tall = Isa::vector_bytes == 64 ? 8 : 6;       // rows of a tile: accumulators fill the registers
  static constexpr int depth = 384;                                  // most terms of a block
  static constexpr int row_block = 384;                              // rows per packing of a panel: a block stays in L2

  /// Terms of each block of k of them but the last: part of the result, a function of k alone.
  static constexpr int block_depth(int k) {
    const int blocks = std::max(1, (k + depth - 1) / depth);
    return std::min(depth, ((k + blocks - 1) / blocks + 15) / 16 * 16);
  }

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

  /// The block of b that will be packed next, asked for line by line while the present one is multiplied: rows of
  /// weights are too far apart for the processor to guess them.
  struct Ahead {
    const T* data = nullptr;
    std::ptrdiff_t stride = 0;      // between rows of memory
    int lines = 0, rows = 0;        // cache lines of a row, rows to come
    int line = 0;
    static constexpr int line_size = 64 / static_cast<int>(sizeof(T));

    static Ahead of(int k, int n, Strided<T> b) {
      if (b.column == 1) return {b.data, b.row, (n + line_size - 1) / line_size, k};
      return {b.data, b.column, (k + line_size - 1) / line_size, n};
    }
    void fetch(int count) {
      for (; count > 0 && rows > 0; --count) {
        __builtin_prefetch(data + line * line_size, 0, 2);  // to L2: L1 is full of the present block
        if (++line == lines) line = 0, data += stride, --rows;
      }
    }
  };

  /// R rows x Vectors vectors of c (+)= a b: starts from zero, then adds `bias` and, if `add`, what was there; what
  /// `finish` makes of the results goes to `finished`, which has the stride of c and may be c.
  template <int R, int Vectors, class Finish>
  static void tile(int k, Strided<T> a, const T* packed, int n, const T* bias, bool add, T* c, std::ptrdiff_t stride,
                   Finish finish, T* finished) {
    constexpr bool finishes = !std::is_same_v<Finish, AsItIs>;
    // The lines that the results will go to are asked for now, or the processor would wait for them at the end.
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) __builtin_prefetch(c + r * stride + v * width, 1);
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
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const std::ptrdiff_t place = r * stride + v * width;
        if (bias) sum[r][v] += base;
        if (whole) {
          if (add) sum[r][v] += L::load(c + place);
          L::store(c + place, sum[r][v]);
          if constexpr (finishes) L::store(finished + place, finish(sum[r][v]));
        } else {
          if (add) sum[r][v] += L::load(c + place, rest);
          L::store(c + place, sum[r][v], rest);
          if constexpr (finishes) L::store(finished + place, finish(sum[r][v]), rest);
        }
      }
    }
  }

  /// `strip`: from the first of `tall` rows of a to the next.
  template <int Vectors, class Finish>
  static void rows(int m, int k, Strided<T> a, std::ptrdiff_t strip, const T* packed, int n, const T* bias, bool add,
                   T* c, std::ptrdiff_t stride, Finish finish, T* finished, Ahead ahead) {
    const int share = ahead.lines * ahead.rows / m + 1;  // lines of the next block for each row
    const auto step = [&]<int R>(std::integral_constant<int, R>) {
      for (; m >= R; m -= R, a.data += R == tall ? strip : R * a.row, c += R * stride) {
        tile<R, Vectors>(k, a, packed, n, bias, add, c, stride, finish, finished);
        ahead.fetch(R * share);
        if constexpr (!std::is_same_v<Finish, AsItIs>) finished += R * stride;
      }
    };
    step(std::integral_constant<int, tall>());
    step(std::integral_constant<int, 4>());
    step(std::integral_constant<int, 2>());
    step(std::integral_constant<int, 1>());
  }

  /// Rows of a whose columns lie one behind the other, as strips of `tall` rows: (strips, k, tall).
  static void pack_rows(int m, int k, Strided<T> a, T* packed) {
    for (int i = 0; i < m; i += tall, a.data += tall, packed += std::ptrdiff_t{tall} * k)
      for (int p = 0; p < k; ++p) {
        const T* const from = a.data + p * a.column;
        T* const to = packed + std::ptrdiff_t{p} * tall;
        if (m - i >= tall) __builtin_memcpy(to, from, tall * sizeof(T));
        else std::copy(from, from + (m - i), to);
      }
  }

  /// c (m, n) = a (m, k) b (k, n) + bias (n), added to c if `add`; and finished (m, n) = finish(c), which may be c.
  /// `bias` may be null.
  template <class Finish = AsItIs>
  static void run(int m, int n, int k, Strided<T> a, Strided<T> b, const T* bias, bool add, T* c,
                  std::ptrdiff_t stride, Finish finish = {}, T* finished = nullptr) {
    // Rows that lie across memory are read again for every panel: worth a copy that is read in order.
    if (a.row == 1 && a.column > tall && n > 4 * panel)
      return run_packed<across_block>(m, n, k, a, b, bias, add, c, stride, finish, finished);
    return run_packed<0>(m, n, k, a, b, bias, add, c, stride, finish, finished);
  }

 private:
  static constexpr int across_block = 192;  // rows that are packed at a time: they stay in L2

  /// With `block` rows of a packed at a time, or none of them if it is 0.
  template <int block, class Finish>
  [[gnu::noinline]] static void run_packed(int m, int n, int k, Strided<T> a, Strided<T> b, const T* bias, bool add,
                                           T* c, std::ptrdiff_t stride, Finish finish, T* finished) {
    alignas(64) T packed[static_cast<std::size_t>(depth) * panel];
    alignas(64) T across[block > 0 ? static_cast<std::size_t>(depth) * block : 1];
    if (k == 0 && add) return;
    constexpr int at_a_time = block > 0 ? block : row_block;
    const int most = block_depth(k);
    int p = 0;
    do {
      const int kc = std::min(most, k - p);
      const bool last = p + kc >= k;
      for (int i = 0; i < m; i += at_a_time) {
        const int mc = std::min(at_a_time, m - i);
        Strided<T> ablock = a.from(i, p);
        std::ptrdiff_t strip = tall * a.row;
        if constexpr (block > 0) {
          pack_rows(mc, kc, ablock, across);
          ablock = {across, 1, tall};
          strip = std::ptrdiff_t{tall} * kc;
        }
        for (int j = 0; j < n; j += panel) {
          const int nc = std::min(panel, n - j);
          const bool one = nc <= width;
          pack(kc, nc, b.from(p, j), one ? width : panel, packed);
          const T* first_bias = bias && p == 0 ? bias + j : nullptr;
          T* target = c + i * stride + j;
          Ahead ahead;
          if (j + nc < n) ahead = Ahead::of(kc, std::min(panel, n - j - nc), b.from(p, j + nc));
          else if (i + mc < m) ahead = Ahead::of(kc, std::min(panel, n), b.from(p, 0));
          else if (!last) ahead = Ahead::of(std::min(most, k - p - kc), std::min(panel, n), b.from(p + kc, 0));
          const auto go = [&](auto f, T* place) {
            if (one)
              rows<1>(mc, kc, ablock, strip, packed, nc, first_bias, add || p > 0, target, stride, f, place, ahead);
            else rows<2>(mc, kc, ablock, strip, packed, nc, first_bias, add || p > 0, target, stride, f, place, ahead);
          };
          if constexpr (std::is_same_v<Finish, AsItIs>) go(AsItIs{}, nullptr);
          else if (last) go(finish, finished + i * stride + j);
          else go(AsItIs{}, nullptr);
        }
      }
      p += kc;
    } while (p < k);
  }

 public:
  /// The same by all threads of the device: columns are shared out, or rows where there are few columns.
  template <class Finish = AsItIs>
  static void run(BasicCpu<Isa>& d, int m, int n, int k, Strided<T> a, Strided<T> b, const T* bias, bool add, T* c,
                  std::ptrdiff_t stride, Finish finish = {}, T* finished = nullptr) {
    const auto work = [&](std::ptrdiff_t i, std::ptrdiff_t rows, std::ptrdiff_t j, std::ptrdiff_t columns) {
      const std::ptrdiff_t place = i * stride + j;
      const Strided<T> a_part = a.from(i, 0), b_part = b.from(0, j);
      const T* bias_part = bias ? bias + j : nullptr;
      T* finished_part = finished ? finished + place : nullptr;
#if defined(DATA2VEC_OPENBLAS)
      if constexpr (uses_openblas<Isa> && std::is_same_v<T, float>)
        return openblas_product<Isa>(rows, columns, k, a_part, b_part, bias_part, add, c + place, stride, finish,
                                     finished_part);
#endif
      run(static_cast<int>(rows), static_cast<int>(columns), k, a_part, b_part, bias_part, add, c + place, stride,
          finish, finished_part);
    };
    constexpr double worthwhile = 1 << 18;  // multiply-adds: some microseconds
    if (!d.team || 1.0 * m * n * k < worthwhile) return work(0, m, 0, n);
    if (n >= 2 * panel * d.team->size() || n >= m)
      share(d, n, panel, [&](std::ptrdiff_t first, std::ptrdiff_t end) { work(0, m, first, end - first); });
    else share(d, m, tall, [&](std::ptrdiff_t first, std::ptrdiff_t end) { work(first, end - first, 0, n); });
  }
};

/// sums[c] += sum of column c of x (rows, columns), in blocks of 256 rows; for columns [first, end).
template <class Isa, class T>
void column_sums(std::ptrdiff_t rows, int columns, int first, int end, const T* x, T* sums) {
  using L = Lanes<T, Isa>;
  for (; rows > 0; rows -= 256, x += 256 * std::ptrdiff_t{columns}) {
    const int count = static_cast<int>(std::min<std::ptrdiff_t>(rows, 256));
    for (int c = first; c < end; c += L::size) {
      const int n = std::min(end - c, L::size);
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

/// All columns, by all threads of the device.
template <class Isa, class T>
void column_sums(BasicCpu<Isa>& d, std::ptrdiff_t rows, int columns, const T* x, T* sums) {
  share(d, columns, 4 * Lanes<T, Isa>::size, [&](std::ptrdiff_t first, std::ptrdiff_t end) {
    column_sums<Isa>(rows, columns, static_cast<int>(first), static_cast<int>(end), x, sums);
  });
}

}  // namespace data2vec::inline v0::detail
