// SPDX-License-Identifier: MIT
// Softmax attention on the GPU, forward and backward. A warp has 4 queries, whose scores against the whole sequence
// stay in shared memory; keys and values pass by in tiles that all warps of a block share. The backward runs once by
// queries (dq) and once by keys (dk, dv), which computes the scores anew and needs no atomics.
// In bfloat16 by attention_half.cuh and attention_short.cuh.
#pragma once

#include <string>

#include <data2vec/device/attention.hpp>
#include <data2vec/device/cuda/attention_short.cuh>
#include <data2vec/device/cuda/dropout.cuh>
#include <data2vec/device/cuda/tiles.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// What a block of the attention kernels knows: its row and head, its warp's 4 queries from `first` on, shared memory.
template <int H, int Dh>
struct AttentionBlock {
  static constexpr int tile = AttentionPlan::tile, stride = AttentionPlan::stride(Dh), per_lane = (Dh + 31) / 32;
  static constexpr std::ptrdiff_t step = 3 * H * Dh, out_step = H * Dh;
  int S, row, h, lane, first;
  float* tiles;
  float4 *vectors, *scores;  // (Dh), (arrays, S): element q belongs to query first + q

  __device__ AttentionBlock(int sequence, int arrays, float* memory)
      : S(sequence),
        row(static_cast<int>(blockIdx.x) / H),
        h(static_cast<int>(blockIdx.x) % H),
        lane(static_cast<int>(threadIdx.x) % 32) {
    const int warp = static_cast<int>(threadIdx.x) / 32, warps = static_cast<int>(blockDim.x) / 32;
    first = (static_cast<int>(blockIdx.y) * warps + warp) * AttentionPlan::per_warp;
    tiles = memory;
    vectors = reinterpret_cast<float4*>(memory + AttentionPlan::tile_floats(Dh)) + warp * (Dh + arrays * S);
    scores = vectors + Dh;
  }

  /// Queries, keys or values (which = 0, 1, 2) of this row and head; and a place in (rows, S, H, Dh).
  template <class T>
  __device__ T* part(T* qkv, int which) const {
    return qkv + static_cast<std::ptrdiff_t>(row) * S * step + (which * H + h) * Dh;
  }
  template <class T>
  __device__ T* heads(T* out) const {
    return out + static_cast<std::ptrdiff_t>(row) * S * out_step + h * Dh;
  }
  __device__ std::size_t line(int query) const {  // of (rows, H, S)
    return (static_cast<std::size_t>(row) * H + h) * S + query;
  }
  __device__ std::size_t square(int query) const { return line(query) * S; }  // of (rows, H, S, S)

  /// The warp's 4 rows of x, times `factor`, into `vectors`.
  template <class T>
  __device__ void take(const T* x, std::ptrdiff_t x_step, float factor) const {
    for (int d = lane; d < Dh; d += 32) {
      const auto at = [&](int q) { return first + q < S ? factor * to_float(x[(first + q) * x_step + d]) : 0.0f; };
      vectors[d] = {at(0), at(1), at(2), at(3)};
    }
    __syncwarp();
  }

