// SPDX-License-Identifier: MIT
// The side of a real device for tests/device/cuda/cases.hpp, and what the groups of cases are called by.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <data2vec/device/cuda/all.cuh>

#include "tests/device/cuda/gpu/groups.hpp"

namespace cases {

class DeviceSide {
 public:
  data2vec::Cuda device{{.check_each = true}};

  template <class T>
  T* in(const std::vector<T>& v) {
    void* memory = data2vec::detail::gpu::allocate_device(v.size() * sizeof(T) + 16, "test");
    memory_.emplace_back(memory);
    device.copy("test", memory, v.data(), v.size() * sizeof(T));
    device.synchronize("test");
    return static_cast<T*>(memory);
  }
  template <class T>
  std::vector<std::remove_const_t<T>> out(T* p, std::size_t n) {
    std::vector<std::remove_const_t<T>> v(n);
    device.copy("test", v.data(), p, n * sizeof(T));
    device.synchronize("test");
    return v;
  }

 private:
  struct Release {
    void operator()(void* p) const { cudaFree(p); }
  };
  std::vector<std::unique_ptr<void, Release>> memory_;
};

}  // namespace cases
