// SPDX-License-Identifier: MIT
// The device's features on the device made of the host (host/), against the CPU's.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <data2vec/device/cpu/all.hpp>
#include <data2vec/evaluation/cuda_features.cuh>

#include "tests/device/cuda/cases.hpp"
#include "tests/device/cuda/models.hpp"

using namespace models;

float4 data2vec::detail::gpu::shared[shared_elements];

namespace {

constexpr int count = 3;  // not a multiple of the batch, which is 2
constexpr std::size_t n = count;

template <class Model>
using SamplesOf = std::vector<SampleOf<typename Model::First::M, float>>;

template <class Model>
SamplesOf<Model> samples_of() {
  SamplesOf<Model> samples, more;
  std::vector<std::uint32_t> ids;
  fill<Model>(0, samples, ids);
  fill<Model>(1, more, ids);
  samples.insert(samples.end(), more.begin(), more.end());
  samples.resize(n * Model::First::M::sample_size);
  return samples;
}

/// Weights that are not as the reference starts them, lest norms and biases say nothing.
template <class Model>
std::vector<float> weights_of(std::uint32_t stream) {
  std::vector<float> weights(buffer_size<typename Model::template Parameters<float>>);
  Model::initialise(weights.data(), 3);
  const auto noise = cases::numbers(weights.size(), stream, 0.1f);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] += noise[i];
  return weights;
}

/// What the CPU makes of the same: tokens, and as `pooled(device, tokens, to)` pools them.
template <class Model, class Pooled>
std::vector<float> on_cpu(const std::vector<float>& weights, int layer, std::size_t width, Pooled&& pooled,
                          const int* lengths = nullptr) {
  using F = Features<Model, count>;
  using M = typename F::M;
  Cpu device;
  Buffer<float> memory(buffer_size<typename F::template Workspace<float>>);
  Buffer<int> indices(buffer_size<typename F::Index>);
  const auto samples = samples_of<Model>();
  const auto y = features<Model, count>(
      device, bind<typename Model::template Parameters<const float>>(weights.data()),
      View<const SampleOf<M, float>, count, M::sample_size>{samples.data()},
      bind<typename F::template Workspace<float>>(memory.data()), bind<typename F::Index>(indices.data()), layer,
      lengths);
  std::vector<float> out(n * width);
  pooled(device, y, out.data());
  return out;
}

/// Largest difference, in units of the largest feature; or of the norms.
double furthest(const std::vector<float>& expected, const std::vector<float>& found) {
  double most = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(expected[i] - found[i])));
    size = std::max(size, std::abs(static_cast<double>(expected[i])));
  }
  return most / size;
}
double apart(const std::vector<float>& expected, const std::vector<float>& found) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double a = static_cast<double>(expected[i]), b = static_cast<double>(found[i]);
    difference += (a - b) * (a - b);
    size += a * a;
  }
  return std::sqrt(difference / size);
}

template <class Model>
void check_layers() {
  using F = Features<Model, count>;
  constexpr std::size_t all = std::size_t{F::S} * F::D;
  const auto weights = weights_of<Model>(1), others = weights_of<Model>(2);
  const auto samples = samples_of<Model>();
  FeatureExtractor<Model, BasicCuda<Precision::fp32>, 2> exact(weights);
  FeatureExtractor<Model, BasicCuda<Precision::bf16>, 2> rough(weights);
  std::vector<float> found(n * all);
  const auto copied = [](Cpu&, auto y, float* to) { std::copy_n(y.data, y.size, to); };
  for (int layer = 0; layer <= F::last_layer; ++layer) {
    CAPTURE(layer);
    const auto expected = on_cpu<Model>(weights, layer, all, copied);
    exact.tokens(samples, found, layer);
    // Sums of 64 products or fewer, and a few of them behind each other.
    CHECK(furthest(expected, found) < cases::rounding(64 * 4));
    rough.tokens(samples, found, layer);
    // Some thirty roundings of 2^-9 in each of the blocks.
    CHECK(apart(expected, found) < std::sqrt(30.0 * (layer + 1)) / 512);
  }
  exact.set_weights(others);
  exact.tokens(samples, found);
  CHECK(furthest(on_cpu<Model>(others, F::last_layer, all, copied), found) < cases::rounding(64 * 4));
}

}  // namespace

TEST_CASE("features of every layer agree with the CPU's; in bfloat16 as far as that goes") {
  check_layers<Wide>();
  check_layers<Mae>();
}

