// SPDX-License-Identifier: MIT
// The cases of bfloat16 on a real device.
#include "tests/device/cuda/cases_half.hpp"
#include "tests/device/cuda/gpu/device_side.cuh"

namespace cases {

Results halves_on_device() {
  DeviceSide side;
  return halves<__nv_bfloat16>(side);
}

}  // namespace cases
