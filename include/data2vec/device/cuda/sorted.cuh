// SPDX-License-Identifier: MIT
// Sums of rows by target, where a target may be named more than once: places are sorted by target first (stable), so
// every sum has the order of the places and nothing is atomic.
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

/// Rows of x in the order of their targets: the first of a run adds the whole run, in order.
template <int C, int n, class T>
__global__ void add_runs(int count, Sorted sorted, float factor, const T* x, T* y) {
  const int first = static_cast<int>(blockIdx.x);
  const unsigned key = sorted.keys[first];
  if (key == no_target || (first > 0 && sorted.keys[first - 1] == key)) return;
  int end = first + 1;
  while (end < count && sorted.keys[end] == key) ++end;
  for (int c = static_cast<int>(threadIdx.x) * n; c < C; c += static_cast<int>(blockDim.x) * n) {
    T* const target = y + static_cast<std::size_t>(key) * C + c;
    float sum[n];
    load<n>(target, sum);
    for (int p = first; p < end; ++p) {
      float term[n];
      load<n>(x + static_cast<std::size_t>(sorted.places[p]) * C + c, term);
#pragma unroll
      for (int k = 0; k < n; ++k) sum[k] = fmaf(factor, term[k], sum[k]);
    }
    store<n>(target, sum);
  }
}

/// y[target(i)] += factor * x[i], rows of C, for i = 0 .. count - 1 in this order.
template <int C, class T, class Target>
void add_rows(CudaContext& d, const char* operation, int count, Target target, float factor, const T* x, T* y) {
  if (count == 0) return;
  const Sorted sorted =
      sort_places(d, operation, count, target, d.scratch<std::byte>(operation, sort_bytes(d, operation, count)));
  constexpr int n = row_pack<C, T>, threads = C / n >= 256 ? 256 : (C / n + 31) / 32 * 32;
  const auto grid = static_cast<unsigned>(count);
  if (aligned_to<n>(x, y))
    d.launch(operation, grid, threads, 0, &add_runs<C, n, T>, count, sorted, factor, x, y);
  else
    d.launch(operation, grid, threads, 0, &add_runs<C, 1, T>, count, sorted, factor, x, y);
}

}  // namespace data2vec::inline v0::detail::gpu
