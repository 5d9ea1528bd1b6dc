// SPDX-License-Identifier: MIT
// Softmax attention in bfloat16 on the tensor cores, forward and backward, for sequences of any length: tiles of 64
// queries and keys, 16 of a warp. No square of the sequence is in memory: kept is the logarithm of each query's sum of
// exponentials, in fp32. The backward runs once by queries (dq) and once by keys (dk, dv), each of which computes the
// scores anew, so nothing is atomic. Heads whose width is no multiple of 16 have columns of zeros behind it, in shared
// memory alone. Sequences of up to 64 by attention_short.cuh.
#pragma once

#include <data2vec/device/attention.hpp>
#include <data2vec/device/cuda/dropout.cuh>
#include <data2vec/device/cuda/mma.cuh>

namespace data2vec::inline v0::detail::gpu {

/// Over the four lanes that share a row.
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
  return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}
__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}

/// exp(x - most), 0 of -infinity.
__device__ inline float exponential(float x, float most) { return x == -INFINITY ? 0.0f : __expf(x - most); }

/// What the kernels are given.
struct HalfAttention {
  int S;
  float factor;
  const Half *qkv, *bias;  // (rows, S, 3, H, Dh); (rows, H, S, S) or null
  const bool* hidden;      // (rows, S) or null
  DeviceDraws draws;
  float* sums;  // (rows, H, S): log of the sum of exponentials; null where no backward follows
};

/// A block's tiles: `tile` rows of one head each, a warp per 16.
template <int H, int Dh, int tile_ = 64>
struct HalfTiles {
  static constexpr int width = (Dh + 15) / 16 * 16;  // of a head in shared memory and registers
  static constexpr int tile = tile_, threads = 2 * tile, stride = width + 8, elements = tile * stride;
  static constexpr std::ptrdiff_t step = 3 * H * Dh, out_step = H * Dh;
  template <int columns>
  using Scores = float[columns / 8][4];  // of the warp's 16 rows
  using Mixed = float[width / 8][4];

  int S, row, h, lane, warp, first;  // first: of the block's rows

  __device__ explicit HalfTiles(int sequence)
      : S(sequence),
        row(static_cast<int>(blockIdx.x) / H),
        h(static_cast<int>(blockIdx.x) % H),
        lane(static_cast<int>(threadIdx.x) % 32),
        warp(static_cast<int>(threadIdx.x) / 32),
        first(static_cast<int>(blockIdx.y) * tile) {}

  __device__ const Half* part(const Half* qkv, int which) const {
    return qkv + static_cast<std::ptrdiff_t>(row) * S * step + (which * H + h) * Dh;
  }
  __device__ Half* part(Half* qkv, int which) const {
    return qkv + static_cast<std::ptrdiff_t>(row) * S * step + (which * H + h) * Dh;
  }
  __device__ std::ptrdiff_t heads() const { return static_cast<std::ptrdiff_t>(row) * S * out_step + h * Dh; }
  __device__ std::size_t line() const { return (static_cast<std::size_t>(row) * H + h) * static_cast<std::size_t>(S); }

  /// The lane's first (0) or second (1) row within the block's.
  __device__ int row_of(int i) const { return warp * 16 + lane / 4 + i * 8; }

  /// Starts to copy `count` rows of x, from row `from` on, zeros behind the sequence.
  template <int count = tile>
  __device__ void load(const Half* x, std::ptrdiff_t x_step, int from, Half* to) const {
    if constexpr (Dh == width) {
#pragma unroll 4
      for (int i = static_cast<int>(threadIdx.x); i < count * (Dh / 8); i += threads) {
        const int r = i / (Dh / 8), c = i % (Dh / 8) * 8;
        copy_pack(to + r * stride + c, x + (from + r < S ? from + r : 0) * x_step + c, from + r < S);
      }
    } else {
      for (int i = static_cast<int>(threadIdx.x); i < count * width; i += threads) {
        const int r = i / width, c = i % width;
        to[r * stride + c] = c < Dh && from + r < S ? x[(from + r) * x_step + c] : from_float<Half>(0.0f);
      }
    }
  }
  /// Until the block has all that was asked for.
  __device__ static void loaded() {
    commit_copies();
    wait_copies();
    __syncthreads();
  }

