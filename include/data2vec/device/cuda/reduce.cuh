// SPDX-License-Identifier: MIT
// Sums in double with a fixed order, and the regression losses, on the GPU: blocks leave partial sums, one block adds
// them in order. Nothing is atomic.
#pragma once

#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/math.hpp>
#include <data2vec/device/reduce.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// The sum over a block of 256 threads, in thread 0.
__device__ inline double block_sum(double x) {
  static __shared__ double warps[8];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  double total = 0;
  if (threadIdx.x == 0)
    for (const double part : warps) total += part;
  __syncthreads();
  return total;
}

/// The first place of the largest of x(0), ..., x(n - 1), floats; the same in all lanes of a warp.
template <class X>
__device__ int first_largest(int n, X x) {
  int best = -1;
  float most = -INFINITY;
  for (int k = static_cast<int>(threadIdx.x) % 32; k < n; k += 32)
    if (const float value = x(k); best < 0 || value > most) most = value, best = k;
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(0xFFFFFFFFu, most, offset);
    const int place = __shfl_xor_sync(0xFFFFFFFFu, best, offset);
    if (place >= 0 && (best < 0 || other > most || (other == most && place < best))) most = other, best = place;
  }
  return best;
}

/// log(e^x(0) + ... + e^x(n - 1)), the same in all lanes of a warp.
template <class X>
__device__ double row_log_sum(int n, X x) {
  LogSum all;
  for (int k = static_cast<int>(threadIdx.x) % 32; k < n; k += 32) all.add(static_cast<double>(x(k)));
  for (int offset = 16; offset > 0; offset /= 2) {
    LogSum other;
    other.most = __shfl_xor_sync(0xFFFFFFFFu, all.most, offset);
    other.sum = __shfl_xor_sync(0xFFFFFFFFu, all.sum, offset);
    all.merge(other);
  }
  return all.value();
}

/// sums[s] (+)= the sum of partial (count, n) over its rows: one block.
template <int n>
__global__ void add_partials(int count, const double* partial, bool add, double* sums) {
  for (int s = 0; s < n; ++s) {
    double sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += 256)
      sum += partial[static_cast<std::size_t>(i) * n + s];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[s] = add ? sums[s] + sum : sum;
  }
}

/// Blocks of 4,096 elements.
template <class T>
__global__ void __launch_bounds__(256) square_blocks(std::size_t count, const T* x, double* partial) {
  double sum = 0;
  const std::size_t first = std::size_t{blockIdx.x} * 4096;
  const std::size_t end = first + 4096 < count ? first + 4096 : count;
  for (std::size_t i = first + threadIdx.x; i < end; i += 256) {
    const auto v = static_cast<double>(to_float(x[i]));
    sum += v * v;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// A warp per row, eight rows a block.
template <int C, class T>
__global__ void __launch_bounds__(256)
    regression_rows(int rows, const T* prediction, const T* targets, const int* index, double beta, double weight,
                    T* dprediction, double* partial) {
  const int row = static_cast<int>(blockIdx.x) * 8 + static_cast<int>(threadIdx.x) / 32;
  double sum = 0;
  if (row < rows) {
    const bool counts = index[row] >= 0;
    const std::size_t at = static_cast<std::size_t>(row) * C,
                      target = static_cast<std::size_t>(counts ? index[row] : 0) * C;
    for (int c = static_cast<int>(threadIdx.x) % 32; c < C; c += 32) {
      const double u =
          static_cast<double>(to_float(prediction[at + c])) - static_cast<double>(to_float(targets[target + c]));
      const Loss loss = counts ? regression(u, beta) : Loss{};
      sum += loss.loss;
      put(dprediction[at + c], static_cast<float>(weight * loss.slope));
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <class T>
struct MomentsOf {
  const T* x;
  const int* index;
  int columns;
  __device__ void operator()(int row, int column, double* sum) const {
    const int from = index ? index[row] : row;
    if (from < 0) return;
    const auto v = static_cast<double>(to_float(x[static_cast<std::size_t>(from) * columns + column]));
    sum[0] += v;
    sum[1] += v * v;
  }
};

/// Leaves the sum of squares of `count` elements in *sum, on the device.
template <class T>
void squares_on_device(CudaContext& d, std::size_t count, const T* x, bool add, double* sum) {
  const auto blocks = static_cast<unsigned>((count + 4095) / 4096);
  auto* const partial = d.scratch<double>("sum_of_squares", blocks);
  d.launch("sum_of_squares", blocks, 256, 0, &square_blocks<T>, count, x, partial);
  d.launch("sum_of_squares", 1, 256, 0, &add_partials<1>, static_cast<int>(blocks), partial, add, sum);
}

}  // namespace detail::gpu

template <Precision P>
struct kernel::Reduce<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <class T>
  static double sum_of_squares(D& d, std::size_t count, const T* x) {
    double* const sum = d.sum_slots(1);
    detail::gpu::squares_on_device(d, count, x, d.adds_sums(), sum);
    return *d.returned_sums("sum_of_squares", sum, 1);
  }

  template <int C, class T>
  static double regression_loss(D& d, int rows, const T* prediction, const T* targets, const int* index, double beta,
                                double weight, T* dprediction) {
    constexpr const char* name = "regression_loss";
    const int blocks = (rows + 7) / 8;
    double* const sum = d.sum_slots(1);
    auto* const partial = d.template scratch<double>(name, static_cast<std::size_t>(blocks));
    d.launch(name, static_cast<unsigned>(blocks), 256, 0, &detail::gpu::regression_rows<C, T>, rows, prediction,
             targets, index, beta, weight, dprediction, partial);
    d.launch(name, 1, 256, 0, &detail::gpu::add_partials<1>, blocks, partial, d.adds_sums(), sum);
    return *d.returned_sums(name, sum, 1);
  }

  /// `sum` and `squares` are device memory.
  template <int C, class T>
  static void channel_moments(D& d, int rows, const T* x, const int* index, double* sum, double* squares) {
    detail::gpu::column_sums<2, double>(d, "channel_moments", rows, C, detail::gpu::MomentsOf<T>{x, index, C},
                                        detail::gpu::AddChunks<2, double, double>{nullptr, 0, 0, {sum, squares}});
  }
};

}  // namespace data2vec::inline v0