  /// All rows of x by tiles: body(row of the tile's first, tile) between two barriers of the block.
  template <class T, class F>
  __device__ void pass(const T* x, std::ptrdiff_t x_step, F body) const {
    for (int j0 = 0; j0 < S; j0 += tile) {
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < tile * Dh; i += static_cast<int>(blockDim.x)) {
        const int j = i / Dh, d = i % Dh;
        tiles[j * stride + d] = j0 + j < S ? to_float(x[(j0 + j) * x_step + d]) : 0.0f;
      }
      __syncthreads();
      if (first < S) body(j0);
    }
  }

  /// f(j, products of the warp's 4 vectors with row j of x), j in this lane.
  template <class T, class F>
  __device__ void products(const T* x, std::ptrdiff_t x_step, F f) const {
    pass(x, x_step, [&](int j0) {
      if (j0 + lane >= S) return;
      const float* k = tiles + lane * stride;
      float4 sum = {0, 0, 0, 0};
#pragma unroll 8
      for (int d = 0; d < Dh; ++d) {
        const float4 q = vectors[d];
        const float value = k[d];
        sum.x = fmaf(q.x, value, sum.x);
        sum.y = fmaf(q.y, value, sum.y);
        sum.z = fmaf(q.z, value, sum.z);
        sum.w = fmaf(q.w, value, sum.w);
      }
      f(j0 + lane, sum);
    });
  }

  /// out[first + q] = sum over j of weights[j].q times row j of x.
  template <class T>
  __device__ void mix(const float4* weights, const T* x, std::ptrdiff_t x_step, T* out, std::ptrdiff_t to_step) const {
    float4 sum[per_lane] = {};
    pass(x, x_step, [&](int j0) {
      const int count = lesser(tile, S - j0);
      for (int j = 0; j < count; ++j) {
        const float4 w = weights[j0 + j];
#pragma unroll
        for (int m = 0; m < per_lane; ++m) {
          const float value = Dh % 32 == 0 || lane + 32 * m < Dh ? tiles[j * stride + lane + 32 * m] : 0.0f;
          sum[m].x = fmaf(w.x, value, sum[m].x);
          sum[m].y = fmaf(w.y, value, sum[m].y);
          sum[m].z = fmaf(w.z, value, sum[m].z);
          sum[m].w = fmaf(w.w, value, sum[m].w);
        }
      }
    });
#pragma unroll
    for (int m = 0; m < per_lane; ++m) {
      const int d = lane + 32 * m;
      const float values[4] = {sum[m].x, sum[m].y, sum[m].z, sum[m].w};
#pragma unroll
      for (int q = 0; q < 4; ++q)
        if (d < Dh && first + q < S) put(out[(first + q) * to_step + d], values[q]);
    }
  }

  /// 1 / (1 - rate) where (query, key) is kept, else 0: element (head, query, key) of the row's stream.
  __device__ float keep(const DeviceDraws& draws, const DrawKey& key, int i, int j) const {
    const std::uint32_t e =
        (static_cast<std::uint32_t>(h) * static_cast<std::uint32_t>(S) + static_cast<std::uint32_t>(i)) *
            static_cast<std::uint32_t>(S) +
        static_cast<std::uint32_t>(j);
    return kept_word(draw(key, e / 4)[e % 4], draws.threshold) ? draws.scale : 0.0f;
  }
};

__device__ inline float element(const float4& v, int q) { return q == 0 ? v.x : q == 1 ? v.y : q == 2 ? v.z : v.w; }
__device__ inline void set_element(float4& v, int q, float x) {
  if (q == 0)
    v.x = x;
  else if (q == 1)
    v.y = x;
  else if (q == 2)
    v.z = x;
  else
    v.w = x;
}

template <int H, int Dh, bool drops, class T>
__global__ void __launch_bounds__(512, 1)
    attention_forward(int S, float factor, const T* qkv, const T* bias, const bool* hidden, DeviceDraws draws,
                      T* probabilities, T* out) {
  extern __shared__ float4 shared[];
  const AttentionBlock<H, Dh> b(S, 1, reinterpret_cast<float*>(shared));
  b.take(b.part(qkv, 0), b.step, factor);
  b.products(b.part(qkv, 1), b.step, [&](int j, float4 x) {
    const bool unseen = hidden && hidden[static_cast<std::size_t>(b.row) * S + j];
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      float logit = element(x, q);
      if (bias && b.first + q < S) logit += to_float(bias[b.square(b.first + q) + j]);
      set_element(x, q, unseen ? -INFINITY : logit);
    }
    b.scores[j] = x;
  });
  if (b.first < S) {
    __syncwarp();
    DrawKey key{};
    if constexpr (drops) key = draws.key(b.row);
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      float* const x = reinterpret_cast<float*>(b.scores) + q;
      float most = -INFINITY, sum = 0;
      for (int j = b.lane; j < S; j += 32) most = fmaxf(most, x[4 * j]);
      most = warp_max(most);
      const float shift = most == -INFINITY ? 0 : most;  // no key left: zeros, but NaN stays
      for (int j = b.lane; j < S; j += 32) sum += x[4 * j] = expf(x[4 * j] - shift);
      sum = warp_sum(sum);
      const float inverse = sum == 0 ? 0 : 1 / sum;
      const int i = b.first + q;
      for (int j = b.lane; j < S; j += 32) {
        float p = x[4 * j] * inverse;
        if (probabilities && i < S) put(probabilities[b.square(i) + j], p);
        if constexpr (drops) p *= b.keep(draws, key, i, j);
        x[4 * j] = p;
      }
    }
    __syncwarp();
  }
  b.mix(b.scores, b.part(qkv, 2), b.step, b.heads(out), b.out_step);
}

