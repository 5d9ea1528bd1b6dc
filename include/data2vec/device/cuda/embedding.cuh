// SPDX-License-Identifier: MIT
// Look-up of token ids on the GPU, and its gradient.
#pragma once

#include <cmath>
#include <type_traits>

#include <data2vec/device/cuda/cuda.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/sorted.cuh>
#include <data2vec/device/cuda/tiles.hpp>
#include <data2vec/device/embedding.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// Positions of tokens (device/embedding.hpp), and the token of a sample at position pad + 1 + k, or -1: a warp per
/// sample, whose lanes have stretches of tokens.
template <class Id>
__global__ void __launch_bounds__(128)
    token_positions(EmbeddingShape shape, const Id* ids, int* positions, int* token_at) {
  const int sample = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32;
  if (sample >= shape.samples) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, stretch = ceil_div(shape.tokens, 32);
  const int first = lesser(lane * stretch, shape.tokens), end = lesser(first + stretch, shape.tokens);
  const std::size_t start = static_cast<std::size_t>(sample) * shape.tokens;
  int own = 0;
  for (int t = first; t < end; ++t) own += ids[start + t] != shape.pad;
  int before = own;  // of this and all lanes before
  for (int offset = 1; offset < 32; offset *= 2) {
    const int other = __shfl_sync(0xFFFFFFFFu, before, greater(lane - offset, 0));
    if (lane >= offset) before += other;
  }
  const int all = __shfl_sync(0xFFFFFFFFu, before, 31);
  before -= own;
  for (int t = first; t < end; ++t) {
    const bool counts = ids[start + t] != shape.pad;
    positions[start + t] = counts ? shape.pad + 1 + before : shape.pad;
    if (counts) token_at[start + before++] = t;
  }
  for (int k = greater(all, first); k < end; ++k) token_at[start + k] = -1;
}

template <int C, int n, class T>
struct Embed {
  const std::int32_t* ids;
  const int* at;  // positions of the tokens
  const T *table, *positions;
  float factor;
  T* y;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, C / n);
    float x[n];
    load<n>(table + static_cast<std::size_t>(ids[place.quotient]) * C + n * place.rest, x);
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] *= factor;
    if (positions) {
      float p[n];
      load<n>(positions + static_cast<std::size_t>(at[place.quotient]) * C + n * place.rest, p);
#pragma unroll
      for (int k = 0; k < n; ++k) x[k] += p[k];
    }
    store<n>(y + n * i, x);
  }
};

/// The row of a token in the table; none for pads.
struct TokenRow {
  const std::int32_t* ids;
  int pad;
  __device__ int operator()(int i) const { return ids[i] == pad ? -1 : ids[i]; }
};

/// Positions are rows pad + 1, ... of their table: each takes the samples in order.
template <int C, int n, class T>
struct AddPositions {
  EmbeddingShape shape;
  const int* token_at;
  const T* dy;
  T* dpositions;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, C / n);
    T* const to = dpositions + (shape.pad + 1 + place.quotient) * C + n * place.rest;
    float sum[n], term[n];
    load<n>(to, sum);
    for (std::size_t start = 0; start < static_cast<std::size_t>(shape.samples) * shape.tokens; start += shape.tokens) {
      const int token = token_at[start + place.quotient];
      if (token < 0) continue;
      load<n>(dy + (start + token) * C + n * place.rest, term);
#pragma unroll
      for (int k = 0; k < n; ++k) sum[k] += term[k];
    }
    store<n>(to, sum);
  }
};

template <int C, class T>
struct Sinusoids {
  int pad;
  T* y;
  __device__ void operator()(std::size_t i) const {
    constexpr int half = C / 2;
    const Divided place = divide(i, C);
    const bool cosine = place.rest >= half;
    const int k = cosine ? place.rest - half : place.rest;
    double value = 0;
    if (place.quotient != static_cast<std::size_t>(pad) && k < half) {
      const double angle = static_cast<double>(place.quotient) * exp(-k * log(10000.0) / (half - 1));
      value = cosine ? cos(angle) : sin(angle);
    }
    put(y[i], static_cast<float>(value));
  }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::Embedding<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <int C, class T>
  static void embed(D& d, const EmbeddingShape& shape, const std::int32_t* ids, const T* table, double scale,
                    const T* positions, T* y) {
    constexpr const char* name = "embed";
    const int* const at = positions ? find_positions(d, name, shape, ids) : nullptr;
    const auto run = [&]<int n>(std::integral_constant<int, n>) {
      d.for_each(name, tokens(shape) * (C / n),
                 detail::gpu::Embed<C, n, T>{ids, at, table, positions, static_cast<float>(scale), y});
    };
    constexpr int n = detail::gpu::row_pack<C, T>;
    if (detail::gpu::aligned_to<n>(table, positions, y))
      run(std::integral_constant<int, n>());
    else
      run(std::integral_constant<int, 1>());
  }

  template <int C, class T>
  static void gradient(D& d, const EmbeddingShape& shape, const std::int32_t* ids, const T* dy, double scale, T* dtable,
                       T* dpositions) {
    constexpr const char* name = "embed_gradient";
    detail::gpu::add_rows<C>(d, name, static_cast<int>(tokens(shape)), detail::gpu::TokenRow{ids, shape.pad},
                             static_cast<float>(scale), dy, dtable);
    if (!dpositions) return;
    const int* const token_at = find_positions(d, name, shape, ids) + tokens(shape);
    constexpr int n = C % 4 == 0 ? 4 : 1;  // few threads that walk far: many of them
    const auto places = static_cast<std::size_t>(shape.tokens);
    if (detail::gpu::aligned_to<n>(dy, dpositions))
      d.for_each(name, places * (C / n), detail::gpu::AddPositions<C, n, T>{shape, token_at, dy, dpositions});
    else
      d.for_each(name, places * C, detail::gpu::AddPositions<C, 1, T>{shape, token_at, dy, dpositions});
  }

  template <int C, class T>
  static void sinusoids(D& d, int rows, int pad, T* y) {
    static_assert(C >= 4, "data2vec: sinusoids need Config::embed_dim of at least 4");
    d.for_each("sinusoids", static_cast<std::size_t>(rows) * C, detail::gpu::Sinusoids<C, T>{pad, y});
  }

 private:
  static std::size_t tokens(const EmbeddingShape& shape) {
    return static_cast<std::size_t>(shape.samples) * static_cast<std::size_t>(shape.tokens);
  }
  /// Of every token, and behind them the tokens of every position.
  static int* find_positions(D& d, const char* name, const EmbeddingShape& shape, const std::int32_t* ids) {
    int* const positions = d.template scratch<int>(name, 2 * tokens(shape));
    d.launch(name, static_cast<unsigned>((shape.samples + 3) / 4), 128, 0, &detail::gpu::token_positions<std::int32_t>,
             shape, ids, positions, positions + tokens(shape));
    return positions;
  }
};

}  // namespace data2vec::inline v0
