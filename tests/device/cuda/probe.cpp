// SPDX-License-Identifier: MIT
// Neighbours and the linear probe on the device made of the host (host/), against the CPU's.
#include <doctest/doctest.h>

#include <vector>

#include <data2vec/device/cuda/all.cuh>
#include <data2vec/evaluation/cuda_probe.cuh>

#include "tests/device/cuda/probe_cases.hpp"

using namespace data2vec;

float4 data2vec::detail::gpu::shared[shared_elements];

TEST_CASE("nearest neighbours of the device are the CPU's, ties included") {
  Cuda device;
  cases::compare_neighbours(CudaKnnSearch(device));
}

TEST_CASE("the probe's sums on the device are the CPU's, whatever the number of classes and rows") {
  Cuda device;
  CudaSoftmaxSums sums(device);
  cases::compare_sums(sums, 66'000);
}

TEST_CASE("a probe fitted on the device is the CPU's") {
  Cuda device;
  CudaSoftmaxSums sums(device);
  cases::compare_fits(sums);
}

TEST_CASE("what is no number is no neighbour before all others are") {
  Cuda device;
  CudaKnnSearch search(device);
  const float most = 3e38f;
  const std::vector<float> train{most, 1, 2}, test{1}, offset{0, 0, 0}, spoilt{most, -most, 1};
  std::vector<Neighbours> found(1);
  search({train, test, offset, 1, 3}, found);
  CHECK(found[0].found == std::vector<std::pair<float, int>>{{most, 0}, {2, 2}, {1, 1}});
  const std::vector<float> overflows{10, 10, 10};  // inf - inf in the first row, dim 3
  found.assign(1, {});
  search({spoilt, overflows, std::vector<float>{0}, 3, 1}, found);
  CHECK(found[0].found.size() == 1);
}
