// SPDX-License-Identifier: MIT
// A step of a case on a GPU: what it reads and leaves lies in memory of the host, the rest is compiled by nvcc in a file
// of its own (device_step.cuh).
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <string>

#include <data2vec/core/parameter.hpp>
#include <data2vec/objective/step_options.hpp>

#include "support.hpp"

namespace data2vec::parity {

/// Where the steps of a case run.
enum class Where { cpu, device, device_in_bfloat16 };

struct DeviceStep {
  const float *weights = nullptr, *teacher = nullptr;    ///< buffers of the model's parameters
  float* gradient = nullptr;                             ///< likewise, added to
  const void *samples = nullptr, *targets = nullptr;     ///< of the modality's type
  const float* noise = nullptr;                          ///< for the decoders, or the quantiser's; null: none
  LossWeights loss = {};
  ContrastOptions contrast = {};
  double sample_size = 0;
  int* indices = nullptr;                                ///< complete; wav2vec 2.0 adds codes and candidates
  double* moments = nullptr;                             ///< added to
  double* terms = nullptr;                               ///< of wav2vec 2.0: what its losses leave on the device
  std::function<void(const char*, int, const float*, std::size_t)> observe;  ///< not called in bfloat16
};

/// A step of branch `branch` of the case's model. Of a masked autoencoder's loss `regression` is the error. Throws
/// DeviceError. Defined by the second half of a program for a GPU.
LossSums device_step(int branch, const DeviceStep& step);

/// What is compared of a step in bfloat16: the loss, and the direction of the gradient of all tensors together.
template <class Parameters>
void compare_in_bfloat16(const Case& c, Report& r, const std::string& loss, double found_loss,
                         const std::string& gradients, const float* gradient) {
  r.check_value(Quantity::rough_loss, loss, c.value(loss, 0), found_loss);
  double product = 0, expected = 0, found = 0;
  for (const TensorInfo& info : tensor_table<Parameters>) {
    const std::string name = gradients + std::string(info.name.view());
    if (!c.has(name)) continue;
    const auto reference = c.f32(name, info.size);
    for (std::size_t i = 0; i < info.size; ++i) {
      const auto a = static_cast<double>(reference[i]), b = static_cast<double>(gradient[info.offset + i]);
      product += a * b, expected += a * a, found += b * b;
    }
  }
  r.check_value(Quantity::gradient_cosine, gradients + "*", 1, product / std::sqrt(expected * found));
}

}  // namespace data2vec::parity
