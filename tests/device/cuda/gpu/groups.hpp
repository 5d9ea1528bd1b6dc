// SPDX-License-Identifier: MIT
// The groups of cases on a real device, each compiled by nvcc in a file of its own.
#pragma once

#include <string>
#include <vector>

#include "tests/device/cuda/cases.hpp"
#include "tests/device/cuda/models.hpp"

namespace cases {

std::string missing_device();  ///< why there is none, or empty
Results arrays_on_device();
Results matrices_on_device();
Results sequences_on_device();
Results grids_on_device();
Results halves_on_device();
Results speech_and_text_on_device(bool half);
models::Trace train_on_device(const std::string& model, int steps, int accumulation);
/// Features of models::Plain behind block 1, means of all tokens, in fp32.
std::vector<float> plain_features_on_device(const std::vector<float>& weights, const std::vector<float>& samples);

}  // namespace cases