TEST_CASE("one token, and means over parts of the grid, are the CPU's") {
  using F = Features<Wide, count>;
  const auto weights = weights_of<Wide>(1);
  const auto samples = samples_of<Wide>();
  FeatureExtractor<Wide, BasicCuda<Precision::fp32>, 2> extract(weights);
  for (const Grid parts : {Grid{1, 1}, Grid{2, 2}, Grid{3, 3}, Grid{5, 1}}) {  // of 4 x 4 tokens: uneven, and empty
    const std::size_t width = static_cast<std::size_t>(parts.size()) * F::D;
    std::vector<float> found(n * width);
    extract.pool(samples, parts, found, 1);
    const auto expected =
        on_cpu<Wide>(weights, 1, width, [&](Cpu& d, auto y, float* to) { F::pool(d, y, parts, to); });
    CHECK(furthest(expected, found) < cases::rounding(64 * 4));
  }
  std::vector<float> found(n * F::D);
  extract.token(samples, 0, found);
  const auto expected = on_cpu<Wide>(weights, F::last_layer, F::D, [](Cpu&, auto y, float* to) {
    for (int b = 0; b < count; ++b) std::copy_n(y[b].data, F::D, to + b * F::D);
  });
  CHECK(furthest(expected, found) < cases::rounding(64 * 4));
}

TEST_CASE("speech and text: means over stretches of what is no padding are the CPU's") {
  const auto check = []<class Model>(const std::vector<int>& lengths, Model) {
    using F = Features<Model, count>;
    const auto weights = weights_of<Model>(1);
    const auto samples = samples_of<Model>();
    FeatureExtractor<Model, BasicCuda<Precision::fp32>, 2> extract(weights);
    for (const int parts : {3, 1}) {
      const std::size_t width = static_cast<std::size_t>(parts) * F::D;
      std::vector<float> found(n * width);
      for (const auto& given : {std::vector<int>(), lengths}) {
        extract.pool_stretches(samples, parts, found, F::last_layer, given);
        const int* const to_cpu = given.empty() ? nullptr : given.data();
        const auto expected = on_cpu<Model>(
            weights, F::last_layer, width,
            [&](Cpu& d, auto y, float* to) { F::pool_stretches(d, y, parts, to, to_cpu); }, to_cpu);
        CHECK(furthest(expected, found) < cases::rounding(64 * 4));
      }
    }
  };
  check({400, 250, 33}, Spoken{});
  check({16, 7, 1}, Written{});
}

TEST_CASE("a graph is captured once, and batches of one kind allocate nothing") {
  using F = Features<Wide, count>;
  FeatureExtractor<Wide, BasicCuda<Precision::fp32>, 2> extract(weights_of<Wide>(1));
  const auto samples = samples_of<Wide>();
  std::vector<float> first(n * F::D), found(first);
  extract.pool(samples, {1, 1}, first);
  const auto nodes = extract.graph_nodes();
  CHECK(nodes > 10);
  const auto allocations = host_device::allocations;
  extract.pool(samples, {1, 1}, found);
  CHECK(host_device::allocations == allocations);
  CHECK(found == first);
  extract.pool(samples, {1, 1}, found, 1);
  CHECK(found != first);
}

TEST_CASE("what does not fit is refused with its numbers") {
  const auto weights = weights_of<Written>(1);
  FeatureExtractor<Written, BasicCuda<Precision::fp32>, 2> extract(weights);
  const auto says = [](auto&& f, const char* text) { CHECK_THROWS_WITH_AS(f(), text, OptionError); };
  const auto samples = samples_of<Written>();
  std::vector<float> out(n * 32);
  says([&] { extract.set_weights(std::span(weights).first(7)); },
       ("features: expected " + std::to_string(weights.size()) + " numbers of weights, found 7").c_str());
  says([&] { extract.pool_stretches(samples, 1, out, 3); }, "features: expected a layer between 0 and 2, found 3");
  says([&] { extract.pool_stretches(samples, 0, out); }, "features: expected one part or more, found 0");
  says([&] { extract.token(samples, 17, out); }, "features: expected a token between 0 and 16, found 17");
  says([&] { extract.pool_stretches(samples, 2, out); },
       "features: expected samples x 16 numbers, as many x 64 features and as many lengths or none, found 48, 96 and 0");
  const std::vector<int> lengths{16, 17, 3};
  says([&] { extract.pool_stretches(samples, 1, out, 2, lengths); },
       "features: expected lengths from 1 to 16, found 17");
}
