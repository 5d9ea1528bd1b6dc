// SPDX-License-Identifier: MIT
// examples/vision/device_features.hpp on a GPU, in bfloat16.
#include <memory>

#include <data2vec/cuda.cuh>

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

}  // namespace demo
