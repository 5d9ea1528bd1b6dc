// SPDX-License-Identifier: MIT
// Trainings of the other systems on a real device.
#include "tests/device/cuda/gpu/groups.hpp"
#include "tests/device/cuda/systems.hpp"
#include "tests/device/cuda/trace.hpp"

namespace cases {

models::Trace train_system_on_device(const std::string& model, int steps) {
  if (model == "guessing") return models::trace<models::Guessing>(steps, 1);
  if (model == "telling") return models::trace<models::Telling>(steps, 1);
  return models::trace<models::Listening>(steps, 1);
}

}  // namespace cases
