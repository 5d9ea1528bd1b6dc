// SPDX-License-Identifier: MIT
// Attention bias on the GPU. Sums over rows run in the order of the rows, nothing is atomic.
#pragma once

#include <data2vec/device/alibi.hpp>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/reduce.cuh>
#include <data2vec/device/cuda/tiles.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

template <class T>
__device__ float bias_scale(const T* scale, bool per_head, int head) {
  const float value = to_float(scale[per_head ? head : 0]);
  return value > 0 ? value : 0;
}

template <class T>
struct DistanceBias {
  int heads;
  Grid grid;
  bool euclidean;
  T* table;
  __device__ void operator()(std::size_t i) const {
    const BiasPlace p(i, heads, grid.size());
    put(table[i], static_cast<float>(alibi_slope(heads, p.head)) *
                      static_cast<float>(-alibi_distance(grid, p.query, p.key, euclidean)));
  }
};

template <class T>
struct LearnedBias {
  int heads, max_pos, tokens;
  const T* table;
  T* out;
  __device__ void operator()(std::size_t i) const {
    const BiasPlace p(i, heads, tokens);
    const int row = alibi_table_index(p.query, max_pos, tokens), column = alibi_table_index(p.key, max_pos, tokens);
    out[i] = table[(static_cast<std::size_t>(p.head) * max_pos + row) * max_pos + column];
  }
};

/// One thread per element of the learned table: all that read it.
template <class T>
struct LearnedBiasGradient {
  int heads, max_pos, tokens;
  const T* dout;
  T* dtable;
  /// The tokens that read row or column `at` are first(at) ... last(at).
  __device__ int first(int at) const { return at == 0 ? 0 : at + alibi_padding(max_pos, tokens); }
  __device__ int last(int at) const {
    const int end = at == max_pos - 1 ? tokens - 1 : at + alibi_padding(max_pos, tokens);
    return end < tokens ? end : tokens - 1;
  }
  __device__ void operator()(std::size_t i) const {
    const BiasPlace p(i, heads, max_pos);
    float sum = to_float(dtable[i]);
    for (int query = first(p.query); query <= last(p.query); ++query)
      for (int key = first(p.key); key <= last(p.key); ++key)
        sum += to_float(dout[(static_cast<std::size_t>(p.head) * tokens + query) * tokens + key]);
    put(dtable[i], sum);
  }
};

template <class T>
struct GatherBias {
  BiasShape shape;
  const T* table;
  const int* keep;
  T* bias;
  __device__ void operator()(std::size_t i) const {
    const BiasPlace p(i, shape.heads, shape.sequence());
    const int* kept = keep + static_cast<std::ptrdiff_t>(p.row) * shape.visible - shape.extra;
    const bool extra = p.query < shape.extra || p.key < shape.extra;
    bias[i] =
        extra ? from_float<T>(0)
              : table[(static_cast<std::size_t>(p.head) * shape.tokens + kept[p.query]) * shape.tokens + kept[p.key]];
  }
};

template <class T>
struct ScaleBias {
  BiasShape shape;
  const T *bias, *scale;
  bool per_head;
  T* scaled;
  __device__ void operator()(std::size_t i) const {
    const int head = BiasPlace(i, shape.heads, shape.sequence()).head;
    put(scaled[i], to_float(bias[i]) * bias_scale(scale, per_head, head));
  }
};

