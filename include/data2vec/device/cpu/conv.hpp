// SPDX-License-Identifier: MIT
// Grouped convolutions on the processor: direct, channels last. The channels of one group are copied with their zero
// padding into a patch in the cache; register tiles of pixels x output channels run over window and input channels.
// Windows of 3 x 3 go by winograd.hpp where that pays.
#pragma once

#include <algorithm>

#include <data2vec/device/conv.hpp>
#include <data2vec/device/cpu/product.hpp>
#include <data2vec/device/cpu/register_tiles.hpp>
#include <data2vec/device/cpu/winograd.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// The tiles of a convolution from A channels to B channels per group.
template <ConvShape S, int A, int B, int before_h, int before_w, class T, class Isa>
struct ConvTiles : RegisterTiles<T, Isa> {
  using Base = RegisterTiles<T, Isa>;
  using typename Base::Index, typename Base::L, typename Base::V;
  using Base::many_registers, Base::vectors, Base::width;
  static constexpr int taps = S.kernel_height * S.kernel_width;

  // Input channels are taken in blocks; a block of the patch and a block of the weights share 192 KiB of stack.
  static constexpr int a_block = std::min(A, 64), a_stride = vectors(a_block) * width;
  static constexpr int b_block = std::min(B, 128);
  static constexpr int patch_size = 65536 / static_cast<int>(sizeof(T));
  static constexpr int weight_size = 131072 / static_cast<int>(sizeof(T));

  // Output pixels per patch.
  static constexpr int halo_h = S.kernel_height - 1, halo_w = S.kernel_width - 1;
  static constexpr int columns = std::clamp(patch_size / a_stride / S.kernel_height - halo_w, 1, S.width);
  static constexpr int lines = std::clamp(patch_size / a_stride / (columns + halo_w) - halo_h, 1, S.height);
  static constexpr int patch_width = columns + halo_w;
  static_assert((lines + halo_h) * patch_width * a_stride <= patch_size, "data2vec: convolution window is too large");

  // A tile: vectors of output channels, and pixels of a row of at most `columns`.
  static constexpr int panel = many_registers && vectors(B) == 3 ? 3 : std::min(2, vectors(B));
  template <int v>
  static constexpr int tall = Base::template tall<v, columns>;

  /// The window of the pixels [h, h + lines) x [w, w + columns) of channels [0, n) at x; `stride` per pixel.
  static void fill_patch(const T* x, int stride, int n, int h, int w, T* patch) {
    for (int i = 0; i < lines + halo_h; ++i)
      for (int j = 0; j < patch_width; ++j, patch += a_stride) {
        const int row = h + i - before_h, column = w + j - before_w;
        const bool inside = row >= 0 && row < S.height && column >= 0 && column < S.width;
        const T* pixel = x + (Index{row} * S.width + column) * stride;
        for (int c = 0; c < a_stride; c += width)
          L::store(patch + c,
                   !inside || n <= c ? V{} : n - c >= width ? L::load(pixel + c) : L::load(pixel + c, n - c));
      }
  }

