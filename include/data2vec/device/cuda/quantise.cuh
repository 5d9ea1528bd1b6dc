// SPDX-License-Identifier: MIT
// Product quantisation on the GPU: a warp per row and group, sums in double.
#pragma once

#include <type_traits>

#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/dropout.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/product.cuh>
#include <data2vec/device/cuda/reduce.cuh>
#include <data2vec/device/cuda/sorted.cuh>
#include <data2vec/device/quantise.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// -log(-log U) of a word.
D2V_HD inline float gumbel(std::uint32_t word) {
  const double u = (static_cast<double>(word >> 8) + 0.5) * 0x1p-24;
  return static_cast<float>(-std::log(-std::log(u)));
}

template <class T>
struct GumbelElements {
  DeviceDraws draws;
  int width, blocks;
  T* y;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, blocks);
    const int row = static_cast<int>(place.quotient), block = place.rest;
    const auto words = draw(draws.key(row), static_cast<std::uint32_t>(block));
    const std::size_t start = static_cast<std::size_t>(row) * width + 4 * block;
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (4 * block + k < width) put(y[start + k], gumbel(words[k]));
  }
};

/// The row and group of a warp of blocks of 128 threads.
__device__ inline int warp_of_four() { return static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32; }

template <int V, class T>
__global__ void __launch_bounds__(128)
    choose_rows(int count, const T* logits, const T* noise, const double* temperature, T* soft, int* codes) {
  const int row = warp_of_four(), lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= count) return;
  const std::size_t at = static_cast<std::size_t>(row) * V;
  const auto value = [=](int v) { return to_float(logits[at + v]) + (noise ? to_float(noise[at + v]) : 0.0f); };
  const int best = first_largest(V, value);
  if (lane == 0) codes[row] = best;
  if (!soft) return;
  const float most = value(best);
  const double factor = 1 / *temperature;
  const auto power = [=](int v) { return exp(factor * static_cast<double>(value(v) - most)); };
  double sum = 0;
  for (int v = lane; v < V; v += 32) sum += power(v);
  sum = warp_sum(sum);
  for (int v = lane; v < V; v += 32) put(soft[at + v], static_cast<float>(power(v) / sum));
}

/// In dy (rows, V), the gradient of p = softmax(x / temperature), that of x.
template <int V, class T>
__global__ void __launch_bounds__(128) softmax_gradient_rows(int count, const T* p, const double* temperature, T* dy) {
  const int row = warp_of_four(), lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= count) return;
  const std::size_t at = static_cast<std::size_t>(row) * V;
  const auto value = [](T x) { return static_cast<double>(to_float(x)); };
  double mean = 0;
  for (int v = lane; v < V; v += 32) mean += value(p[at + v]) * value(dy[at + v]);
  mean = warp_sum(mean);
  const double factor = 1 / *temperature;
  for (int v = lane; v < V; v += 32)
    put(dy[at + v], static_cast<float>(factor * value(p[at + v]) * (value(dy[at + v]) - mean)));
}

/// Row i of (rows, G) as a row of the entries.
struct CodeRow {
  const int* codes;
  int groups, entries;
  D2V_HD int operator()(int i) const { return i % groups * entries + codes[i]; }
};

template <int width, int n, class T>
struct LookUpPacks {
  CodeRow entry;
  const T* entries;
  T* q;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, width / n);
    float x[n];
    load<n>(entries + static_cast<std::size_t>(entry(static_cast<int>(place.quotient))) * width + n * place.rest, x);
    store<n>(q + n * i, x);
  }
};

/// What the use of the entries is made of, for each row and group.
template <int V, class T>
__global__ void __launch_bounds__(128) usage_rows(int count, const T* logits, double* log_sums, int* codes) {
  const int row = warp_of_four();
  if (row >= count) return;
  const T* const x = logits + static_cast<std::size_t>(row) * V;
  const auto value = [=](int v) { return to_float(x[v]); };
  const double lse = row_log_sum(V, value);
  const int best = first_largest(V, value);
  if (threadIdx.x % 32 == 0) log_sums[row] = lse, codes[row] = best;
}