  /// The warp's 16 rows of `rows` times 8 n rows of `columns`.
  template <int n8>
  __device__ void products(const Half* rows, const Half* columns, float (&s)[n8][4]) const {
    const Corner at = Corner::down(lane), bt = Corner::across(lane);
#pragma unroll
    for (auto& four : s)
      for (float& x : four) x = 0;
#pragma unroll
    for (int k = 0; k < width; k += 16) {
      std::uint32_t a[4];
      load_matrices(rows + (warp * 16 + at.row) * stride + k + at.column, a);
#pragma unroll
      for (int n = 0; n < 8 * n8; n += 16) {
        std::uint32_t b[4];
        load_matrices(columns + (n + bt.row) * stride + k + bt.column, b);
        multiply_add(s[n / 8], a, b[0], b[1]);
        multiply_add(s[n / 8 + 1], a, b[2], b[3]);
      }
    }
  }

  /// out += weights times 8 n rows.
  template <int n8>
  __device__ void mix(const float (&weights)[n8][4], const Half* rows, Mixed& out) const {
    const Corner bt = Corner::down(lane);
#pragma unroll
    for (int k = 0; k < 8 * n8; k += 16) {
      const auto& low = weights[k / 8];
      const auto& high = weights[k / 8 + 1];
      const std::uint32_t a[4] = {pack_halves(low[0], low[1]), pack_halves(low[2], low[3]),
                                  pack_halves(high[0], high[1]), pack_halves(high[2], high[3])};
#pragma unroll
      for (int n = 0; n < width; n += 16) {
        std::uint32_t b[4];
        load_matrices<true>(rows + (k + bt.row) * stride + n + bt.column, b);
        multiply_add(out[n / 8], a, b[0], b[1]);
        multiply_add(out[n / 8 + 1], a, b[2], b[3]);
      }
    }
  }

  /// f(score, its row of the warp's: 0 or 1, row, column within the tiles) for every score of this lane.
  template <int n8, class F>
  __device__ void each(float (&s)[n8][4], F f) const {
#pragma unroll
    for (int n = 0; n < n8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) f(s[n][i], i / 2, row_of(i / 2), n * 8 + lane % 4 * 2 + i % 2);
  }
  /// Logits of the queries from `query` on and the keys from `key` on, from their products; -infinity where there is no
  /// such key, or a hidden one. `transposed`: the rows of s are keys.
  template <bool transposed = false, int n8>
  __device__ void logits(const HalfAttention& in, float (&s)[n8][4], int query, int key) const {
    const auto pairs = [&](auto f) {  // f(score, query, key)
      each(s, [&](float& x, int, int r, int c) { transposed ? f(x, query + c, key + r) : f(x, query + r, key + c); });
    };
    pairs([&](float& x, int, int k) { x = k < S ? x * in.factor : -INFINITY; });
    if (in.bias)
      pairs([&](float& x, int q, int k) {
        if (q < S && k < S) x += to_float(in.bias[(line() + q) * S + k]);
      });
    if (in.hidden)
      pairs([&](float& x, int, int k) {
        if (k < S && in.hidden[static_cast<std::size_t>(row) * S + k]) x = -INFINITY;
      });
  }
  /// The logarithms of the sums of the lane's two rows; infinity, which makes probabilities 0, behind the sequence.
  __device__ void load_sums(const HalfAttention& in, float (&sums)[2]) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int r = first + row_of(i);
      sums[i] = r < S ? in.sums[line() + r] : INFINITY;
    }
  }
  /// total += sums of p dp along the lane's two rows.
  template <int n8>
  __device__ static void add_products(const float (&p)[n8][4], const float (&dp)[n8][4], float (&total)[2]) {
#pragma unroll
    for (int n = 0; n < n8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) total[i / 2] = fmaf(p[n][i], dp[n][i], total[i / 2]);
  }
  /// p becomes the gradient of the logits, which is the bias's too.
  template <int n8>
  __device__ void logit_gradients(float (&p)[n8][4], const float (&dp)[n8][4], const float (&total)[2], Half* dbias,
                                  int query, int key) const {
#pragma unroll
    for (int n = 0; n < n8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) p[n][i] *= dp[n][i] - total[i / 2];
    if (dbias)
      each(p, [&](float& x, int, int r, int c) {
        if (query + r < S && key + c < S) put(dbias[(line() + query + r) * S + key + c], x);
      });
  }
  __device__ float kept(const HalfAttention& in, const DrawKey& key, int query, int other) const {
    const auto e = (static_cast<std::uint32_t>(h) * static_cast<std::uint32_t>(S) + static_cast<std::uint32_t>(query)) *
                       static_cast<std::uint32_t>(S) +
                   static_cast<std::uint32_t>(other);
    return kept_word(draw(key, e / 4)[e % 4], in.draws.threshold) ? in.draws.scale : 0.0f;
  }
  /// The end of the forward: the mixed values of the warp's 16 rows, whose largest logits and sums are given.
  __device__ void finish(const HalfAttention& in, const Mixed& mixed, const float (&most)[2], float (&sum)[2],
                         Half* out) const {
    float scale[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum[i] = quad_sum(sum[i]);
      scale[i] = sum[i] > 0 ? 1 / sum[i] : 0.0f;
      const int r = first + row_of(i);
      if (in.sums && lane % 4 == 0 && r < S) in.sums[line() + r] = sum[i] > 0 ? most[i] + logf(sum[i]) : INFINITY;
    }
    store_rows(mixed, scale, out + heads(), out_step);
  }
  /// The warp's 16 rows to x, where they are inside the sequence.
  __device__ void store_rows(const Mixed& values, const float (&scale)[2], Half* x, std::ptrdiff_t x_step) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int r = first + row_of(i);
      if (r >= S) continue;
