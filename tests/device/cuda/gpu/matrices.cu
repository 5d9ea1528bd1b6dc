// SPDX-License-Identifier: MIT
// The cases of matrix products and norms on a real device; and their kernels for TF32 and bfloat16.
#include "tests/device/cuda/cases_layers.hpp"
#include "tests/device/cuda/gpu/device_side.cuh"

namespace cases {

Results matrices_on_device() {
  DeviceSide side;
  return matrices(side);
}

template <class D, class T>
void block(D& d, int rows, T* p) {
  device::linear_gelu<768, 3072>(d, rows, p, p, p, p, p);
  device::linear_input_gradient<3072, 768, Grad::accumulate>(d, rows, p, p, p);
  device::linear_weight_gradient<3072, 768>(d, rows, p, p, p, p);
  device::layer_norm<768>(d, rows, p, p, p, 1e-6, p, p);
  device::layer_norm_backward<768>(d, rows, p, p, p, p, p, p, p);
  device::layer_norm<1280>(d, rows, p, p, p, 1e-6, p, p);
  device::layer_norm_backward<1280>(d, rows, p, p, p, p, p, p, p);
  device::norm_gelu<1024>(d, rows, p, 1e-6, p, p, p);
  device::norm_gelu_backward<1024>(d, rows, p, p, p, p);
  device::standardise_channels<768>(d, 1, rows, 1e-6, p);
}
template void block(data2vec::Cuda&, int, __nv_bfloat16*);
template void block(data2vec::BasicCuda<data2vec::Precision::tf32>&, int, float*);

}  // namespace cases
