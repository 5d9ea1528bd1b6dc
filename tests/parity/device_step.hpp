// SPDX-License-Identifier: MIT
// A step of a case on a GPU: what it reads and leaves lies in memory of the host, the rest is compiled by nvcc in a file
// of its own (device_step.cuh).
#pragma once

#include <cstddef>
#include <functional>

#include <data2vec/objective/loss_sums.hpp>

namespace data2vec::parity {

struct DeviceStep {
  const float *weights = nullptr, *teacher = nullptr;    ///< buffers of the model's parameters
  float* gradient = nullptr;                             ///< likewise, added to
  const void *samples = nullptr, *targets = nullptr;     ///< of the modality's type
  const float* noise = nullptr;                          ///< for the decoders; null: none
  LossWeights loss = {};
  double sample_size = 0;
  const int* indices = nullptr;                          ///< complete
  double* moments = nullptr;                             ///< added to
  std::function<void(const char*, int, const float*, std::size_t)> observe;
};

/// A step of branch `branch` of the case's model. Of a masked autoencoder's loss `regression` is the error. Throws
/// DeviceError. Defined by the second half of a program for a GPU.
LossSums device_step(int branch, const DeviceStep& step);

}  // namespace data2vec::parity