#pragma unroll
      for (int n = 0; n < width / 8; ++n) {
        const float pair[2] = {values[n][2 * i] * scale[i], values[n][2 * i + 1] * scale[i]};
        const int c = n * 8 + lane % 4 * 2;
        if constexpr (Dh == width) {
          store<2>(x + r * x_step + c, pair);
        } else {
          if (c < Dh) put(x[r * x_step + c], pair[0]);
          if (c + 1 < Dh) put(x[r * x_step + c + 1], pair[1]);
        }
      }
    }
  }
};

template <int H, int Dh, bool drops>
__global__ void __launch_bounds__(128) half_attention_forward(HalfAttention in, Half* out) {
  extern __shared__ float4 shared[];
  using Tiles = HalfTiles<H, Dh>;
  const Tiles b(in.S);
  Half *const queries = reinterpret_cast<Half*>(shared), *const keys = queries + Tiles::elements,
              *const values = keys + Tiles::elements;
  DrawKey key{};
  if constexpr (drops) key = in.draws.key(b.row);
  typename Tiles::Mixed mixed = {};
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  b.load(b.part(in.qkv, 0), b.step, b.first, queries);
  for (int j0 = 0; j0 < b.S; j0 += Tiles::tile) {
    if (j0 > 0) __syncthreads();
    b.load(b.part(in.qkv, 1), b.step, j0, keys);
    b.load(b.part(in.qkv, 2), b.step, j0, values);
    b.loaded();
    typename Tiles::template Scores<Tiles::tile> s;
    b.products(queries, keys, s);
    b.logits(in, s, b.first, j0);
    float now[2] = {most[0], most[1]};
    b.each(s, [&](float& x, int i, int, int) { now[i] = fmaxf(now[i], x); });
    float shrink[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      now[i] = quad_max(now[i]);
      shrink[i] = now[i] == -INFINITY ? 1.0f : __expf(most[i] - now[i]);
      most[i] = now[i];
      sum[i] *= shrink[i];
    }
#pragma unroll
    for (auto& four : mixed)
#pragma unroll
      for (int i = 0; i < 4; ++i) four[i] *= shrink[i / 2];
    b.each(s, [&](float& x, int i, int r, int c) {
      x = exponential(x, most[i]);
      sum[i] += x;
      if constexpr (drops) x *= b.kept(in, key, b.first + r, j0 + c);
    });
    b.mix(s, values, mixed);
  }
  b.finish(in, mixed, most, sum, out);
}

