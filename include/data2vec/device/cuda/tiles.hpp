// SPDX-License-Identifier: MIT
// How the device's kernels cut their work: tiles, windows and gathers as numbers, for both sides, so that tests on the
// host can walk over every index.
#pragma once

#include <cstddef>

#include <data2vec/core/macros.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/version.hpp>

namespace data2vec::inline v0::detail::gpu {

D2V_HD constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
D2V_HD constexpr int lesser(int a, int b) { return a < b ? a : b; }
D2V_HD constexpr int greater(int a, int b) { return a > b ? a : b; }

/// i / n and i % n; in 32 bits where they suffice, for the device has no 64-bit division.
struct Divided {
  std::size_t quotient;
  int rest;
};
D2V_HD constexpr Divided divide(std::size_t i, int n) {
  if (i >> 32 == 0) {
    const auto small = static_cast<unsigned>(i), by = static_cast<unsigned>(n);
    return {small / by, static_cast<int>(small % by)};
  }
  const auto by = static_cast<std::size_t>(n);
  return {i / by, static_cast<int>(i % by)};
}

/// Floats of shared memory that a block of every device has without being asked for more.
inline constexpr int plain_shared_floats = 48 * 1024 / 4;

/// Chunks of rows of a sum over rows, about `most`: a number of the rows alone, so sums have one order on every device.
struct ColumnPlan {
  int chunk_rows, chunks;
  D2V_HD constexpr explicit ColumnPlan(int rows, int most = 512)
      : chunk_rows(greater(32, ceil_div(ceil_div(rows, most), 8) * 8)), chunks(ceil_div(rows, chunk_rows)) {}
};

/// A convolution from A to B channels per group (device/conv.hpp): a block computes `lines` x `columns` pixels of
/// `c_block` channels of one group, and takes the input channels `a_block` at a time. A thread has `c_vec` channels of
/// the pixels tp, tp + pixel_lanes, ...
template <int A, int B, int kernel_h, int kernel_w, int height, int width>
struct ConvTile {
  static constexpr int taps = kernel_h * kernel_w;
  static constexpr int c_vec = B % 8 == 0 ? 8 : 4, c_block = lesser(ceil_div(B, c_vec) * c_vec, 64);
  static constexpr int c_blocks = ceil_div(B, c_block);
  static constexpr int channel_lanes = c_block / c_vec, pixel_lanes = 256 / channel_lanes;
  static constexpr int threads = channel_lanes * pixel_lanes;
  static constexpr int most_pixels = 5 * pixel_lanes;

  static constexpr int column_tiles = ceil_div(width, lesser(width, most_pixels));
  static constexpr int columns = ceil_div(width, column_tiles);
  static constexpr int line_tiles = ceil_div(height, greater(1, lesser(height, most_pixels / columns)));
  static constexpr int lines = ceil_div(height, line_tiles);
  static constexpr int pixels = lines * columns, pixels_per_thread = ceil_div(pixels, pixel_lanes);

  static constexpr int patch_width = columns + kernel_w - 1, patch_lines = lines + kernel_h - 1;
  static constexpr int patch = patch_lines * patch_width, patch_stride = patch | 1;  // odd: no two lanes in one bank
  static constexpr int a_block = lesser(A, plain_shared_floats / (patch_stride + taps * c_block));
  static constexpr int weights_first = (a_block * patch_stride + 3) / 4 * 4;  // rows of weights are read by four
  static_assert(a_block >= 1, "data2vec: a convolution window is too large for shared memory");
  static constexpr int shared_floats = weights_first + a_block * taps * c_block;

  /// Pixel `p` of a tile as its place in the patch for the window's first tap.
  D2V_HD static constexpr int place(int p) { return p / columns * patch_width + p % columns; }
  /// How much further a tap lies.
  D2V_HD static constexpr int tap_offset(int tap) { return tap / kernel_w * patch_width + tap % kernel_w; }
  /// Place `p` of the patch of the tile at (line, column) as a pixel of the grid, or -1 outside of it.
  D2V_HD static constexpr int pixel(int p, int line, int column, int before_h, int before_w) {
    const int h = line + p / patch_width - before_h, w = column + p % patch_width - before_w;
    return h < 0 || h >= height || w < 0 || w >= width ? -1 : h * width + w;
  }
};

/// Where a weight lies in (out_channels, in per group, taps): from input channel a to output channel b of group g, or,
/// mirrored, the one that leads from the output channel a back to the input channel b.
template <int A, int B, int taps, bool mirrored>
D2V_HD constexpr std::ptrdiff_t weight_place(int g, int a, int b, int tap) {
  if constexpr (mirrored)
    return ((std::ptrdiff_t{g} * A + a) * B + b) * taps + taps - 1 - tap;
  else
    return ((std::ptrdiff_t{g} * B + b) * A + a) * taps + tap;
}

/// The same convolution on the tensor cores: a block computes the pixels of one tile, or of several samples whose grids
/// fit into one, for `b_block` channels of one group, 32 pixels a warp. Weights are laid out for it beforehand by
/// `prepared`: (groups, steps of input channels, blocks of output channels, taps, b_block, stride).
template <int A, int B, int kernel_h, int kernel_w, int height, int width>
struct MmaConvTile {
  static constexpr int taps = kernel_h * kernel_w, most_pixels = 256;
  static constexpr int a_steps = ceil_div(A, 64), a_block = ceil_div(ceil_div(A, a_steps), 16) * 16;
  static constexpr int b_blocks = ceil_div(B, 64), b_block = ceil_div(ceil_div(B, b_blocks), 16) * 16;
  static constexpr int stride = a_block + 8;  // an odd number of 16 bytes: neighbouring rows lie in other banks

