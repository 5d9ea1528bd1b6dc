// SPDX-License-Identifier: MIT
// The cases of speech and text on a real device.
#include "tests/device/cuda/cases_sequences.hpp"
#include "tests/device/cuda/gpu/device_side.cuh"

namespace cases {

Results speech_and_text_on_device(bool half) {
  DeviceSide side;
  return half ? speech_and_text<__nv_bfloat16>(side, true) : speech_and_text<float>(side, false);
}

}  // namespace cases
