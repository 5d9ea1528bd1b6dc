// SPDX-License-Identifier: MIT
// bench/device_step.hpp in a build without CUDA.
#include "bench/device_step.hpp"

#include <data2vec/core/error.hpp>

namespace bench {

namespace {
[[noreturn]] void refuse() {
  throw data2vec::OptionError("--device: expected cpu, found cuda: this program was built without D2V_CUDA");
}
}  // namespace

DeviceWork device_training(std::span<const float>, int, bool) { refuse(); }
DeviceWork device_training(std::span<const std::int32_t>, int, bool) { refuse(); }
const char* device_dtype() { return "float32"; }

}  // namespace bench
