// SPDX-License-Identifier: MIT
// Attention in bfloat16 of sequences of up to 64, as a student sees them: a block holds a head's whole sequence, so the
// backward computes every score once.
#pragma once

#include <data2vec/device/cuda/attention_half.cuh>

namespace data2vec::inline v0::detail::gpu {

template <int H, int Dh, int tile, bool drops>
__global__ void __launch_bounds__(2 * tile) short_attention_forward(HalfAttention in, Half* out) {
  extern __shared__ float4 shared[];
  using Tiles = HalfTiles<H, Dh, tile>;
  const Tiles b(in.S);
  Half *const queries = reinterpret_cast<Half*>(shared), *const keys = queries + Tiles::elements,
              *const values = keys + Tiles::elements;
  b.load(b.part(in.qkv, 0), b.step, 0, queries);
  b.load(b.part(in.qkv, 1), b.step, 0, keys);
  b.load(b.part(in.qkv, 2), b.step, 0, values);
  b.loaded();
  typename Tiles::template Scores<tile> s;
  b.products(queries, keys, s);
  b.logits(in, s, 0, 0);
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  b.each(s, [&](float& x, int i, int, int) { most[i] = fmaxf(most[i], x); });
#pragma unroll
  for (float& m : most) m = quad_max(m);
  DrawKey key{};
  if constexpr (drops) key = in.draws.key(b.row);
  b.each(s, [&](float& x, int i, int r, int c) {
    x = exponential(x, most[i]);
    sum[i] += x;
    if constexpr (drops) x *= b.kept(in, key, r, c);
  });
  typename Tiles::Mixed mixed = {};
  b.mix(s, values, mixed);
  b.finish(in, mixed, most, sum, out);
}

/// The scores as bfloat16 in shared memory, for products along the queries: (tile, tile + 8).
template <class Tiles>
struct ScoreTile {
  static constexpr int stride = Tiles::tile + 8, elements = Tiles::tile * stride;

  /// Where the pair s[n][2 i], s[n][2 i + 1] of this lane lies.
  __device__ static int place(const Tiles& b, int n, int i) {
    return b.row_of(i) * stride + n * 8 + b.lane % 4 * 2;
  }
  /// out = scores^T times rows, for the warp's 16 keys.
  __device__ static void mix(const Tiles& b, const Half* scores, const Half* rows, typename Tiles::Mixed& out) {
    const Corner at = Corner::across(b.lane), bt = Corner::down(b.lane);
#pragma unroll
    for (int k = 0; k < Tiles::tile; k += 16) {
      std::uint32_t a[4];
      load_matrices<true>(scores + (k + at.row) * stride + b.warp * 16 + at.column, a);
#pragma unroll
      for (int n = 0; n < Tiles::stride - 8; n += 16) {
        std::uint32_t other[4];
        load_matrices<true>(rows + (k + bt.row) * Tiles::stride + n + bt.column, other);
        multiply_add(out[n / 8], a, other[0], other[1]);
        multiply_add(out[n / 8 + 1], a, other[2], other[3]);
      }
    }
  }
};

template <int H, int Dh, int tile, bool drops>
__global__ void __launch_bounds__(2 * tile)
    short_attention_backward(HalfAttention in, const Half* dout, Half* dqkv, Half* dbias) {
  extern __shared__ float4 shared[];
  using Tiles = HalfTiles<H, Dh, tile>;
  using Square = ScoreTile<Tiles>;
  const Tiles b(in.S);
  Half *const queries = reinterpret_cast<Half*>(shared), *const gradients = queries + Tiles::elements,
              *const keys = gradients + Tiles::elements, *const values = keys + Tiles::elements,
              *const weights = values + Tiles::elements, *const slopes = weights + Square::elements;
  b.load(b.part(in.qkv, 0), b.step, 0, queries);
  b.load(dout + b.heads(), b.out_step, 0, gradients);
  b.load(b.part(in.qkv, 1), b.step, 0, keys);
  b.load(b.part(in.qkv, 2), b.step, 0, values);
  float sums[2], total[2] = {0, 0};
  b.load_sums(in, sums);
  b.loaded();
  typename Tiles::template Scores<tile> p, dp;
  b.products(queries, keys, p);
  b.products(gradients, values, dp);
  b.logits(in, p, 0, 0);
  b.each(p, [&](float& x, int i, int, int) { x = exponential(x, sums[i]); });
  DrawKey key{};
  if constexpr (drops) key = in.draws.key(b.row);
#pragma unroll
  for (int n = 0; n < tile / 8; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float used[2];
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const float kept = drops ? b.kept(in, key, b.row_of(i), n * 8 + b.lane % 4 * 2 + k) : 1.0f;
        used[k] = p[n][2 * i + k] * kept;
        dp[n][2 * i + k] *= kept;
      }
      store<2>(weights + Square::place(b, n, i), used);
    }
  b.add_products(p, dp, total);
#pragma unroll
  for (float& t : total) t = quad_sum(t);
  b.logit_gradients(p, dp, total, dbias, 0, 0);
#pragma unroll
  for (int n = 0; n < tile / 8; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float pair[2] = {p[n][2 * i], p[n][2 * i + 1]};
      store<2>(slopes + Square::place(b, n, i), pair);
    }
  __syncthreads();
  const float one[2] = {1, 1}, scale[2] = {in.factor, in.factor};
  {
    typename Tiles::Mixed dq = {};
    b.mix(p, keys, dq);
    b.store_rows(dq, scale, b.part(dqkv, 0), b.step);
  }
  {
    typename Tiles::Mixed dk = {};
    Square::mix(b, slopes, queries, dk);
    b.store_rows(dk, scale, b.part(dqkv, 1), b.step);
  }
  typename Tiles::Mixed dv = {};
  Square::mix(b, weights, gradients, dv);
  b.store_rows(dv, one, b.part(dqkv, 2), b.step);
}

