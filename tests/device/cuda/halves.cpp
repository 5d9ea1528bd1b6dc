// SPDX-License-Identifier: MIT
// The GPU's kernels on bfloat16, run on the device made of the host (host/), against the CPU's operations on floats.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cuda/all.cuh>

#include "tests/device/cuda/cases_half.hpp"
#include "tests/device/cuda/compare.hpp"

using namespace data2vec;

float4 detail::gpu::shared[shared_elements];

TEST_CASE("kernels on bfloat16 agree with the CPU") {
  cases::HostSide<Cpu> cpu;
  cases::HostSide<Cuda> gpu;
  cases::compare(cases::halves<float>(cpu), cases::halves<__nv_bfloat16>(gpu));
}