/// dq, dbias, and delta = sum over keys of P dP, which the other half needs.
template <int H, int Dh, bool drops, class T>
__global__ void __launch_bounds__(512, 1)
    attention_backward_queries(int S, float factor, const T* dout, const T* qkv, const T* probabilities,
                               DeviceDraws draws, T* dqkv, T* dbias, float* delta) {
  extern __shared__ float4 shared[];
  const AttentionBlock<H, Dh> b(S, 1, reinterpret_cast<float*>(shared));
  b.take(b.heads(dout), b.out_step, 1);
  b.products(b.part(qkv, 2), b.step, [&](int j, float4 x) { b.scores[j] = x; });
  if (b.first < S) {
    __syncwarp();
    DrawKey key{};
    if constexpr (drops) key = draws.key(b.row);
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int i = b.first + q;
      if (i >= S) break;
      float* const x = reinterpret_cast<float*>(b.scores) + q;
      const T* const p = probabilities + b.square(i);
      float dot = 0;
      for (int j = b.lane; j < S; j += 32) {
        if constexpr (drops) x[4 * j] *= b.keep(draws, key, i, j);
        dot = fmaf(to_float(p[j]), x[4 * j], dot);
      }
      dot = warp_sum(dot);
      if (b.lane == 0) delta[b.line(i)] = dot;
      for (int j = b.lane; j < S; j += 32) {
        const float dlogit = to_float(p[j]) * (x[4 * j] - dot);
        if (dbias) put(dbias[b.square(i) + j], dlogit);
        x[4 * j] = dlogit * factor;
      }
    }
    __syncwarp();
  }
  b.mix(b.scores, b.part(qkv, 1), b.step, b.part(dqkv, 0), b.step);
}

/// dk and dv of the warp's 4 keys.
template <int H, int Dh, bool drops, class T>
__global__ void __launch_bounds__(512, 1)
    attention_backward_keys(int S, float factor, const T* dout, const T* qkv, const T* probabilities, DeviceDraws draws,
                            const float* delta, T* dqkv) {
  extern __shared__ float4 shared[];
  const AttentionBlock<H, Dh> b(S, 2, reinterpret_cast<float*>(shared));
  float4* const dropped = b.scores + S;
  DrawKey key{};
  if constexpr (drops) key = draws.key(b.row);
  b.take(b.part(qkv, 2), b.step, 1);
  b.products(b.heads(dout), b.out_step, [&](int i, float4 x) {
    const float mean = delta[b.line(i)];
    float4 weights = {0, 0, 0, 0};
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int j = b.first + q;
      if (j >= S) break;
      const float p = to_float(probabilities[b.square(i) + j]), kept = drops ? b.keep(draws, key, i, j) : 1.0f;
      set_element(weights, q, p * kept);
      set_element(x, q, p * (element(x, q) * kept - mean) * factor);
    }
    b.scores[i] = x;
    dropped[i] = weights;
  });
  __syncwarp();
  b.mix(dropped, b.heads(dout), b.out_step, b.part(dqkv, 2), b.step);
  b.mix(b.scores, b.part(qkv, 0), b.step, b.part(dqkv, 1), b.step);
}

}  // namespace detail::gpu