  static constexpr int column_tiles = ceil_div(width, most_pixels), columns = ceil_div(width, column_tiles);
  static constexpr int line_tiles = ceil_div(height, greater(1, lesser(height, most_pixels / columns)));
  static constexpr int lines = ceil_div(height, line_tiles), tiles = line_tiles * column_tiles;
  static constexpr int patch_width = columns + kernel_w - 1, patch_lines = lines + kernel_h - 1;
  static constexpr int area = lines * columns, patch = patch_lines * patch_width;
  static constexpr int most_elements = 112 * 1024 / 2;  // two blocks a multiprocessor
  static constexpr int samples =
      tiles == 1 ? greater(1, lesser(most_pixels / area, 3 * most_elements / 4 / (patch * stride))) : 1;
  static constexpr int pixels = samples * area, warps = ceil_div(pixels, 32), threads = 32 * warps;
  static constexpr int patch_elements = samples * patch * stride, tap_elements = b_block * stride;
  static constexpr int tap_block = greater(1, lesser(taps, (most_elements - patch_elements) / tap_elements));
  static constexpr bool weights_stay = tap_block == taps && a_steps == 1;
  /// Two patches: one is filled while the other is read.
  static constexpr int stages = weights_stay && 2 * patch_elements + taps * tap_elements <= most_elements ? 2 : 1;
  static constexpr int shared_elements = stages * patch_elements + tap_block * tap_elements;
  /// Whether results pass through the room of a patch, so that whole packs are written.
  static constexpr int out_stride = b_block + 8;
  static constexpr bool whole_packs =
      B % 8 == 0 && b_block * b_blocks == B && 32 * warps * out_stride <= patch_elements;

  /// Pixel `p` of a block as its place in the patches for the window's first tap.
  D2V_HD static constexpr int place(int p) {
    return p / area * patch + p % area / columns * patch_width + p % area % columns;
  }
  D2V_HD static constexpr int tap_offset(int tap) { return tap / kernel_w * patch_width + tap % kernel_w; }
  /// Place `p` of one patch of the tile at (line, column) as a pixel of the grid, or -1 outside of it.
  D2V_HD static constexpr int pixel(int p, int line, int column, int before_h, int before_w) {
    const int h = line + p / patch_width - before_h, w = column + p % patch_width - before_w;
    return h < 0 || h >= height || w < 0 || w >= width ? -1 : h * width + w;
  }

  /// Element `i` of the prepared weights: where it comes from, or -1: it is zero.
  static constexpr std::size_t prepared_size(int groups) {
    return static_cast<std::size_t>(groups) * a_steps * b_blocks * taps * tap_elements;
  }
  template <bool mirrored>
  D2V_HD static constexpr std::ptrdiff_t prepared(std::size_t i) {
    const auto [row, k] = divide(i, stride);
    const auto [window, n] = divide(row, b_block);
    const auto [block, tap] = divide(window, taps);
    const auto [step, z] = divide(block, b_blocks);
    const auto [g, s] = divide(step, a_steps);
    const int a = s * a_block + k, b = z * b_block + n;
    if (k >= a_block || a >= A || b >= B) return -1;
    return weight_place<A, B, taps, mirrored>(static_cast<int>(g), a, b, tap);
  }

