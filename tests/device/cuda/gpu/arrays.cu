// SPDX-License-Identifier: MIT
// The cases of whole arrays on a real device; and their kernels for bfloat16.
#include "tests/device/cuda/cases_arrays.hpp"
#include "tests/device/cuda/gpu/device_side.cuh"

namespace cases {

std::string missing_device() { return data2vec::why_no_device(); }

Results arrays_on_device() {
  DeviceSide side;
  return arrays(side);
}

void arrays_in_half(data2vec::Cuda& d, __nv_bfloat16* p, const int* index, double* sums) {
  const data2vec::DropoutDraws draws;
  device::add(d, 8, p, p, p);
  device::gelu(d, 8, p, p);
  device::gelu_backward(d, 8, p, p, p, p);
  device::gather_rows<768>(d, 1, p, index, p);
  device::scatter_add_rows<768>(d, 1, p, index, p);
  device::dropout(d, 1, 8, draws, p, p);
  device::normal_noise(d, 1, 8, draws, p);
  device::adam(d, 8, {}, p, p, p, p);
  device::channel_moments<768>(d, 1, p, index, sums, sums);
  device::regression_loss<768>(d, 1, p, p, index, 0, 1, p);
  device::patches<3, data2vec::Extent{224}, data2vec::Extent{16}>(d, 1, p, p);
  device::cross_entropy<1000>(d, 1, p, index, 0, 1, nullptr, p);
}

}  // namespace cases