/// partial (rows, heads): a block sums one square.
template <class T>
__global__ void __launch_bounds__(256) bias_dots(std::size_t square, const T* dscaled, const T* bias, double* partial) {
  const std::size_t start = std::size_t{blockIdx.x} * square;
  double sum = 0;
  for (std::size_t i = threadIdx.x; i < square; i += 256)
    sum += static_cast<double>(to_float(dscaled[start + i])) * static_cast<double>(to_float(bias[start + i]));
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// One thread per scale: the squares of its head, or of all, in the order of the rows.
template <class T>
struct AddBiasDots {
  int rows, heads;
  bool per_head;
  const double* partial;
  const T* scale;
  T* dscale;
  __device__ void operator()(std::size_t i) const {
    if (!(to_float(scale[i]) >= 0)) return;
    double sum = 0;
    for (int at = static_cast<int>(i); at < rows * heads; at += per_head ? heads : 1) sum += partial[at];
    put(dscale[i], to_float(dscale[i]) + static_cast<float>(sum));
  }
};

/// place (rows, tokens): where a row's sequence has a token, or -1. Filled with -1 before.
struct PlaceTokens {
  BiasShape shape;
  const int* keep;
  int* place;
  __device__ void operator()(std::size_t i) const {
    const Divided at = divide(i, shape.visible);
    place[at.quotient * shape.tokens + keep[i]] = shape.extra + at.rest;
  }
};

/// One thread per element of the table.
template <class T>
struct ScatterBias {
  BiasShape shape;
  const T *dscaled, *scale;
  bool per_head;
  const int* place;
  T* dtable;
  __device__ void operator()(std::size_t i) const {
    const BiasPlace p(i, shape.heads, shape.tokens);  // one row of tokens x tokens
    const int S = shape.sequence();
    const float factor = bias_scale(scale, per_head, p.head);
    float sum = to_float(dtable[i]);
    for (int row = 0; row < shape.rows; ++row) {
      const int* const at = place + static_cast<std::ptrdiff_t>(row) * shape.tokens;
      const int query = at[p.query], key = at[p.key];
      if (query >= 0 && key >= 0)
        sum = fmaf(to_float(dscaled[((static_cast<std::size_t>(row) * shape.heads + p.head) * S + query) * S + key]),
                   factor, sum);
    }
    put(dtable[i], sum);
  }
};

template <class T>
struct RelativeBiasValues {
  BiasShape shape;
  Grid grid;
  const T* table;
  const int* keep;
  T* bias;
  __device__ void operator()(std::size_t i) const {
    const BiasPlace p(i, shape.heads, shape.sequence());
    const int* kept = keep + static_cast<std::ptrdiff_t>(p.row) * shape.visible - shape.extra;
    const int row = relative_row(grid, p.query < shape.extra ? -1 : kept[p.query],
                                 p.key < shape.extra ? -1 : kept[p.key]);
    bias[i] = table[static_cast<std::size_t>(row) * shape.heads + p.head];
  }
};

/// One thread per element of the table: all that read it. A query and an offset make one key.
template <class T>
struct RelativeBiasGradient {
  BiasShape shape;
  Grid grid;
  int table_rows;
  const T* dbias;
  const int *keep, *place;
  T* dtable;
  /// The keys first ... last of this query that read a row of the table.
  __device__ void keys(int row, int sample, int query, int& first, int& last) const {
    const int special = row - relative_offsets(grid);
    const bool extra = query < shape.extra;
    first = 0, last = -1;
    if (special >= 0) {
      if (extra != (special != 1)) return;
      first = special == 0 ? shape.extra : 0;
      last = special == 0 ? shape.sequence() - 1 : shape.extra - 1;
    } else if (!extra) {
      const int token = keep[static_cast<std::ptrdiff_t>(sample) * shape.visible + query - shape.extra];
      const int y = token / grid.width - row / (2 * grid.width - 1) + grid.height - 1;
      const int x = token % grid.width - row % (2 * grid.width - 1) + grid.width - 1;
      if (y < 0 || y >= grid.height || x < 0 || x >= grid.width) return;
      const int key = place[static_cast<std::ptrdiff_t>(sample) * shape.tokens + y * grid.width + x];
      if (key >= 0) first = last = key;
    }
  }
  __device__ void operator()(std::size_t i) const {
    const Divided at = divide(i, table_rows);  // neighbours are offsets of one head: their keys are neighbours too
    const int head = static_cast<int>(at.quotient), S = shape.sequence();
    T& to = dtable[static_cast<std::size_t>(at.rest) * shape.heads + head];
    float sum = to_float(to);
    for (int sample = 0; sample < shape.rows; ++sample)
      for (int query = 0; query < S; ++query) {
        int first, last;
        keys(at.rest, sample, query, first, last);
        const T* const line = dbias + ((static_cast<std::size_t>(sample) * shape.heads + head) * S + query) * S;
        for (int key = first; key <= last; ++key) sum += to_float(line[key]);
      }
    put(to, sum);
  }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::Alibi<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <class T>
  static void distances(D& d, int heads, Grid grid, bool euclidean, T* table) {
    d.for_each("distance_bias", squares(heads, grid.size()),
               detail::gpu::DistanceBias<T>{heads, grid, euclidean, table});
  }
  template <class T>
  static void learned(D& d, int heads, int max_pos, const T* table, int tokens, T* out) {
    d.for_each("learned_bias", squares(heads, tokens), detail::gpu::LearnedBias<T>{heads, max_pos, tokens, table, out});
  }
  template <class T>
  static void learned_gradient(D& d, int heads, int max_pos, int tokens, const T* dout, T* dtable) {
    d.for_each("learned_bias_gradient", squares(heads, max_pos),
               detail::gpu::LearnedBiasGradient<T>{heads, max_pos, tokens, dout, dtable});
  }

  template <class T>
  static void gather(D& d, const BiasShape& shape, const T* table, const int* keep, T* bias) {
    d.for_each("gather_bias", size(shape), detail::gpu::GatherBias<T>{shape, table, keep, bias});
  }

  template <class T>
  static void scale(D& d, const BiasShape& shape, const T* bias, const T* scale, bool per_head, T* scaled) {
    d.for_each("scale_bias", size(shape), detail::gpu::ScaleBias<T>{shape, bias, scale, per_head, scaled});
  }

  template <class T>
  static void scale_gradient(D& d, const BiasShape& shape, const T* dscaled, const T* bias, const T* scale,
                             bool per_head, T* dscale) {
    constexpr const char* name = "scale_bias_gradient";
    const int squares = shape.rows * shape.heads;
    auto* const partial = d.template scratch<double>(name, static_cast<std::size_t>(squares));
    const auto square = static_cast<std::size_t>(shape.sequence()) * static_cast<std::size_t>(shape.sequence());
    d.launch(name, static_cast<unsigned>(squares), 256, 0, &detail::gpu::bias_dots<T>, square, dscaled, bias, partial);
    d.for_each(name, static_cast<std::size_t>(per_head ? shape.heads : 1),
               detail::gpu::AddBiasDots<T>{shape.rows, shape.heads, per_head, partial, scale, dscale});
  }

  template <class T>
  static void gather_gradient(D& d, const BiasShape& shape, const T* dscaled, const T* scale, bool per_head,
                              const int* keep, T* dtable) {
    constexpr const char* name = "gather_bias_gradient";
    const auto tokens = static_cast<std::size_t>(shape.tokens);
    const int* const place = places(d, name, shape, keep);
    d.for_each(name, static_cast<std::size_t>(shape.heads) * tokens * tokens,
               detail::gpu::ScatterBias<T>{shape, dscaled, scale, per_head, place, dtable});
  }

  template <class T>
  static void relative(D& d, const BiasShape& shape, Grid grid, const T* table, const int* keep, T* bias) {
    d.for_each("relative_bias", size(shape), detail::gpu::RelativeBiasValues<T>{shape, grid, table, keep, bias});
  }

  template <class T>
  static void relative_gradient(D& d, const BiasShape& shape, Grid grid, const T* dbias, const int* keep, T* dtable) {
    constexpr const char* name = "relative_bias_gradient";
    const int rows = relative_offsets(grid) + (shape.extra > 0 ? 3 : 0);
    const int* const place = places(d, name, shape, keep);
    d.for_each(name, static_cast<std::size_t>(rows) * static_cast<std::size_t>(shape.heads),
               detail::gpu::RelativeBiasGradient<T>{shape, grid, rows, dbias, keep, place, dtable});
  }

 private:
  /// What PlaceTokens leaves, in scratch memory.
  static const int* places(D& d, const char* name, const BiasShape& shape, const int* keep) {
    const std::size_t count = static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.tokens);
    auto* const place = d.template scratch<int>(name, count);
    detail::gpu::check(cudaMemsetAsync(place, 0xFF, count * sizeof(int), d.stream()), name);
    d.for_each(name, static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.visible),
               detail::gpu::PlaceTokens{shape, keep, place});
    return place;
  }
  static std::size_t squares(int count, int side) {
    return static_cast<std::size_t>(count) * static_cast<std::size_t>(side) * static_cast<std::size_t>(side);
  }
  static std::size_t size(const BiasShape& shape) { return squares(shape.rows * shape.heads, shape.sequence()); }
};

}  // namespace data2vec::inline v0