template <Precision P>
struct kernel::Attention<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <int H, int Dh, bool with_dropout, class T>
  static void forward(D& d, int rows, int sequence, const T* qkv, const AttentionExtras<T>& extras, T* probabilities,
                      T* out) {
    if constexpr (sizeof(T) < sizeof(float)) {
      using Kernels = detail::gpu::HalfAttentionKernels<H, Dh, with_dropout, D>;
      if (rows > 0 && sequence > 0)
        Kernels::forward(d, rows, Kernels::input(d, sequence, qkv, extras, probabilities), out);
    } else {
      forward_float<H, Dh, with_dropout>(d, rows, sequence, qkv, extras, probabilities, out);
    }
  }

  template <int H, int Dh, bool with_dropout, class T>
  static void backward(D& d, int rows, int sequence, const T* dout, const T* qkv, const T* probabilities,
                       const AttentionExtras<T>& extras, T* dqkv, T* dbias) {
    if constexpr (sizeof(T) < sizeof(float)) {
      using Kernels = detail::gpu::HalfAttentionKernels<H, Dh, with_dropout, D>;
      if (rows > 0 && sequence > 0)
        Kernels::backward(d, rows, Kernels::input(d, sequence, qkv, extras, probabilities), dout, dqkv, dbias);
    } else {
      backward_float<H, Dh, with_dropout>(d, rows, sequence, dout, qkv, probabilities, extras, dqkv, dbias);
    }
  }

 private:
  template <int H, int Dh, bool with_dropout, class T>
  static void forward_float(D& d, int rows, int sequence, const T* qkv, const AttentionExtras<T>& extras,
                            T* probabilities, T* out) {
    run<H, Dh>(d, "attention", rows, sequence, 1, &detail::gpu::attention_forward<H, Dh, with_dropout, T>, sequence,
               factor<Dh>(), qkv, extras.bias, extras.key_hidden, detail::gpu::DeviceDraws(d, extras.dropout),
               probabilities, out);
  }

  template <int H, int Dh, bool with_dropout, class T>
  static void backward_float(D& d, int rows, int sequence, const T* dout, const T* qkv, const T* probabilities,
                             const AttentionExtras<T>& extras, T* dqkv, T* dbias) {
    const detail::gpu::DeviceDraws draws(d, extras.dropout);
    constexpr const char* name = "attention_backward";
    auto* const delta = d.template scratch<float>(name, static_cast<std::size_t>(rows) * H * sequence);
    run<H, Dh>(d, name, rows, sequence, 1, &detail::gpu::attention_backward_queries<H, Dh, with_dropout, T>, sequence,
               factor<Dh>(), dout, qkv, probabilities, draws, dqkv, dbias, delta);
    run<H, Dh>(d, name, rows, sequence, 2, &detail::gpu::attention_backward_keys<H, Dh, with_dropout, T>, sequence,
               factor<Dh>(), dout, qkv, probabilities, draws, static_cast<const float*>(delta), dqkv);
  }

  template <int Dh>
  static float factor() {
    return static_cast<float>(1 / std::sqrt(static_cast<double>(Dh)));
  }

  template <int H, int Dh, class... A, class... B>
  static void run(D& d, const char* name, int rows, int sequence, int arrays, void (*kernel)(A...), B... arguments) {
    if (rows == 0 || sequence == 0) return;
    const detail::gpu::AttentionPlan plan(sequence, Dh, arrays, d.shared_limit());
    if (plan.warps == 0)
      throw OptionError(std::string(name) + ": the scores of 4 queries do not fit into the shared memory of a block, " +
                        std::to_string(d.shared_limit()) + " bytes: expected a shorter sequence, found " +
                        std::to_string(sequence));
    d.launch(name, dim3(static_cast<unsigned>(rows * H), static_cast<unsigned>(plan.blocks)),
             static_cast<unsigned>(32 * plan.warps), plan.shared_bytes, kernel, arguments...);
  }
};

}  // namespace data2vec::inline v0
