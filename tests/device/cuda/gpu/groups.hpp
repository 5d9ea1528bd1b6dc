// SPDX-License-Identifier: MIT
// The groups of cases on a real device, each compiled by nvcc in a file of its own.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <data2vec/evaluation/neighbours.hpp>
#include <data2vec/evaluation/softmax_layout.hpp>

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
models::Trace train_system_on_device(const std::string& model, int steps);
/// Features of models::Plain behind block 1, means of all tokens, in fp32.
std::vector<float> plain_features_on_device(const std::vector<float>& weights, const std::vector<float>& samples);

/// CudaKnnSearch and CudaSoftmaxSums.
class ProbeOnDevice {
 public:
  ProbeOnDevice();
  ~ProbeOnDevice();
  void search(const data2vec::KnnQuestion& question, std::span<data2vec::Neighbours> result);
  void take(const data2vec::SoftmaxLayout& layout, std::span<const float> x, std::span<const int> labels);
  double operator()(std::span<const double> theta, std::span<double> gradient);
  std::vector<double> covariance(int dim, std::span<const float> x);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace cases
