// SPDX-License-Identifier: MIT
// Features by a GPU for FeatureExtractor: compiled by nvcc in a file of its own (device/features.cu).
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "examples/vision/model.hpp"

namespace demo {

/// Features (n, width) of samples (n, sample_size): weights, samples, n, how to pool, layer, where to.
using ExtractFeatures = std::function<void(std::span<const float>, const float*, std::size_t, Pool, int, float*)>;

/// That by a d2v::FeatureExtractor<Model, d2v::Cuda, 256> made for a buffer of weights; other ones may follow. Throws
/// DeviceError where there is no GPU, UsageError in a program that was built without CUDA.
ExtractFeatures device_features(std::span<const float> weights);

/// Cells of the grid in height and in width whose means become the vector of an image.
constexpr int cells(Pool pool) { return pool == Pool::quarters ? 2 : pool == Pool::ninths ? 3 : 1; }

}  // namespace demo
