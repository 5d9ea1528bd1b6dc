// SPDX-License-Identifier: MIT
// The cases of attention on a real device; and its kernels for bfloat16 at ViT-B's shapes.
#include "tests/device/cuda/cases_layers.hpp"
#include "tests/device/cuda/gpu/device_side.cuh"

namespace cases {

Results sequences_on_device() {
  DeviceSide side;
  return sequences(side);
}

template <bool drops, class T>
void heads(data2vec::Cuda& d, T* p) {
  device::attention<12, 64, drops>(d, 1, 40, p, {}, p, p);
  device::attention_backward<12, 64, drops>(d, 1, 40, p, p, p, {}, p, p);
}
template void heads<true>(data2vec::Cuda&, __nv_bfloat16*);
template void heads<false>(data2vec::Cuda&, __nv_bfloat16*);
template void heads<true>(data2vec::Cuda&, float*);

}  // namespace cases
