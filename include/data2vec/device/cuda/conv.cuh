// SPDX-License-Identifier: MIT
// Grouped convolutions on the GPU: direct, channels last. A block holds the window of its pixels and the weights of one
// group in shared memory, some input channels at a time; a thread has 4 or 8 channels of up to 5 pixels in registers.
// In bfloat16 by conv_half.cuh.
#pragma once

#include <data2vec/device/conv.hpp>
#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/conv_half.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/tiles.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// The numbers of a convolution from A to B channels per group; kernels are instantiated by them alone.
template <int A_, int B_, int groups_, int kernel_h_, int kernel_w_, int height_, int width_>
struct ConvNumbers {
  static constexpr int A = A_, B = B_, groups = groups_, kernel_h = kernel_h_, kernel_w = kernel_w_, height = height_,
                       width = width_;
  using Tile = ConvTile<A, B, kernel_h, kernel_w, height, width>;
};

/// y (+)= window of x times weights (+ bias). Grid: (rows x tiles, groups, channel blocks). `mirrored`: the gradient.
template <class N, bool mirrored, bool accumulate, class T>
__global__ void __launch_bounds__(256, 2) conv_pixels(const T* x, const T* weight, const T* bias, T* y) {
  using L = typename N::Tile;
  extern __shared__ float4 shared[];
  float *const patch = reinterpret_cast<float*>(shared), *const weights = patch + L::weights_first;
  constexpr int before_h = mirrored ? N::kernel_h - 1 - N::kernel_h / 2 : N::kernel_h / 2;
  constexpr int before_w = mirrored ? N::kernel_w - 1 - N::kernel_w / 2 : N::kernel_w / 2;
  const int thread = static_cast<int>(threadIdx.x), tp = thread % L::pixel_lanes, tc = thread / L::pixel_lanes;
  const int row = static_cast<int>(blockIdx.x) / (L::line_tiles * L::column_tiles);
  const int tile = static_cast<int>(blockIdx.x) % (L::line_tiles * L::column_tiles);
  const int line = tile / L::column_tiles * L::lines, column = tile % L::column_tiles * L::columns;
  const int g = static_cast<int>(blockIdx.y), c0 = static_cast<int>(blockIdx.z) * L::c_block;
  const T* const from = x + static_cast<std::size_t>(row) * N::height * N::width * N::A * N::groups + g * N::A;

  int place[L::pixels_per_thread];
  float sum[L::pixels_per_thread][L::c_vec];
#pragma unroll
  for (int i = 0; i < L::pixels_per_thread; ++i) {
    place[i] = L::place(lesser(tp + i * L::pixel_lanes, L::pixels - 1));
#pragma unroll
    for (int k = 0; k < L::c_vec; ++k) sum[i][k] = 0;
  }
  for (int a0 = 0; a0 < N::A; a0 += L::a_block) {
    const int n = lesser(L::a_block, N::A - a0);
    __syncthreads();
    for (int i = thread; i < n * L::patch; i += L::threads) {  // neighbours read neighbouring channels
      const int a = i % n, p = i / n, pixel = L::pixel(p, line, column, before_h, before_w);
      patch[a * L::patch_stride + p] =
          pixel < 0 ? 0.0f : to_float(from[static_cast<std::size_t>(pixel) * (N::A * N::groups) + a0 + a]);
    }
    for (int i = thread; i < n * L::taps * L::c_block; i += L::threads) {
      const int tap = i % L::taps, a = i / L::taps % n, b = i / L::taps / n;
      weights[(a * L::taps + tap) * L::c_block + b] =
          c0 + b < N::B ? to_float(weight[weight_place<N::A, N::B, L::taps, mirrored>(g, a0 + a, c0 + b, tap)]) : 0.0f;
    }
    __syncthreads();
    for (int a = 0; a < n; ++a) {
      const float* const plane = patch + a * L::patch_stride;
#pragma unroll 3
      for (int tap = 0; tap < L::taps; ++tap) {
        float w[L::c_vec / 4][4];
        const float* const at = weights + (a * L::taps + tap) * L::c_block + tc * L::c_vec;
#pragma unroll
        for (int k = 0; k < L::c_vec / 4; ++k) load<4>(at + 4 * k, w[k]);
        const int offset = L::tap_offset(tap);
#pragma unroll
        for (int i = 0; i < L::pixels_per_thread; ++i) {
          const float value = plane[place[i] + offset];
#pragma unroll
          for (int k = 0; k < L::c_vec; ++k) sum[i][k] = fmaf(value, w[k / 4][k % 4], sum[i][k]);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < L::pixels_per_thread; ++i) {
    const int p = tp + i * L::pixel_lanes, h = line + p / L::columns, w = column + p % L::columns;
    if (p >= L::pixels || h >= N::height || w >= N::width) continue;
    T* const to =
        y + (static_cast<std::size_t>(row) * N::height * N::width + h * N::width + w) * (N::B * N::groups) + g * N::B;
#pragma unroll
    for (int k = 0; k < L::c_vec; ++k) {
      const int c = c0 + tc * L::c_vec + k;
      if (c >= N::B) continue;
      float value = sum[i][k];
      if (bias) value += to_float(bias[g * N::B + c]);
      if constexpr (accumulate) value += to_float(to[c]);
      put(to[c], value);
    }
  }
}

/// partial (chunks, weights): dy^T x for one tap of one group over a chunk of rows. Grid: (groups x taps x tiles,
/// chunks). A thread has 4 x 4 channels and every split-th pixel.
template <class N, class T>
__global__ void __launch_bounds__(256)
    conv_weight_chunks(int rows, int chunk_rows, const T* dy, const T* x, float* partial) {
  using L = WeightTile<N::A, N::B>;
  constexpr int taps = N::kernel_h * N::kernel_w, area = N::height * N::width, parts = L::a_tiles * L::b_tiles;
  static __shared__ float4 tiles[(L::shared_floats + 3) / 4];
  float *const xs = reinterpret_cast<float*>(tiles), *const ds = xs + L::pixels * L::a_block;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % L::lanes, part = thread / L::lanes;
  const int a = lane % L::a_lanes * 4, b = lane / L::a_lanes * 4;
  const int tile = static_cast<int>(blockIdx.x) % parts, tap = static_cast<int>(blockIdx.x) / parts % taps;
  const int g = static_cast<int>(blockIdx.x) / parts / taps;
  const int a0 = tile % L::a_tiles * L::a_block, b0 = tile / L::a_tiles * L::b_block;
  const int dh = tap / N::kernel_w - N::kernel_h / 2, dw = tap % N::kernel_w - N::kernel_w / 2;
  const int first = static_cast<int>(blockIdx.y) * chunk_rows, end = lesser(rows, first + chunk_rows);
  float sum[4][4] = {};
  for (int row = first; row < end; ++row)
    for (int p0 = 0; p0 < area; p0 += L::pixels) {
      __syncthreads();
      for (int i = thread; i < L::pixels * L::a_block; i += L::threads) {
        const int c = i % L::a_block, p = p0 + i / L::a_block, h = p / N::width + dh, w = p % N::width + dw;
        const bool inside = p < area && h >= 0 && h < N::height && w >= 0 && w < N::width && a0 + c < N::A;
        xs[i] = inside ? to_float(x[(static_cast<std::size_t>(row) * area + h * N::width + w) * (N::A * N::groups) +
                                    g * N::A + a0 + c])
                       : 0.0f;
      }
      for (int i = thread; i < L::pixels * L::b_block; i += L::threads) {
        const int c = i % L::b_block, p = p0 + i / L::b_block;
        ds[i] = p < area && b0 + c < N::B
                    ? to_float(dy[(static_cast<std::size_t>(row) * area + p) * (N::B * N::groups) + g * N::B + b0 + c])
                    : 0.0f;
      }
      __syncthreads();
      for (int p = part; p < L::pixels; p += L::split) {
        float u[4], v[4];
        load<4>(xs + p * L::a_block + a, u);
        load<4>(ds + p * L::b_block + b, v);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(v[i], u[j], sum[i][j]);
      }
    }
  if constexpr (L::split > 1) {  // the parts of the pixels, in order
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; ++k) xs[k * L::threads + thread] = sum[k / 4][k % 4];
    __syncthreads();
    if (part == 0)
#pragma unroll
      for (int k = 0; k < 16; ++k)
        for (int s = 1; s < L::split; ++s) sum[k / 4][k % 4] += xs[k * L::threads + s * L::lanes + lane];
  }
  if (part > 0) return;
  float* const to = partial + static_cast<std::size_t>(blockIdx.y) * (N::groups * N::B * N::A * taps);
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (b0 + b + i < N::B && a0 + a + j < N::A)
        to[weight_place<N::A, N::B, taps, false>(g, a0 + a + j, b0 + b + i, tap)] = sum[i][j];
}

}  // namespace detail::gpu

template <Precision P>
struct kernel::GroupedConv<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <ConvShape S, class T>
  static void forward(D& d, int rows, const T* x, const T* weight, const T* bias, T* y) {
    run<Forward<S>, false, false>(d, "grouped_conv", rows, x, weight, bias, y);
  }

  template <ConvShape S, Grad G, class T>
  static void input_gradient(D& d, int rows, const T* dy, const T* weight, T* dx) {
    using N = detail::gpu::ConvNumbers<S.out_channels / S.groups, S.in_channels / S.groups, S.groups, S.kernel_height,
                                       S.kernel_width, S.height, S.width>;
    run<N, true, G == Grad::accumulate>(d, "grouped_conv_input_gradient", rows, dy, weight,
                                        static_cast<const T*>(nullptr), dx);
  }

  template <ConvShape S, class T>
  static void weight_gradient(D& d, int rows, const T* dy, const T* x, T* dweight, T* dbias) {
    using N = Forward<S>;
    using L = detail::gpu::WeightTile<N::A, N::B>;
    constexpr const char* name = "grouped_conv_weight_gradient";
    constexpr int taps = S.kernel_height * S.kernel_width, weights = S.out_channels * N::A * taps;
    if (rows == 0) return;
    if constexpr (sizeof(T) < sizeof(float)) {
      detail::gpu::run_half_conv_weights<Halves<N>>(d, name, rows, dy, x, dweight);
    } else {
      const detail::gpu::WeightChunks plan(rows);
      auto* const partial = d.template scratch<float>(name, static_cast<std::size_t>(plan.chunks) * weights);
      d.launch(
          name,
          dim3(static_cast<unsigned>(S.groups * taps * L::a_tiles * L::b_tiles), static_cast<unsigned>(plan.chunks)),
          L::threads, 0, &detail::gpu::conv_weight_chunks<N, T>, rows, plan.chunk_rows, dy, x, partial);
      d.for_each(name, static_cast<std::size_t>(weights),
                 detail::gpu::AddChunks<1, float, T>{partial, plan.chunks, weights, {dweight}});
    }
    if (dbias)
      detail::gpu::add_column_sums(d, name, rows * S.height * S.width, S.out_channels, dy, dbias);
  }

 private:
  template <ConvShape S>
  using Forward = detail::gpu::ConvNumbers<S.in_channels / S.groups, S.out_channels / S.groups, S.groups,
                                           S.kernel_height, S.kernel_width, S.height, S.width>;
  template <class N>
  using Halves = detail::gpu::HalfConv<N::A, N::B, N::groups, N::kernel_h, N::kernel_w, N::height, N::width>;

  template <class N, bool mirrored, bool accumulate, class T>
  static void run(D& d, const char* name, int rows, const T* x, const T* weight, const T* bias, T* y) {
    if constexpr (sizeof(T) < sizeof(float)) {
      detail::gpu::run_half_conv<Halves<N>, mirrored, accumulate>(d, name, rows, x, weight, bias, y);
    } else {
      using L = typename N::Tile;
      d.launch(name, dim3(static_cast<unsigned>(rows * L::line_tiles * L::column_tiles), N::groups, L::c_blocks),
               L::threads, sizeof(float) * L::shared_floats, &detail::gpu::conv_pixels<N, mirrored, accumulate, T>, x,
               weight, bias, y);
    }
  }
};

}  // namespace data2vec::inline v0
