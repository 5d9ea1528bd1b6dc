// SPDX-License-Identifier: MIT
// Grouped convolutions in bfloat16 on the tensor cores, channels last, without im2col: a block keeps the window of its
// pixels in shared memory, so that a tap of the kernel is an offset of the rows of a product.
#pragma once

#include <data2vec/device/conv.hpp>
#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/mma.cuh>
#include <data2vec/device/cuda/tiles.hpp>

namespace data2vec::inline v0::detail::gpu {

/// A convolution from A to B channels per group.
template <int A_, int B_, int groups_, int kernel_h_, int kernel_w_, int height_, int width_>
struct HalfConv {
  static constexpr int A = A_, B = B_, groups = groups_, kernel_h = kernel_h_, kernel_w = kernel_w_, height = height_,
                       width = width_;
  using Tile = MmaConvTile<A, B, kernel_h, kernel_w, height, width>;
  static constexpr bool packs = A % 8 == 0 && Tile::a_block * Tile::a_steps == A;  ///< 8 channels of x are all there
};

template <class N, bool mirrored>
struct PrepareWeights {
  const Half* weight;
  Half* prepared;
  __device__ void operator()(std::size_t i) const {
    const std::ptrdiff_t from = N::Tile::template prepared<mirrored>(i);
    prepared[i] = from < 0 ? Half{} : weight[from];
  }
};

/// 8 channels from channel `a` of a group, zeros behind the group's last.
template <int A, bool packs>
__device__ inline Pack<Half, 8> channels_from(const Half* pixel, int a) {
  if constexpr (packs) {
    return *reinterpret_cast<const Pack<Half, 8>*>(pixel + a);
  } else {
    Pack<Half, 8> pack{};
#pragma unroll
    for (int k = 0; k < 8; ++k)
      if (a + k < A) pack.element[k] = pixel[a + k];
    return pack;
  }
}

/// The windows of a tile's pixels, channels [a0, a0 + a_block) of group g, zeros outside of grid and rows.
template <class N>
__device__ void load_patch(const Half* x, int rows, int first_row, int g, int a0, int line, int column, int before_h,
                           int before_w, Half* patch) {
  using L = typename N::Tile;
  using Eight = Pack<Half, 8>;
  constexpr int packs = L::a_block / 8;
  for (int i = static_cast<int>(threadIdx.x); i < L::samples * L::patch * packs; i += static_cast<int>(blockDim.x)) {
    const int k = i % packs * 8, p = i / packs, row = first_row + p / L::patch;
    const int pixel = row < rows ? L::pixel(p % L::patch, line, column, before_h, before_w) : -1;
    *reinterpret_cast<Eight*>(patch + p * L::stride + k) =
        pixel < 0 ? Eight{}
                  : channels_from<N::A, N::packs>(x + (static_cast<std::size_t>(row) * N::height * N::width + pixel) *
                                                          (N::A * N::groups) +
                                                      g * N::A,
                                                  a0 + k);
  }
}

/// y (+)= window of x times weights (+ bias). Grid: (blocks that share the tiles, groups x blocks of channels).
template <class N, bool mirrored, bool accumulate>
__global__ void __launch_bounds__(N::Tile::threads)
    half_conv(int rows, int tiles, const Half* x, const Half* prepared, const Half* bias, Half* y) {
  using L = typename N::Tile;
  using Eight = Pack<Half, 8>;
  extern __shared__ float4 shared[];
  Half *const patch = reinterpret_cast<Half*>(shared), *const weights = patch + L::patch_elements;
  constexpr int before_h = mirrored ? N::kernel_h - 1 - N::kernel_h / 2 : N::kernel_h / 2;
  constexpr int before_w = mirrored ? N::kernel_w - 1 - N::kernel_w / 2 : N::kernel_w / 2;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int g = static_cast<int>(blockIdx.y) / L::b_blocks, z = static_cast<int>(blockIdx.y) % L::b_blocks;
  const Corner at = Corner::down(lane), bt = Corner::across(lane);
  const Half* from[2];
#pragma unroll
  for (int i = 0; i < 2; ++i)
    from[i] = patch + L::place(lesser(warp * 32 + i * 16 + at.row, L::pixels - 1)) * L::stride + at.column;

  for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x)) {
    const int part = tile % L::tiles, first_row = tile / L::tiles * L::samples;
    const int line = part / L::column_tiles * L::lines, column = part % L::column_tiles * L::columns;
    float sum[2][L::b_block / 8][4] = {};
    for (int step = 0; step < L::a_steps; ++step) {
      __syncthreads();
      load_patch<N>(x, rows, first_row, g, step * L::a_block, line, column, before_h, before_w, patch);
      for (int tap0 = 0; tap0 < L::taps; tap0 += L::tap_block) {
        const int taps = lesser(L::tap_block, L::taps - tap0);
        if (tap0 > 0) __syncthreads();
        if (!L::weights_stay || tile == static_cast<int>(blockIdx.x)) {
          const Half* const source =
              prepared + ((static_cast<std::size_t>(g * L::a_steps + step) * L::b_blocks + z) * L::taps + tap0) *
                             L::tap_elements;
          for (int i = thread; i < taps * L::tap_elements / 8; i += L::threads)
            reinterpret_cast<Eight*>(weights)[i] = reinterpret_cast<const Eight*>(source)[i];
        }
        __syncthreads();
#pragma unroll 1
        for (int tap = 0; tap < taps; ++tap) {
          const int offset = L::tap_offset(tap0 + tap) * L::stride;
          const Half* const w = weights + tap * L::tap_elements + bt.row * L::stride + bt.column;
#pragma unroll
          for (int k = 0; k < L::a_block; k += 16) {
            std::uint32_t a[2][4];
            load_matrices(from[0] + offset + k, a[0]);
            load_matrices(from[1] + offset + k, a[1]);
#pragma unroll
            for (int n = 0; n < L::b_block; n += 16) {
              std::uint32_t b[4];
              load_matrices(w + n * L::stride + k, b);
#pragma unroll
              for (int i = 0; i < 2; ++i) {
                multiply_add(sum[i][n / 8], a[i], b[0], b[1]);
                multiply_add(sum[i][n / 8 + 1], a[i], b[2], b[3]);
              }
            }
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // rows lane / 4 of each 8 of the warp's 32
      const int p = warp * 32 + i * 8 + lane / 4, q = p % L::area, row = first_row + p / L::area;
      const int h = line + q / L::columns, w = column + q % L::columns;
      if (p >= L::pixels || h >= N::height || w >= N::width || row >= rows) continue;
      Half* const to = y +
                       (static_cast<std::size_t>(row) * N::height * N::width + h * N::width + w) * (N::B * N::groups) +
                       g * N::B;
#pragma unroll
      for (int n = 0; n < L::b_block / 8; ++n) {
        const int c = z * L::b_block + n * 8 + lane % 4 * 2;
        float pair[2] = {sum[i / 2][n][i % 2 * 2], sum[i / 2][n][i % 2 * 2 + 1]};
        if constexpr (N::B % 2 == 0) {
          if (c >= N::B) continue;
          float before[2];
          if (bias) {
            load<2>(bias + g * N::B + c, before);
            pair[0] += before[0], pair[1] += before[1];
          }
          if constexpr (accumulate) {
            load<2>(to + c, before);
            pair[0] += before[0], pair[1] += before[1];
          }
          store<2>(to + c, pair);
        } else {
          for (int k = 0; k < 2 && c + k < N::B; ++k) {
            if (bias) pair[k] += to_float(bias[g * N::B + c + k]);
            if constexpr (accumulate) pair[k] += to_float(to[c + k]);
            put(to[c + k], pair[k]);
          }
        }
      }
    }
  }
}

/// partial (chunks, weights): the sum of dy^T x over a chunk of the tiles, a tap per warp. Grid: (groups x steps x
/// blocks of channels x tiles of taps, chunks).
template <class N>
__global__ void __launch_bounds__(32 * N::Tile::tap_warps)
    half_conv_weights(int rows, int tiles, int chunk_tiles, const Half* dy, const Half* x, float* partial) {
  using L = typename N::Tile;
  using Eight = Pack<Half, 8>;
  constexpr int packs = L::b_block / 8, ds = L::gradient_stride;
  extern __shared__ float4 shared[];
  Half *const patch = reinterpret_cast<Half*>(shared), *const gradients = patch + L::patch_elements;
  int* const places = reinterpret_cast<int*>(gradients + L::sum_pixels * ds);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int lane = thread % 32, warp = thread / 32;
  int block = static_cast<int>(blockIdx.x);
  const int tap = block % L::tap_tiles * L::tap_warps + warp;
  block /= L::tap_tiles;
  const int z = block % L::b_blocks, step = block / L::b_blocks % L::a_steps, g = block / L::b_blocks / L::a_steps;
  const int offset = L::tap_offset(lesser(tap, L::taps - 1)) * L::stride;
  const Corner at = Corner::across(lane), bt = Corner::down(lane);
  for (int i = thread; i < L::sum_pixels; i += threads) places[i] = L::place(lesser(i, L::pixels - 1)) * L::stride;

  float sum[L::b_block / 16][L::a_block / 8][4] = {};
  const int first = static_cast<int>(blockIdx.y) * chunk_tiles, end = lesser(tiles, first + chunk_tiles);
  for (int tile = first; tile < end; ++tile) {
    const int part = tile % L::tiles, first_row = tile / L::tiles * L::samples;
    const int line = part / L::column_tiles * L::lines, column = part % L::column_tiles * L::columns;
    __syncthreads();
    load_patch<N>(x, rows, first_row, g, step * L::a_block, line, column, N::kernel_h / 2, N::kernel_w / 2, patch);
    for (int i = thread; i < L::sum_pixels * packs; i += threads) {
      const int k = i % packs * 8, p = i / packs, q = p % L::area, row = first_row + p / L::area;
      const int h = line + q / L::columns, w = column + q % L::columns;
      const bool inside = p < L::pixels && h < N::height && w < N::width && row < rows;
      *reinterpret_cast<Eight*>(gradients + p * ds + k) =
          !inside ? Eight{}
                  : channels_from<N::B, N::B % 8 == 0 && L::b_block * L::b_blocks == N::B>(
                        dy + (static_cast<std::size_t>(row) * N::height * N::width + h * N::width + w) *
                                 (N::B * N::groups) +
                            g * N::B,
                        z * L::b_block + k);
    }
    __syncthreads();
#pragma unroll 1
    for (int p = 0; p < L::sum_pixels; p += 16) {
      std::uint32_t a[L::b_block / 16][4];
#pragma unroll
      for (int m = 0; m < L::b_block / 16; ++m)
        load_matrices<true>(gradients + (p + at.row) * ds + m * 16 + at.column, a[m]);
      const Half* const from = patch + places[p + bt.row] + offset + bt.column;
#pragma unroll
      for (int n = 0; n < L::a_block; n += 16) {
        std::uint32_t b[4];
        load_matrices<true>(from + n, b);
#pragma unroll
        for (int m = 0; m < L::b_block / 16; ++m) {
          multiply_add(sum[m][n / 8], a[m], b[0], b[1]);
          multiply_add(sum[m][n / 8 + 1], a[m], b[2], b[3]);
        }
      }
    }
  }
  if (tap >= L::taps) return;
  float* const to = partial + static_cast<std::size_t>(blockIdx.y) * (N::groups * N::B * N::A * L::taps);
#pragma unroll
  for (int m = 0; m < L::b_block / 16; ++m)
#pragma unroll
    for (int n = 0; n < L::a_block / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int b = z * L::b_block + m * 16 + lane / 4 + i / 2 * 8;
        const int a = step * L::a_block + n * 8 + lane % 4 * 2 + i % 2;
        if (b < N::B && a < N::A) to[weight_place<N::A, N::B, L::taps, false>(g, a, b, tap)] = sum[m][n][i];
      }
}

/// Forward, or the gradient of the input if `mirrored`.
template <class N, bool mirrored, bool accumulate, class D>
void run_half_conv(D& d, const char* name, int rows, const Half* x, const Half* weight, const Half* bias, Half* y) {
  using L = typename N::Tile;
  if (rows == 0) return;
  constexpr std::size_t size = L::prepared_size(N::groups);
  auto* const prepared = d.template scratch<Half>(name, size);
  d.for_each(name, size, PrepareWeights<N, mirrored>{weight, prepared});
  const int tiles = ceil_div(rows, L::samples) * L::tiles, columns = N::groups * L::b_blocks;
  const int blocks = lesser(tiles, greater(1, ceil_div(2 * d.multiprocessors(), columns)));
  d.launch(name, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(columns)), L::threads,
           sizeof(Half) * L::shared_elements, &half_conv<N, mirrored, accumulate>, rows, tiles, x,
           static_cast<const Half*>(prepared), bias, y);
}

template <class N, class D>
void run_half_conv_weights(D& d, const char* name, int rows, const Half* dy, const Half* x, Half* dweight) {
  using L = typename N::Tile;
  constexpr int weights = N::groups * N::B * N::A * L::taps;
  const int tiles = ceil_div(rows, L::samples) * L::tiles;
  const WeightChunks plan(tiles);
  auto* const partial = d.template scratch<float>(name, static_cast<std::size_t>(plan.chunks) * weights);
  d.launch(name,
           dim3(static_cast<unsigned>(N::groups * L::a_steps * L::b_blocks * L::tap_tiles),
                static_cast<unsigned>(plan.chunks)),
           static_cast<unsigned>(32 * L::tap_warps), L::gradient_bytes, &half_conv_weights<N>, rows, tiles,
           plan.chunk_rows, dy, x, partial);
  d.for_each(name, static_cast<std::size_t>(weights),
             AddChunks<1, float, Half>{partial, plan.chunks, weights, {dweight}});
}

}  // namespace data2vec::inline v0::detail::gpu
