// SPDX-License-Identifier: MIT
// The GPU's kernels on bfloat16, run on the device made of the host (host/), against the CPU's operations on floats.
#include <doctest/doctest.h>

#include <deque>

#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cuda/all.cuh>

#include "tests/device/cuda/cases_half.hpp"
#include "tests/device/cuda/compare.hpp"

using namespace data2vec;

float4 detail::gpu::shared[shared_elements];

namespace {

/// A device whose memory is the host's, for elements of any type.
template <class Device>
class AnySide {
 public:
  Device device;
  template <class T>
  T* in(const std::vector<T>& v) {
    auto& bytes = memory_.emplace_back((v.size() * sizeof(T) + 15) / 16);
    std::memcpy(bytes.data(), v.data(), v.size() * sizeof(T));
    return reinterpret_cast<T*>(bytes.data());
  }
  template <class T>
  std::vector<T> out(const T* p, std::size_t n) {
    return {p, p + n};
  }

 private:
  struct alignas(16) Sixteen {
    char bytes[16];
  };
  std::deque<std::vector<Sixteen>> memory_;
};

}  // namespace

TEST_CASE("kernels on bfloat16 agree with the CPU") {
  AnySide<Cpu> cpu;
  AnySide<Cuda> gpu;
  cases::compare(cases::halves<float>(cpu), cases::halves<__nv_bfloat16>(gpu));
}
