// SPDX-License-Identifier: MIT
// Neighbours and probes on a GPU for judge() (judging.hpp): compiled by nvcc in a file of its own.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include <data2vec/evaluation/neighbours.hpp>
#include <data2vec/evaluation/softmax_layout.hpp>

namespace demo {

namespace d2v = data2vec;

struct DeviceJudging {
  /// `search` of d2v::knn_predict.
  std::function<void(const d2v::KnnQuestion&, std::span<d2v::Neighbours>)> search;
  /// `sums` of d2v::LinearProbe::fit.
  struct Sums {
    std::function<void(const d2v::SoftmaxLayout&, std::span<const float>, std::span<const int>)> take;
    std::function<double(std::span<const double>, std::span<double>)> add;
    std::function<std::vector<double>(int, std::span<const float>)> covariance;
    double operator()(std::span<const double> theta, std::span<double> gradient) const { return add(theta, gradient); }
  } sums;
};

/// d2v::CudaKnnSearch and d2v::CudaSoftmaxSums. Throws DeviceError where there is no GPU, UsageError in a program that
/// was built without CUDA.
DeviceJudging device_judging();

}  // namespace demo
