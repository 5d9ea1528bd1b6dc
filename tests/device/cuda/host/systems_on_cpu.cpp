// SPDX-License-Identifier: MIT
// Trainings of the other systems on the CPU.
#include "tests/device/cuda/host/train.hpp"
#include "tests/device/cuda/systems.hpp"

namespace models {

Trace train_system_on_cpu(const std::string& model, int steps, int accumulation) {
  if (model == "guessing") return train<Guessing>(steps, accumulation);
  if (model == "listening") return train<Listening>(steps, accumulation);
  if (model == "looking") return train<Looking>(steps, accumulation);
  if (model == "telling") return train<Telling>(steps, accumulation);
  return train<Reading>(steps, accumulation);
}

}  // namespace models