/// Adds the softmax of the logits, and 1 for the largest.
template <int groups, int V, class T>
struct UsageOf {
  const T* logits;
  const double* log_sums;
  const int* codes;
  __device__ void operator()(int, int row, int column, double* sum) const {
    const int i = row * groups + column / V;
    const auto x = static_cast<double>(to_float(logits[static_cast<std::size_t>(row) * (groups * V) + column]));
    sum[0] += exp(x - log_sums[i]);
    sum[1] += codes[i] == column % V;
  }
};

inline constexpr double usage_epsilon = 1e-7;

/// exp(entropy) of V shares of `total`, in thread 0 of a block of 256.
template <int V>
__device__ double block_perplexity(const double* shares, double total) {
  double entropy = 0;
  for (int v = static_cast<int>(threadIdx.x); v < V; v += 256)
    entropy -= shares[v] / total * log(shares[v] / total + usage_epsilon);
  return exp(block_sum(entropy));
}

/// One block: totals (2, G, V) over the rows to the mean `usage` (G, V) and both perplexities, code first.
template <int groups, int V>
__global__ void __launch_bounds__(256)
    perplexity_sums(int rows, const double* totals, double* usage, bool add, double* sums) {
  double prob = 0, code = 0;
  for (int g = 0; g < groups; ++g) {
    prob += block_perplexity<V>(totals + g * V, rows);
    code += block_perplexity<V>(totals + (groups + g) * V, rows);
  }
  for (int c = static_cast<int>(threadIdx.x); c < groups * V; c += 256) usage[c] = totals[c] / rows;
  if (threadIdx.x > 0) return;
  sums[0] = add ? sums[0] + code : code;
  sums[1] = add ? sums[1] + prob : prob;
}

/// A block per group: d exp(H) / d u_v = -exp(H) (log(u_v + e) + u_v / (u_v + e)), u the mean of the rows' softmax.
template <int V>
__global__ void __launch_bounds__(256) perplexity_slopes(const double* usage, double weight, double* slopes) {
  static __shared__ double perplexity;
  const std::size_t start = std::size_t{blockIdx.x} * V;
  const double found = block_perplexity<V>(usage + start, 1);
  if (threadIdx.x == 0) perplexity = found;
  __syncthreads();
  for (int v = static_cast<int>(threadIdx.x); v < V; v += 256) {
    const double u = usage[start + v];
    slopes[start + v] = -weight * perplexity * (log(u + usage_epsilon) + u / (u + usage_epsilon));
  }
}

template <int groups, int V, class T>
__global__ void __launch_bounds__(128)
    perplexity_gradient_rows(int count, const T* logits, const double* slopes, T* dlogits) {
  const int row = warp_of_four(), lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= count) return;
  const std::size_t at = static_cast<std::size_t>(row) * V;
  const double* const slope = slopes + row % groups * V;
  const auto value = [=](int v) { return to_float(logits[at + v]); };
  const double lse = row_log_sum(V, value);
  const auto p = [=](int v) { return exp(static_cast<double>(value(v)) - lse); };
  double mean = 0;
  for (int v = lane; v < V; v += 32) mean += p(v) * slope[v];
  mean = warp_sum(mean);
  for (int v = lane; v < V; v += 32)
    put(dlogits[at + v], to_float(dlogits[at + v]) + static_cast<float>(p(v) * (slope[v] - mean)));
}

}  // namespace detail::gpu

