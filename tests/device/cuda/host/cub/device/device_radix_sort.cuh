// SPDX-License-Identifier: MIT
// The stable sort of the device made of the host.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <cuda_runtime.h>

namespace cub {

struct DeviceRadixSort {
  /// As cub's: without memory, says how much it wants.
  template <class K, class V>
  static cudaError_t SortPairs(void* memory, std::size_t& bytes, const K* keys, K* sorted, const V* values, V* order,
                               int count, int, int, cudaStream_t stream) {
    if (!memory) return bytes = 1000, cudaSuccess;
    if (bytes < 1000 || reinterpret_cast<std::uintptr_t>(memory) % 256 != 0) return cudaErrorInvalidValue;
    std::memset(memory, 0xFF, bytes);
    return host_device::put(stream, [=] {
      std::vector<int> places(static_cast<std::size_t>(count));
      std::iota(places.begin(), places.end(), 0);
      std::stable_sort(places.begin(), places.end(), [=](int a, int b) { return keys[a] < keys[b]; });
      for (int i = 0; i < count; ++i) {
        sorted[i] = keys[places[static_cast<std::size_t>(i)]];
        order[i] = values[places[static_cast<std::size_t>(i)]];
      }
    });
  }
};

}  // namespace cub
