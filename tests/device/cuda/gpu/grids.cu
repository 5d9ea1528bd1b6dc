// SPDX-License-Identifier: MIT
// The cases of convolutions on a real device; and their kernels for bfloat16 at the shapes of the published decoders.
#include "tests/device/cuda/cases_layers.hpp"
#include "tests/device/cuda/gpu/device_side.cuh"

namespace cases {

Results grids_on_device() {
  DeviceSide side;
  return grids(side);
}

template <data2vec::ConvShape S, class T>
void decoder(data2vec::Cuda& d, T* p) {
  device::grouped_conv<S>(d, 1, p, p, p, p);
  device::grouped_conv_input_gradient<S, Grad::accumulate>(d, 1, p, p, p);
  device::grouped_conv_weight_gradient<S>(d, 1, p, p, p, p);
}
void decoders(data2vec::Cuda& d, float* p, __nv_bfloat16* q) {
  decoder<data2vec::ConvShape{768, 768, 16, 3, 3, 14, 14}>(d, q);    // vision_base
  decoder<data2vec::ConvShape{1024, 1024, 16, 5, 5, 14, 14}>(d, p);  // vision_large
  decoder<data2vec::ConvShape{1280, 1024, 16, 5, 5, 16, 16}>(d, p);  // vision_huge14
}

}  // namespace cases
