// SPDX-License-Identifier: MIT
// Trainings on the CPU for tests of the device's: a file of its own, for no file includes both trainers.
#include "tests/device/cuda/host/train.hpp"

namespace models {

Trace train_on_cpu(const std::string& model, int steps, int accumulation) {
  if (model == "plain") return train<Plain>(steps, accumulation);
  if (model == "wide") return train<Wide>(steps, accumulation);
  if (model == "spoken") return train<Spoken>(steps, accumulation);
  if (model == "written") return train<Written>(steps, accumulation);
  if (model == "mae") return train<Mae>(steps, accumulation);
  if (model == "noisy") return train<Noisy>(steps, accumulation);
  return train<Skipping>(steps, accumulation);
}

}  // namespace models
