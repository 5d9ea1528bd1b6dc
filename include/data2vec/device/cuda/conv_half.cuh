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

/// 8 channels from channel `a` of a group of A to shared memory, zeros behind the group's last, and everywhere if not
/// `inside`.
template <int A, bool packs>
__device__ inline void copy_channels(Half* to, const Half* pixel, int a, bool inside) {
  if constexpr (packs) {
    copy_pack(to, pixel + a, inside);
  } else {
    Pack<Half, 8> pack{};
#pragma unroll
    for (int k = 0; k < 8; ++k)
      if (inside && a + k < A) pack.element[k] = pixel[a + k];
    *reinterpret_cast<Pack<Half, 8>*>(to) = pack;
  }
}

/// A tile of a block: its part of the grid, of samples from `row` on.
template <class N>
struct ConvPlace {
  using L = typename N::Tile;
  int row, line, column;
  __device__ explicit ConvPlace(int tile)
      : row(tile / L::tiles * L::samples),
        line(tile % L::tiles / L::column_tiles * L::lines),
        column(tile % L::tiles % L::column_tiles * L::columns) {}
  /// Pixel `p` of the tile in an array of all pixels, or -1 outside of it.
  __device__ std::ptrdiff_t pixel(int p, int rows) const {
    const int q = p % L::area, r = row + p / L::area, h = line + q / L::columns, w = column + q % L::columns;
    if (p >= L::pixels || h >= N::height || w >= N::width || r >= rows) return -1;
    return static_cast<std::ptrdiff_t>(r) * (N::height * N::width) + h * N::width + w;
  }
};

/// The windows of a tile's pixels, channels [a0, a0 + a_block) of group g, zeros outside of grid and rows.
template <class N>
__device__ void load_patch(const Half* x, int rows, const ConvPlace<N>& tile, int g, int a0, int before_h, int before_w,
                           Half* patch) {
  using L = typename N::Tile;
  constexpr int packs = L::a_block / 8;
#pragma unroll 1  // nothing waits for a copy, and registers are scarce
  for (int i = static_cast<int>(threadIdx.x); i < L::samples * L::patch * packs; i += static_cast<int>(blockDim.x)) {
    const int k = i % packs * 8, p = i / packs, row = tile.row + p / L::patch;
    const int pixel = row < rows ? L::pixel(p % L::patch, tile.line, tile.column, before_h, before_w) : -1;
    const std::size_t at = pixel < 0 ? 0 : static_cast<std::size_t>(row) * (N::height * N::width) + pixel;
    copy_channels<N::A, N::packs>(patch + p * L::stride + k, x + at * (N::A * N::groups) + g * N::A, a0 + k,
                                  pixel >= 0);
  }
}

