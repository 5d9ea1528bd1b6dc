// SPDX-License-Identifier: MIT
// examples/vision/device_features.hpp on a GPU, in bfloat16, and examples/common/device_judging.hpp.
#include <memory>

#include <data2vec/cuda.cuh>

#include "examples/common/device_judging.hpp"
#include "examples/vision/device_features.hpp"

namespace demo {

ExtractFeatures device_features(std::span<const float> weights) {
  using Extractor = d2v::FeatureExtractor<Model, d2v::Cuda, 256>;
  constexpr std::size_t numbers = Extractor::sample_size, D = Extractor::D, S = Extractor::S;
  const auto extract = std::make_shared<Extractor>(weights);
  return [=](std::span<const float> now, const float* images, std::size_t n, Pool pool, int layer, float* out) {
    const std::span<const float> samples(images, n * numbers);
    extract->set_weights(now);
    if (pool == Pool::none) return extract->tokens(samples, {out, n * S * D}, layer);
    if (pool == Pool::cls) return extract->token(samples, 0, {out, n * D}, layer);
    const d2v::Grid parts{cells(pool), cells(pool)};
    extract->pool(samples, parts, {out, n * static_cast<std::size_t>(parts.size()) * D}, layer);
  };
}

DeviceJudging device_judging() {
  struct Parts {
    d2v::Cuda device;
    d2v::CudaKnnSearch search{device};
    d2v::CudaSoftmaxSums sums{device};
  };
  const auto on = std::make_shared<Parts>();
  DeviceJudging judging;
  judging.search = [=](const d2v::KnnQuestion& question, std::span<d2v::Neighbours> found) {
    on->search(question, found);
  };
  judging.sums.take = [=](const d2v::SoftmaxLayout& layout, std::span<const float> rows, std::span<const int> labels) {
    on->sums.take(layout, rows, labels);
  };
  judging.sums.add = [=](std::span<const double> theta, std::span<double> gradient) {
    return on->sums(theta, gradient);
  };
  judging.sums.covariance = [=](int dim, std::span<const float> rows) { return on->sums.covariance(dim, rows); };
  return judging;
}

}  // namespace demo