  // The gradient of the weights: a block has some taps, one a warp, of one step and block of channels.
  static constexpr int tap_tiles = ceil_div(taps, 9), tap_warps = ceil_div(taps, tap_tiles);
  static constexpr int sum_pixels = ceil_div(pixels, 16) * 16, gradient_stride = b_block + 8;
  static constexpr int gradient_elements = patch_elements + sum_pixels * gradient_stride;
  static constexpr int gradient_stages = 2 * gradient_elements + 2 * sum_pixels <= most_elements ? 2 : 1;
  static constexpr int gradient_bytes = 2 * gradient_stages * gradient_elements + 4 * sum_pixels;
};

/// The gradient of a convolution's weights for one tap: 4 x 4 of A x B per thread; threads that are left over share the
/// pixels.
template <int A, int B>
struct WeightTile {
  static constexpr int a_block = lesser(ceil_div(A, 4) * 4, 64), b_block = lesser(ceil_div(B, 4) * 4, 64);
  static constexpr int a_tiles = ceil_div(A, a_block), b_tiles = ceil_div(B, b_block);
  static constexpr int a_lanes = a_block / 4, b_lanes = b_block / 4, lanes = a_lanes * b_lanes;
  static constexpr int split = greater(1, lesser(32, 256 / lanes)), threads = lanes * split;
  static constexpr int pixels = 32;  // at a time
  static constexpr int shared_floats = greater(pixels * (a_block + b_block), split > 1 ? threads * 16 : 0);
};

/// Rows of one chunk of a weight gradient, and their number.
struct WeightChunks {
  int chunk_rows, chunks;
  D2V_HD constexpr explicit WeightChunks(int rows)
      : chunk_rows(greater(1, ceil_div(rows, 32))), chunks(ceil_div(rows, chunk_rows)) {}
};

/// Attention of one row and head: a warp has 4 queries (or keys, in the backward of keys and values), whose scores
/// against the whole sequence lie in shared memory; keys, values and so on pass by in tiles of 32.
struct AttentionPlan {
  static constexpr int per_warp = 4, tile = 32;
  int warps = 0, blocks = 0;  ///< per block; per row and head
  std::size_t shared_bytes = 0;
  D2V_HD static constexpr int stride(int head_dim) { return head_dim | 1; }
  D2V_HD static constexpr int tile_floats(int head_dim) { return (tile * stride(head_dim) + 3) / 4 * 4; }

  /// `arrays` of scores per warp; no more shared memory than `limit` bytes. No warps: the sequence is too long.
  constexpr AttentionPlan(int sequence, int head_dim, int arrays, std::size_t limit) {
    const int groups = ceil_div(sequence, per_warp);
    const std::size_t fixed = 4 * static_cast<std::size_t>(tile_floats(head_dim));
    const std::size_t each = 16 * (static_cast<std::size_t>(head_dim) +
                                   static_cast<std::size_t>(arrays) * static_cast<std::size_t>(sequence));
    if (limit < fixed + each || groups == 0) return;
    // Two blocks or more on a multiprocessor where there is room for them.
    const std::size_t room = limit / 2 > fixed + 4 * each ? limit / 2 : limit;
    const int most = lesser(16, static_cast<int>((room - fixed) / each));
    blocks = ceil_div(groups, lesser(groups, most));
    warps = ceil_div(groups, blocks);
    shared_bytes = fixed + static_cast<std::size_t>(warps) * each;
  }
};

/// Element `i` of patches (rows, T, size): the image value that belongs there. Ordered (channel, pixel row, pixel
/// column) within a patch, or (pixel row, pixel column, channel) with `channels_last`.
template <int C, int height, int width, int patch_h, int patch_w, bool channels_last>
D2V_HD constexpr std::size_t patch_source(std::size_t i) {
  constexpr int size = C * patch_h * patch_w, across = width / patch_w, tokens = height / patch_h * across;
  const auto [patch, within] = divide(i, size);
  const auto [row, token] = divide(patch, tokens);
  const int c = channels_last ? within % C : within / (patch_h * patch_w);
  const int pixel = channels_last ? within / C : within % (patch_h * patch_w);
  const int y = token / across * patch_h + pixel / patch_w, x = token % across * patch_w + pixel % patch_w;
  return ((row * C + static_cast<std::size_t>(c)) * height + static_cast<std::size_t>(y)) * width +
         static_cast<std::size_t>(x);
}

/// Element `i` of an attention bias (rows, heads, S, S) by its place.
struct BiasPlace {
  int row, head, query, key;
  D2V_HD constexpr BiasPlace(std::size_t i, int heads, int sequence) : row(), head(), query(), key() {
    const Divided keys = divide(i, sequence), queries = divide(keys.quotient, sequence);
    const Divided pairs = divide(queries.quotient, heads);
    row = static_cast<int>(pairs.quotient);
    head = pairs.rest;
    query = queries.rest;
    key = keys.rest;
  }
};

}  // namespace data2vec::inline v0::detail::gpu