/// dq of the warp's 16 queries, 32 keys at a time; for `half_attention_backward_keys` each query's sum of probabilities
/// times what flows into them, to `delta`.
template <int H, int Dh, bool drops>
__global__ void __launch_bounds__(128)
    half_attention_backward_queries(HalfAttention in, const Half* dout, float* delta, Half* dqkv, Half* dbias) {
  extern __shared__ float4 shared[];
  using Tiles = HalfTiles<H, Dh>;
  const Tiles b(in.S);
  Half *const queries = reinterpret_cast<Half*>(shared), *const gradients = queries + Tiles::elements,
              *const keys = gradients + Tiles::elements, *const values = keys + Tiles::elements / 2;
  DrawKey key{};
  if constexpr (drops) key = in.draws.key(b.row);
  b.load(b.part(in.qkv, 0), b.step, b.first, queries);
  b.load(dout + b.heads(), b.out_step, b.first, gradients);
  float sums[2], total[2] = {0, 0};
  b.load_sums(in, sums);
  constexpr int step = Tiles::tile / 2;
  typename Tiles::template Scores<step> p, dp;
  // Probabilities and what flows into them, for the keys from j0 on.
  const auto probabilities = [&](int j0) {
    __syncthreads();
    b.template load<step>(b.part(in.qkv, 1), b.step, j0, keys);
    b.template load<step>(b.part(in.qkv, 2), b.step, j0, values);
    b.loaded();
    b.products(queries, keys, p);
    b.products(gradients, values, dp);
    b.logits(in, p, b.first, j0);
    b.each(p, [&](float& x, int i, int, int) { x = exponential(x, sums[i]); });
    if constexpr (drops)
      b.each(dp, [&](float& x, int, int r, int c) { x *= b.kept(in, key, b.first + r, j0 + c); });
  };
  for (int j0 = 0; j0 < b.S; j0 += step) {
    probabilities(j0);
    b.add_products(p, dp, total);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    total[i] = quad_sum(total[i]);
    const int r = b.first + b.row_of(i);
    if (b.lane % 4 == 0 && r < b.S) delta[b.line() + r] = total[i];
  }
  typename Tiles::Mixed dq = {};
  for (int j0 = 0; j0 < b.S; j0 += step) {
    probabilities(j0);
    b.logit_gradients(p, dp, total, dbias, b.first, j0);
    b.mix(p, keys, dq);
  }
  const float scale[2] = {in.factor, in.factor};
  b.store_rows(dq, scale, b.part(dqkv, 0), b.step);
}

/// dk and dv of the warp's 16 keys; 32 queries at a time, for the registers hold two sums besides.
template <int H, int Dh, bool drops>
__global__ void __launch_bounds__(128)
    half_attention_backward_keys(HalfAttention in, const Half* dout, const float* delta, Half* dqkv) {
  extern __shared__ float4 shared[];
  using Tiles = HalfTiles<H, Dh>;
  const Tiles b(in.S);
  Half *const keys = reinterpret_cast<Half*>(shared), *const values = keys + Tiles::elements,
              *const queries = values + Tiles::elements, *const gradients = queries + Tiles::elements / 2;
  constexpr int step = Tiles::tile / 2;
  float *const sums = reinterpret_cast<float*>(gradients + Tiles::elements / 2), *const totals = sums + step;
  DrawKey key{};
  if constexpr (drops) key = in.draws.key(b.row);
  b.load(b.part(in.qkv, 1), b.step, b.first, keys);
  b.load(b.part(in.qkv, 2), b.step, b.first, values);
  typename Tiles::Mixed dk = {}, dv = {};
  for (int i0 = 0; i0 < b.S; i0 += step) {
    __syncthreads();
    b.template load<step>(b.part(in.qkv, 0), b.step, i0, queries);
    b.template load<step>(dout + b.heads(), b.out_step, i0, gradients);
    const int i = static_cast<int>(threadIdx.x);
    if (i < step) {
      sums[i] = i0 + i < b.S ? in.sums[b.line() + i0 + i] : INFINITY;
      totals[i] = i0 + i < b.S ? delta[b.line() + i0 + i] : 0.0f;
    }
    b.loaded();
    typename Tiles::template Scores<step> p, dp;  // (keys, queries)
    b.products(keys, queries, p);
    b.products(values, gradients, dp);
    b.template logits<true>(in, p, i0, b.first);
#pragma unroll
    for (int n = 0; n < step / 8; ++n)
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int r = b.row_of(k / 2), c = n * 8 + b.lane % 4 * 2 + k % 2;
        const float probability = exponential(p[n][k], sums[c]);
        const float kept = drops ? b.kept(in, key, i0 + c, b.first + r) : 1.0f;
        p[n][k] = probability * kept;
        dp[n][k] = probability * (dp[n][k] * kept - totals[c]);
      }
    b.mix(p, gradients, dv);
    b.mix(dp, queries, dk);
  }
  const float one[2] = {1, 1}, scale[2] = {in.factor, in.factor};
  b.store_rows(dv, one, b.part(dqkv, 2), b.step);
  b.store_rows(dk, scale, b.part(dqkv, 1), b.step);
}

}  // namespace data2vec::inline v0::detail::gpu
