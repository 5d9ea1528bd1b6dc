// SPDX-License-Identifier: MIT
// Neighbours and the probe's sums on a real device.
#include <data2vec/evaluation/cuda_probe.cuh>

#include "tests/device/cuda/gpu/groups.hpp"

namespace cases {

struct ProbeOnDevice::Parts {
  data2vec::Cuda device{{.check_each = true}};
  data2vec::CudaKnnSearch search{device};
  data2vec::CudaSoftmaxSums sums{device};
};

ProbeOnDevice::ProbeOnDevice() : parts_(std::make_unique<Parts>()) {}
ProbeOnDevice::~ProbeOnDevice() = default;
void ProbeOnDevice::search(const data2vec::KnnQuestion& question, std::span<data2vec::Neighbours> result) {
  parts_->search(question, result);
}
void ProbeOnDevice::take(const data2vec::SoftmaxLayout& layout, std::span<const float> x, std::span<const int> labels) {
  parts_->sums.take(layout, x, labels);
}
double ProbeOnDevice::operator()(std::span<const double> theta, std::span<double> gradient) {
  return parts_->sums(theta, gradient);
}
std::vector<double> ProbeOnDevice::covariance(int dim, std::span<const float> x) {
  return parts_->sums.covariance(dim, x);
}

}  // namespace cases