/// y (+)= window of x times weights (+ bias). Grid: (blocks that share the tiles, groups x blocks of channels).
template <class N, bool mirrored, bool accumulate>
__global__ void __launch_bounds__(N::Tile::threads, 2)
    half_conv(int rows, int tiles, const Half* x, const Half* prepared, const Half* bias, Half* y) {
  using L = typename N::Tile;
  using Eight = Pack<Half, 8>;
  extern __shared__ float4 shared[];
  Half *const patches = reinterpret_cast<Half*>(shared), *const weights = patches + L::stages * L::patch_elements;
  constexpr int before_h = mirrored ? N::kernel_h - 1 - N::kernel_h / 2 : N::kernel_h / 2;
  constexpr int before_w = mirrored ? N::kernel_w - 1 - N::kernel_w / 2 : N::kernel_w / 2;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int g = static_cast<int>(blockIdx.y) / L::b_blocks, z = static_cast<int>(blockIdx.y) % L::b_blocks;
  const int first = static_cast<int>(blockIdx.x), blocks = static_cast<int>(gridDim.x);
  const int units = first < tiles ? ceil_div(tiles - first, blocks) * L::a_steps : 0;  // tiles' steps, one by one
  const Corner at = Corner::down(lane), bt = Corner::across(lane);
  int from[2];
#pragma unroll
  for (int i = 0; i < 2; ++i)
    from[i] = L::place(lesser(warp * 32 + i * 16 + at.row, L::pixels - 1)) * L::stride + at.column;
  const auto fetch = [&](int unit) {
    if (unit < units)
      load_patch<N>(x, rows, ConvPlace<N>(first + unit / L::a_steps * blocks), g, unit % L::a_steps * L::a_block,
                    before_h, before_w, patches + unit % L::stages * L::patch_elements);
    commit_copies();
  };
  const auto fetch_weights = [&](int step, int tap0, int taps) {
    const Half* const source =
        prepared +
        ((static_cast<std::size_t>(g * L::a_steps + step) * L::b_blocks + z) * L::taps + tap0) * L::tap_elements;
    for (int i = thread; i < taps * L::tap_elements / 8; i += L::threads)
      copy_pack(weights + 8 * i, source + 8 * i, true);
  };

  float sum[2][L::b_block / 8][4] = {};
  if constexpr (L::weights_stay) fetch_weights(0, 0, L::taps);
  if constexpr (L::stages == 2) fetch(0);
  for (int unit = 0; unit < units; ++unit) {
    Half* const patch = patches + unit % L::stages * L::patch_elements;
    fetch(unit + L::stages - 1);
    for (int tap0 = 0; tap0 < L::taps; tap0 += L::tap_block) {
      const int taps = lesser(L::tap_block, L::taps - tap0);
      if constexpr (!L::weights_stay) {
        if (tap0 > 0) __syncthreads();
        fetch_weights(unit % L::a_steps, tap0, taps);
        commit_copies();
      }
      wait_copies<L::stages - 1>();
      __syncthreads();
#pragma unroll 3
      for (int tap = 0; tap < taps; ++tap) {
        const Half* const window = patch + L::tap_offset(tap0 + tap) * L::stride;
        const Half* const w = weights + tap * L::tap_elements + bt.row * L::stride + bt.column;
#pragma unroll
        for (int k = 0; k < L::a_block; k += 16) {
          std::uint32_t a[2][4];
          load_matrices(window + from[0] + k, a[0]);
          load_matrices(window + from[1] + k, a[1]);
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
    __syncthreads();  // the patch has been read
    if (unit % L::a_steps < L::a_steps - 1) continue;
    const ConvPlace<N> tile(first + unit / L::a_steps * blocks);
    const auto results = [&](auto put_pair) {  // (row of the warp's 32, channel, pair)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int n = 0; n < L::b_block / 8; ++n) {
          const int c = z * L::b_block + n * 8 + lane % 4 * 2;
          float pair[2] = {sum[i / 2][n][i % 2 * 2], sum[i / 2][n][i % 2 * 2 + 1]};
          for (int k = 0; k < 2; ++k)
            if (bias && c + k < N::B) pair[k] += to_float(bias[g * N::B + c + k]);
          put_pair(i * 8 + lane / 4, n * 8 + lane % 4 * 2, pair);
        }
    };
    if constexpr (L::whole_packs) {
      constexpr int packs = L::b_block / 8;
      Half* const mine = patch + warp * 32 * L::out_stride;
      results([&](int p, int c, const float(&pair)[2]) { store<2>(mine + p * L::out_stride + c, pair); });
      __syncwarp();
      for (int i = lane; i < 32 * packs; i += 32) {
        const std::ptrdiff_t pixel = tile.pixel(warp * 32 + i / packs, rows);
        if (pixel < 0) continue;
        Half* const to = y + pixel * (N::B * N::groups) + g * N::B + z * L::b_block + i % packs * 8;
        const Half* const value = mine + i / packs * L::out_stride + i % packs * 8;
        if constexpr (accumulate) {
          float sums[8], before[8];
          load<8>(value, sums);
          load<8>(to, before);
#pragma unroll
          for (int k = 0; k < 8; ++k) sums[k] += before[k];
          store<8>(to, sums);
        } else {
          *reinterpret_cast<Eight*>(to) = *reinterpret_cast<const Eight*>(value);
        }
      }
    } else {
      results([&](int p, int c, const float(&pair)[2]) {
        const std::ptrdiff_t pixel = tile.pixel(warp * 32 + p, rows);
        if (pixel < 0) return;
        for (int k = 0; k < 2 && z * L::b_block + c + k < N::B; ++k) {
          Half& to = y[pixel * (N::B * N::groups) + g * N::B + z * L::b_block + c + k];
          put(to, accumulate ? pair[k] + to_float(to) : pair[k]);
        }
      });
    }
#pragma unroll
    for (auto& tile_sums : sum)
#pragma unroll
      for (auto& four : tile_sums)
        for (float& s : four) s = 0;
    __syncthreads();  // its room is free
  }
}

/// partial (chunks, weights): the sum of dy^T x over a chunk of the tiles, a tap per warp. Grid: (groups x steps x
/// blocks of channels x tiles of taps, chunks).
template <class N>
__global__ void __launch_bounds__(32 * N::Tile::tap_warps)
    half_conv_weights(int rows, int tiles, int chunk_tiles, const Half* dy, const Half* x, float* partial) {
  using L = typename N::Tile;
  constexpr int packs = L::b_block / 8, ds = L::gradient_stride, threads = 32 * L::tap_warps;
  extern __shared__ float4 shared[];
  Half* const buffers = reinterpret_cast<Half*>(shared);
  int* const places = reinterpret_cast<int*>(buffers + L::gradient_stages * L::gradient_elements);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  int block = static_cast<int>(blockIdx.x);
  const int tap = block % L::tap_tiles * L::tap_warps + thread / 32;
  block /= L::tap_tiles;
  const int z = block % L::b_blocks, step = block / L::b_blocks % L::a_steps, g = block / L::b_blocks / L::a_steps;
  const Corner at = Corner::across(lane), bt = Corner::down(lane);
  // Of this lane: in the windows for its tap, in the gradients.
  const int window = L::tap_offset(lesser(tap, L::taps - 1)) * L::stride + bt.column;
  const int corner = L::patch_elements + at.row * ds + at.column;
  for (int i = thread; i < L::sum_pixels; i += threads) places[i] = L::place(lesser(i, L::pixels - 1)) * L::stride;
  const int first = static_cast<int>(blockIdx.y) * chunk_tiles, end = lesser(tiles, first + chunk_tiles);
  const auto fetch = [&](int index) {
    if (index < end) {
      const ConvPlace<N> tile(index);
      Half *const patch = buffers + (index - first) % L::gradient_stages * L::gradient_elements,
                  *const gradients = patch + L::patch_elements;
      load_patch<N>(x, rows, tile, g, step * L::a_block, N::kernel_h / 2, N::kernel_w / 2, patch);
#pragma unroll 1
      for (int i = thread; i < L::sum_pixels * packs; i += threads) {
        const int k = i % packs * 8, p = i / packs;
        const std::ptrdiff_t pixel = tile.pixel(p, rows);
        copy_channels<N::B, N::B % 8 == 0 && L::b_block * L::b_blocks == N::B>(
            gradients + p * ds + k, dy + (pixel < 0 ? 0 : pixel) * (N::B * N::groups) + g * N::B, z * L::b_block + k,
            pixel >= 0);
      }
    }
    commit_copies();
  };

  float sum[L::b_block / 16][L::a_block / 8][4] = {};
  if constexpr (L::gradient_stages == 2) fetch(first);
  for (int tile = first; tile < end; ++tile) {
    const Half* const patch = buffers + (tile - first) % L::gradient_stages * L::gradient_elements;
    fetch(tile + L::gradient_stages - 1);
    wait_copies<L::gradient_stages - 1>();
    __syncthreads();
#pragma unroll 1
    for (int p = 0; p < L::sum_pixels; p += 16) {
      std::uint32_t a[L::b_block / 16][4];
#pragma unroll
      for (int m = 0; m < L::b_block / 16; ++m)
        load_matrices<true>(patch + corner + p * ds + m * 16, a[m]);
      const Half* const from = patch + window + places[p + bt.row];
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
    __syncthreads();  // the buffer is free
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
  // Two blocks a multiprocessor, and none that would wait for a place.
  const int blocks = lesser(tiles, greater(1, 2 * d.multiprocessors() / columns));
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