/// The launches. `kept` is the memory that attention leaves for its backward.
template <int H, int Dh, bool drops, class D>
struct HalfAttentionKernels {
  static HalfAttention input(D& d, int sequence, const Half* qkv, const AttentionExtras<Half>& extras,
                             const Half* kept) {
    return {sequence,
            static_cast<float>(1 / std::sqrt(static_cast<double>(Dh))),
            qkv,
            extras.bias,
            extras.key_hidden,
            DeviceDraws(d, extras.dropout),
            reinterpret_cast<float*>(const_cast<Half*>(kept))};
  }

  static void forward(D& d, int rows, const HalfAttention& in, Half* out) {
    constexpr const char* name = "attention";
    const auto whole = [&]<int tile>(std::integral_constant<int, tile>) {
      d.launch(name, static_cast<unsigned>(rows * H), 2 * tile, 3 * bytes<tile>,
               &short_attention_forward<H, Dh, tile, drops>, in, out);
    };
    if (!by_tile(in.S, whole))
      d.launch(name, grid(rows, in.S), 128, 3 * bytes<64>, &half_attention_forward<H, Dh, drops>, in, out);
  }

  static void backward(D& d, int rows, const HalfAttention& in, const Half* dout, Half* dqkv, Half* dbias) {
    constexpr const char* name = "attention_backward";
    const auto whole = [&]<int tile>(std::integral_constant<int, tile>) {
      constexpr std::size_t squares = 2 * sizeof(Half) * ScoreTile<HalfTiles<H, Dh, tile>>::elements;
      d.launch(name, static_cast<unsigned>(rows * H), 2 * tile, 4 * bytes<tile> + squares,
               &short_attention_backward<H, Dh, tile, drops>, in, dout, dqkv, dbias);
    };
    if (by_tile(in.S, whole)) return;
    auto* const delta = d.template scratch<float>(name, static_cast<std::size_t>(rows) * H * in.S);
    d.launch(name, grid(rows, in.S), 128, 3 * bytes<64>, &half_attention_backward_queries<H, Dh, drops>, in, dout,
             delta, dqkv, dbias);
    d.launch(name, grid(rows, in.S), 128, 3 * bytes<64> + sizeof(float) * 64,
             &half_attention_backward_keys<H, Dh, drops>, in, dout, static_cast<const float*>(delta), dqkv);
  }

 private:
  template <int tile>
  static constexpr std::size_t bytes = sizeof(Half) * HalfTiles<H, Dh, tile>::elements;
  static dim3 grid(int rows, int sequence) {
    return dim3(static_cast<unsigned>(rows * H), static_cast<unsigned>(ceil_div(sequence, 64)));
  }
  /// Calls f with the smallest tile that holds the sequence; false: none does.
  template <class F>
  static bool by_tile(int sequence, F f) {
    if (sequence <= 16)
      f(std::integral_constant<int, 16>());
    else if (sequence <= 32)
      f(std::integral_constant<int, 32>());
    else if (sequence <= 48)
      f(std::integral_constant<int, 48>());
    else if (sequence <= 64)
      f(std::integral_constant<int, 64>());
    else
      return false;
    return true;
  }
};

}  // namespace data2vec::inline v0::detail::gpu