  /// R pixels in a row, v vectors of channels, over taps [t0, t1).
  template <int R, int v>
  static void pixels(const T* patch, int n, int t0, int t1, const T* weights, const T* bias, bool add, int channels,
                     T* y, int stride) {
    V sum[R][v];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < v; ++j) sum[r][j] = V{};
    for (int t = t0; t < t1; ++t) {
      const T* x = patch + (t / S.kernel_width * patch_width + t % S.kernel_width) * a_stride;
      for (int a = 0; a < n; ++a, ++x, weights += v * width) {
        V b[v];
#pragma GCC unroll 4
        for (int j = 0; j < v; ++j) b[j] = L::load(weights + j * width);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const V factor = L::all(x[r * a_stride]);
#pragma GCC unroll 4
          for (int j = 0; j < v; ++j) sum[r][j] = L::fma(factor, b[j], sum[r][j]);
        }
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < v; ++j) {
      const int rest = channels - j * width;
      const V base = !bias ? V{} : rest >= width ? L::load(bias + j * width) : L::load(bias + j * width, rest);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        T* p = y + Index{r} * stride + j * width;
        if (bias) sum[r][j] += base;
        if (rest >= width) {
          if (add) sum[r][j] += L::load(p);
          L::store(p, sum[r][j]);
        } else {
          if (add) sum[r][j] += L::load(p, rest);
          L::store(p, sum[r][j], rest);
        }
      }
    }
  }

  /// y = x * weights + bias for one group, added to y if `add`; `get(tap, a, b)` is a weight. Strides are per pixel.
  template <int v, class Get>
  static void forward(int rows, const T* x, int x_stride, Get get, int b0, const T* bias, bool add, T* y,
                      int y_stride) {
    alignas(64) T patch[patch_size];
    alignas(64) T weights[weight_size];
    constexpr int tap_block = std::min(taps, weight_size / (a_block * v * width));
    const int channels = std::min(B - b0, v * width);
    for (int a0 = 0; a0 < A; a0 += a_block)
      for (int t0 = 0; t0 < taps; t0 += tap_block) {
        const int n = std::min(a_block, A - a0), t1 = std::min(taps, t0 + tap_block);
        T* w = weights;
        for (int t = t0; t < t1; ++t)
          for (int a = a0; a < a0 + n; ++a)
            for (int b = 0; b < v * width; ++b) *w++ = b < channels ? get(t, a, b0 + b) : T(0);
        const bool first = a0 == 0 && t0 == 0;
        const auto row = [&]<int R>(std::integral_constant<int, R>, const T* p, T* target) {
          pixels<R, v>(p, n, t0, t1, weights, first && bias ? bias + b0 : nullptr, add || !first, channels, target,
                       y_stride);
        };
        for (int r = 0; r < rows; ++r)
          for (int h = 0; h < S.height; h += lines)
            for (int c = 0; c < S.width; c += columns) {
              fill_patch(x + Index{r} * S.height * S.width * x_stride + a0, x_stride, n, h, c, patch);
              const int c1 = std::min(columns, S.width - c);
              for (int i = 0; i < std::min(lines, S.height - h); ++i) {
                const T* p = patch + i * patch_width * a_stride;
                T* target = y + ((Index{r} * S.height + h + i) * S.width + c) * y_stride + b0;
                int j = 0;
                for (; j + tall<v> <= c1; j += tall<v>)
                  row(std::integral_constant<int, tall<v>>(), p + j * a_stride, target + Index{j} * y_stride);
                if constexpr (columns % tall<v> > 0)
                  for (; j + columns % tall<v> <= c1; j += columns % tall<v>)
                    row(std::integral_constant<int, columns % tall<v>>(), p + j * a_stride,
                        target + Index{j} * y_stride);
                if constexpr (S.width % columns > 0)  // else the two sizes above fill every row
                  for (; j < c1; ++j)
                    row(std::integral_constant<int, 1>(), p + j * a_stride, target + Index{j} * y_stride);
              }
            }
      }
  }

  /// sums (R, v vectors) += dy^T x over the pixels of a patch, for one tap (by its place in the patch).
  template <int R, int v>
  static void outer(const T* patch, const T* dy, int stride, int line_count, int column_count, T* sums) {
    V sum[R][v];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < v; ++j) sum[r][j] = L::load(sums + r * a_stride + j * width);
    for (int h = 0; h < line_count; ++h) {
      const T *x = patch + h * patch_width * a_stride, *d = dy + Index{h} * S.width * stride;
      for (int w = 0; w < column_count; ++w, x += a_stride, d += stride) {
        V a[v];
#pragma GCC unroll 4
        for (int j = 0; j < v; ++j) a[j] = L::load(x + j * width);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const V factor = L::all(d[r]);
#pragma GCC unroll 4
          for (int j = 0; j < v; ++j) sum[r][j] = L::fma(factor, a[j], sum[r][j]);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < v; ++j) L::store(sums + r * a_stride + j * width, sum[r][j]);
  }

  /// Adds to dw, (B, A, taps) of one group, the sums over all pixels for the output channels [b0, b0 + b_block).
  static void weight_gradient(int rows, const T* x, int x_stride, const T* dy, int dy_stride, T* dw, int b0) {
    alignas(64) T patch[patch_size];
    alignas(64) T sums[weight_size];
    constexpr int tap_block = std::min(taps, weight_size / (b_block * a_stride)), all = vectors(a_block);
    constexpr int wide = many_registers && all == 3 ? 3 : std::min(2, all);
    for (int a0 = 0; a0 < A; a0 += a_block)
      for (int t0 = 0; t0 < taps; t0 += tap_block) {
        const int n = std::min(a_block, A - a0), m = std::min(b_block, B - b0), t1 = std::min(taps, t0 + tap_block);
        std::fill(sums, sums + (t1 - t0) * m * a_stride, T(0));
        for (int r = 0; r < rows; ++r)
          for (int h = 0; h < S.height; h += lines)
            for (int c = 0; c < S.width; c += columns) {
              fill_patch(x + Index{r} * S.height * S.width * x_stride + a0, x_stride, n, h, c, patch);
              const T* d = dy + ((Index{r} * S.height + h) * S.width + c) * dy_stride + b0;
              const int line_count = std::min(lines, S.height - h), column_count = std::min(columns, S.width - c);
              for (int t = t0; t < t1; ++t) {
                const T* p = patch + (t / S.kernel_width * patch_width + t % S.kernel_width) * a_stride;
                T* s = sums + (t - t0) * m * a_stride;
                const auto strip = [&]<int v>(std::integral_constant<int, v>, int j) {
                  int b = 0;
                  const auto step = [&]<int R>(std::integral_constant<int, R>) {
                    for (; b + R <= m; b += R)
                      outer<R, v>(p + j * width, d + b, dy_stride, line_count, column_count,
                                  s + b * a_stride + j * width);
                  };
                  step(std::integral_constant<int, many_registers && v < 3 ? 12 : many_registers ? 8 : 6>());
                  step(std::integral_constant<int, 2>());
                  step(std::integral_constant<int, 1>());
                };
                for (int j = 0; j + wide <= all; j += wide) strip(std::integral_constant<int, wide>(), j);
                if constexpr (all % wide > 0) strip(std::integral_constant<int, all % wide>(), all - all % wide);
              }
            }
        for (int t = t0; t < t1; ++t)
          for (int b = 0; b < m; ++b)
            for (int a = 0; a < n; ++a)
              dw[(Index{b0 + b} * A + a0 + a) * taps + t] += sums[((t - t0) * m + b) * a_stride + a];
      }
  }
};

}  // namespace detail

