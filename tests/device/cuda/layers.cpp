// SPDX-License-Identifier: MIT
// The GPU's kernels of layers, run on the device made of the host (host/), against the CPU's operations.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cuda/all.cuh>

#include "tests/device/cuda/cases_layers.hpp"
#include "tests/device/cuda/compare.hpp"

using namespace data2vec;

float4 detail::gpu::shared[shared_elements];

namespace {

template <class F>
void agree(F&& make) {
  cases::HostSide<Cpu> cpu;
  cases::HostSide<Cuda> gpu;
  cases::compare(make(cpu), make(gpu));
}

}  // namespace

TEST_CASE("matrix products and norms agree with the CPU") {
  agree([](auto& side) { return cases::matrices(side); });
}
TEST_CASE("attention agrees with the CPU") {
  agree([](auto& side) { return cases::sequences(side); });
}
TEST_CASE("convolutions agree with the CPU") {
  agree([](auto& side) { return cases::grids(side); });
}
