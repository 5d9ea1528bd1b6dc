// SPDX-License-Identifier: MIT
// The step of bench/step.cpp on a GPU: compiled by nvcc in a file of its own (bench/device/step.cu).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace bench {

struct DeviceShare {
  std::string operation;
  int calls;       ///< per step
  double seconds;  ///< per step, with the gaps between kernels
};

struct DeviceWork {
  std::function<double()> run;                           ///< one step; returns the loss of the one before
  std::function<std::vector<DeviceShare>(int)> profile;  ///< the operations of so many further steps, not captured
  std::string gpu;
  std::size_t bytes = 0;  ///< device memory that the trainer took
};

/// Training on `samples`, of one batch: numbers, or tokens. Throws DeviceError or OptionError.
DeviceWork device_training(std::span<const float> samples, int batch, bool no_dropout);
DeviceWork device_training(std::span<const std::int32_t> samples, int batch, bool no_dropout);

/// What arithmetic it was compiled for: float32, tf32 or bfloat16.
const char* device_dtype();

}  // namespace bench