template <Precision P>
struct kernel::Quantise<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <class T>
  static void noise(D& d, int rows, int elements_per_row, const DropoutDraws& draws, T* y) {
    const int blocks = (elements_per_row + 3) / 4;
    d.for_each("gumbel_noise", static_cast<std::size_t>(rows) * blocks,
               detail::gpu::GumbelElements<T>{{d, draws}, elements_per_row, blocks, y});
  }

  template <CodebookShape S, class T>
  static void choose(D& d, int rows, const T* logits, const T* noise, const double* temperature, T* soft,
                     int* codes) {
    d.launch("choose_codes", warps<S>(rows), 128, 0, &detail::gpu::choose_rows<S.entries, T>, rows * S.groups, logits,
             noise, temperature, soft, codes);
  }

  template <CodebookShape S, class T>
  static void look_up(D& d, int rows, const int* codes, const T* entries, T* q) {
    const auto run = [&]<int n>(std::integral_constant<int, n>) {
      d.for_each("look_up_codes", static_cast<std::size_t>(rows) * S.groups * (S.width / n),
                 detail::gpu::LookUpPacks<S.width, n, T>{{codes, S.groups, S.entries}, entries, q});
    };
    constexpr int n = detail::gpu::row_pack<S.width, T>;
    if (detail::gpu::aligned_to<n>(entries, q))
      run(std::integral_constant<int, n>());
    else
      run(std::integral_constant<int, 1>());
  }

  template <CodebookShape S, class T>
  static void look_up_backward(D& d, int rows, const int* codes, const T* dq, T* dentries) {
    detail::gpu::add_rows<S.width>(d, "look_up_codes_backward", rows * S.groups,
                                   detail::gpu::CodeRow{codes, S.groups, S.entries}, 1, dq, dentries);
  }

  template <CodebookShape S, class T>
  static void choose_backward(D& d, int rows, const T* dq, const T* entries, const T* soft, const double* temperature,
                              T* dlogits) {
    constexpr const char* name = "choose_codes_backward";
    ProductKey key{.m = S.entries, .n = rows, .k = S.width, .transposes_a = true, .rows_are_n = true};
    key.batch = S.groups;
    detail::gpu::product<P>(d, name, key, entries, S.width, dq, S.dim(), static_cast<const T*>(nullptr), dlogits,
                            S.codes(), {std::ptrdiff_t{S.entries} * S.width, S.width, S.entries});
    d.launch(name, warps<S>(rows), 128, 0, &detail::gpu::softmax_gradient_rows<S.entries, T>, rows * S.groups, soft,
             temperature, dlogits);
  }

  /// Deferred sums are those of the codes and of the probabilities.
  template <CodebookShape S, class T>
  static CodebookPerplexities perplexities(D& d, int rows, const T* logits, double* usage) {
    constexpr const char* name = "perplexities";
    double* const sums = d.sum_slots(2);
    const detail::gpu::GroupSums<2, double> use(1, rows, S.codes());
    const auto count = static_cast<std::size_t>(rows) * S.groups;
    double* const memory = d.template scratch<double>(name, use.size() + 2 * count);
    double* const log_sums = memory + use.size();
    int* const codes = reinterpret_cast<int*>(log_sums + count);
    d.launch(name, warps<S>(rows), 128, 0, &detail::gpu::usage_rows<S.entries, T>, rows * S.groups, logits, log_sums,
             codes);
    use.run(d, name, detail::gpu::UsageOf<S.groups, S.entries, T>{logits, log_sums, codes}, memory);
    d.launch(name, 1, 256, 0, &detail::gpu::perplexity_sums<S.groups, S.entries>, rows, memory, usage,
             d.adds_sums(), sums);
    const double* const found = d.returned_sums(name, sums, 2);
    return {found[0], found[1]};
  }

  template <CodebookShape S, class T>
  static void perplexity_backward(D& d, int rows, const T* logits, const double* usage, double weight, T* dlogits) {
    constexpr const char* name = "perplexity_backward";
    if (rows == 0) return;
    double* const slopes = d.template scratch<double>(name, S.codes());
    d.launch(name, S.groups, 256, 0, &detail::gpu::perplexity_slopes<S.entries>, usage, weight / rows, slopes);
    d.launch(name, warps<S>(rows), 128, 0, &detail::gpu::perplexity_gradient_rows<S.groups, S.entries, T>,
             rows * S.groups, logits, slopes, dlogits);
  }

 private:
  template <CodebookShape S>
  static unsigned warps(int rows) {
    return static_cast<unsigned>((rows * S.groups + 3) / 4);
  }
};

}  // namespace data2vec::inline v0
