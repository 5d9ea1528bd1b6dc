// SPDX-License-Identifier: MIT
// Sums of rows by target, where a target may be named more than once: places are sorted by target first (stable), so
// every sum has the order of the places, or is made of a few interleaved ones that have it, and nothing is atomic.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>

#include <cub/device/device_radix_sort.cuh>

#include <data2vec/device/cuda/cuda.cuh>
#include <data2vec/device/cuda/element.cuh>

namespace data2vec::inline v0::detail::gpu {

/// Places 0 .. count - 1 in the order of their keys.
struct Sorted {
  const unsigned* keys;
  const int* places;
};
inline constexpr unsigned no_target = INT_MAX;  ///< key of a place that belongs to none: behind all others

/// target(place), an int; negative: none.
template <class Target>
struct SortKeys {
  Target target;
  unsigned* keys;
  int* places;
  __device__ void operator()(std::size_t i) const {
    const int t = target(static_cast<int>(i));
    keys[i] = t < 0 ? no_target : static_cast<unsigned>(t);
    places[i] = static_cast<int>(i);
  }
};

inline std::size_t cub_sort_bytes(CudaContext& d, const char* operation, int count) {
  std::size_t bytes = 0;
  unsigned* none = nullptr;
  int* nowhere = nullptr;
  check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, none, none, nowhere, nowhere, count, 0, 31, d.stream()),
        operation);
  return bytes;
}
/// Bytes that `sort_places` needs.
inline std::size_t sort_bytes(CudaContext& d, const char* operation, int count) {
  return 4 * sizeof(int) * static_cast<std::size_t>(count) + cub_sort_bytes(d, operation, count) + 256;
}

/// Sorts the places by target; `memory` holds the result.
template <class Target>
Sorted sort_places(CudaContext& d, const char* operation, int count, Target target, std::byte* memory) {
  const auto size = static_cast<std::size_t>(count);
  auto *const keys = reinterpret_cast<unsigned*>(memory), *const sorted = keys + size;
  auto *const places = reinterpret_cast<int*>(sorted + size), *const order = places + size;
  auto* rest = reinterpret_cast<std::byte*>(order + size);  // cub wants an address it can divide by 256
  rest += (256 - reinterpret_cast<std::uintptr_t>(rest) % 256) % 256;
  std::size_t temporary = cub_sort_bytes(d, operation, count);
  d.for_each(operation, size, SortKeys<Target>{target, keys, places});
  check(cub::DeviceRadixSort::SortPairs(rest, temporary, keys, sorted, places, order, count, 0, 31, d.stream()),
        operation);
  return {sorted, order};
}

/// One behind the last place of the run of equal keys that begins at `first`.
__device__ inline int run_end(const unsigned* keys, int first, int count) {
  int low = first, high = count;  // keys[low] is the run's, keys[high] is not
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    (keys[middle] == keys[first] ? low : high) = middle;
  }
  return high;
}

/// Rows of x in the order of their targets: the first of a run adds the whole run. All threads share a long one, every
/// group of them its rows (a token of its own in thousands of rows).
template <int C, int n, class T>
__global__ void __launch_bounds__(256) add_runs(int count, Sorted sorted, float factor, const T* x, T* y) {
  constexpr int lanes = C / n < 256 ? C / n : 256, groups = 256 / lanes;
  const int first = static_cast<int>(blockIdx.x);
  const unsigned key = sorted.keys[first];
  if (key == no_target || (first > 0 && sorted.keys[first - 1] == key)) return;
  const int end = run_end(sorted.keys, first, count), lane = static_cast<int>(threadIdx.x) % lanes;
  const int used = end - first > 64 ? groups : 1, group = static_cast<int>(threadIdx.x) / lanes;
  static __shared__ float part[256 * n];
  if (group >= used && used == 1) return;
  for (int c = lane * n; c < C; c += lanes * n) {
    T* const target = y + static_cast<std::size_t>(key) * C + c;
    float sum[n] = {};
    if (group == 0) load<n>(target, sum);
    for (int p = first + group; p < end && group < used; p += used) {
      float term[n];
      load<n>(x + static_cast<std::size_t>(sorted.places[p]) * C + c, term);
#pragma unroll
      for (int k = 0; k < n; ++k) sum[k] = fmaf(factor, term[k], sum[k]);
    }
    if (used > 1) {
      for (int k = 0; k < n; ++k) part[threadIdx.x * n + k] = sum[k];
      __syncthreads();
      for (int g = 1; g < used && group == 0; ++g)
        for (int k = 0; k < n; ++k) sum[k] += part[(g * lanes + lane) * n + k];
    }
    if (group == 0) store<n>(target, sum);
  }
}

/// y[target(i)] += factor * x[i], rows of C, for i = 0 .. count - 1.
template <int C, class T, class Target>
void add_rows(CudaContext& d, const char* operation, int count, Target target, float factor, const T* x, T* y) {
  if (count == 0) return;
  const Sorted sorted =
      sort_places(d, operation, count, target, d.scratch<std::byte>(operation, sort_bytes(d, operation, count)));
  constexpr int n = row_pack<C, T>;
  const auto grid = static_cast<unsigned>(count);
  if (aligned_to<n>(x, y))
    d.launch(operation, grid, 256, 0, &add_runs<C, n, T>, count, sorted, factor, x, y);
  else
    d.launch(operation, grid, 256, 0, &add_runs<C, 1, T>, count, sorted, factor, x, y);
}

}  // namespace data2vec::inline v0::detail::gpu