template <class Isa>
struct kernel::GroupedConv<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <ConvShape S, class T>
  static void forward(Cpu& d, int rows, const T* x, const T* weight, const T* bias, T* y) {
    using K = detail::ConvTiles<S, in<S>, out<S>, S.kernel_height / 2, S.kernel_width / 2, T, Isa>;
    const auto get = [](const T* w, int t, int a, int b) { return w[(Index{b} * in<S> + a) * K::taps + t]; };
    convolve<S, K, in<S>, out<S>>(d, rows, x, weight, get, bias, false, y);
  }

  // The window mirrored: what lay before a pixel now lies behind it.
  template <ConvShape S, Grad G, class T>
  static void input_gradient(Cpu& d, int rows, const T* dy, const T* weight, T* dx) {
    using K = detail::ConvTiles<S, out<S>, in<S>, S.kernel_height - 1 - S.kernel_height / 2,
                                S.kernel_width - 1 - S.kernel_width / 2, T, Isa>;
    const auto get = [](const T* w, int t, int a, int b) {
      return w[(Index{a} * in<S> + b) * K::taps + K::taps - 1 - t];
    };
    convolve<S, K, out<S>, in<S>>(d, rows, dy, weight, get, static_cast<const T*>(nullptr), G == Grad::accumulate, dx);
  }

  template <ConvShape S, class T>
  static void weight_gradient(Cpu& d, int rows, const T* dy, const T* x, T* dweight, T* dbias) {
    using K = detail::ConvTiles<S, in<S>, out<S>, S.kernel_height / 2, S.kernel_width / 2, T, Isa>;
    using W = detail::WinogradTiles<S, in<S>, out<S>, T, Isa>;
    constexpr int blocks = W::pays ? 1 : (out<S> + K::b_block - 1) / K::b_block;
    detail::share(d, S.groups * blocks, 1, [=](Index first, Index end) {
      for (Index i = first; i < end; ++i) {
        const Index g = i / blocks;
        const T *of_x = x + g * in<S>, *of_dy = dy + g * out<S>;
        T* dw = dweight + g * out<S> * in<S> * K::taps;
        if constexpr (W::pays)
          W::weight_gradient(rows, of_x, S.in_channels, of_dy, S.out_channels, dw);
        else
          K::weight_gradient(rows, of_x, S.in_channels, of_dy, S.out_channels, dw,
                             static_cast<int>(i % blocks) * K::b_block);
      }
    });
    if (dbias) detail::column_sums(d, Index{rows} * S.height * S.width, S.out_channels, dy, dbias);
  }

 private:
  template <ConvShape S>
  static constexpr int in = S.in_channels / S.groups;
  template <ConvShape S>
  static constexpr int out = S.out_channels / S.groups;

  // From A to B channels per group, shared by groups and panels of output channels; get(weights of a group, tap, a, b).
  template <ConvShape S, class K, int A, int B, class Get, class T>
  static void convolve(Cpu& d, int rows, const T* x, const T* weight, Get get, const T* bias, bool add, T* y) {
    using W = detail::WinogradTiles<S, A, B, T, Isa>;
    constexpr int whole = K::vectors(B) / K::panel, rest = K::vectors(B) % K::panel,
                  panels = W::pays ? 1 : whole + (rest > 0);
    detail::share(d, S.groups * panels, 1, [=](Index first, Index end) {
      for (Index i = first; i < end; ++i) {
        const Index g = i / panels;
        const int panel = static_cast<int>(i % panels), b0 = panel * K::panel * K::width;
        const auto of_group = [=, w = weight + g * A * B * K::taps](int t, int a, int b) { return get(w, t, a, b); };
        const T *of_x = x + g * A, *of_bias = bias ? bias + g * B : nullptr;
        T* of_y = y + g * B;
        if constexpr (W::pays)
          W::forward(rows, of_x, A * S.groups, of_group, of_bias, add, of_y, B * S.groups);
        else if (panel < whole)
          K::template forward<K::panel>(rows, of_x, A * S.groups, of_group, b0, of_bias, add, of_y, B * S.groups);
        else if constexpr (rest > 0)
          K::template forward<rest>(rows, of_x, A * S.groups, of_group, b0, of_bias, add, of_y, B * S.groups);
      }
    });
  }
};

}  // namespace data2vec::inline v0
