// SPDX-License-Identifier: MIT
// What device_step.hpp declares, for the models of a case, in fp32.
#pragma once

#include <utility>
#include <vector>

#include <data2vec/decoder/conv1d.hpp>
#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/decoder/cross_attention.hpp>
#include <data2vec/decoder/pixel.hpp>
#include <data2vec/decoder/transformer.hpp>
#include <data2vec/device/cuda/all.cuh>
#include <data2vec/modality/speech.hpp>
#include <data2vec/modality/text.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/objective/data2vec2.hpp>
#include <data2vec/objective/mae.hpp>

#include "device_step.hpp"
#include "given_mask.hpp"

namespace data2vec::parity {

template <class Model, int branch, int B>
LossSums run_device_step(const DeviceStep& step) {
  using Branch = typename Model::template BranchAt<branch>;
  using Parameters = typename Model::template Parameters<float>;
  using Sample = SampleOf<typename Branch::M, float>;
  using Samples = typename Branch::template Samples<float, B>;
  using Workspace = typename Branch::template Workspace<float, B>;
  using Indices = typename Branch::template Indices<B>;
  constexpr std::size_t size = buffer_size<Parameters>, numbers = std::size_t{B} * Branch::M::sample_size;
  constexpr std::size_t sums = std::size_t{Branch::moment_rows} * Branch::moment_width;
  BasicCuda<Precision::fp32> d({.deterministic = true});
  const auto upload = [&]<class T>(const T* from, std::size_t count) {
    DeviceBuffer<T> to(count, "case");
    d.copy("case", to.data(), from, count * sizeof(T));
    return to;
  };
  auto weights = upload(step.weights, size);
  auto teacher = upload(step.teacher ? step.teacher : step.weights, size);
  auto gradient = upload(static_cast<const float*>(step.gradient), size);
  auto samples = upload(static_cast<const Sample*>(step.samples), numbers);
  auto targets = upload(static_cast<const Sample*>(step.targets), numbers);
  auto indices = upload(step.indices, buffer_size<Indices>);
  auto moments = upload(static_cast<const double*>(step.moments), sums);
  const std::vector<std::uint32_t> zeros(B);
  auto ids = upload(zeros.data(), zeros.size());
  DeviceBuffer<float> workspace(buffer_size<Workspace>, "case"), noise;
  std::vector<float> seen;
  const auto observe = [&](const char* name, int i, const float* values, std::size_t count) {
    seen.resize(count);
    d.copy(name, seen.data(), values, count * sizeof(float));
    d.synchronize(name);
    step.observe(name, i, seen.data(), count);
  };
  const auto read = [](DeviceBuffer<float>& buffer) {
    using Read = typename Model::template Parameters<const float>;
    return Model::template weights<branch>(bind<Read>(static_cast<const float*>(buffer.data())));
  };
  const Pass<BasicCuda<Precision::fp32>, true> pass{d, {0, 0, ids.data(), Branch::masks}, {}};
  const auto written = Model::template weights<branch>(bind<Parameters>(gradient.data()));
  const auto w = bind<Workspace>(workspace.data());
  const auto index = bind<Indices>(indices.data());
  LossSums result;
  if constexpr (requires { Branch::has_cls; }) {
    if (step.noise)
      noise = upload(step.noise, std::size_t{B} * Branch::masks * Branch::filled * Branch::D *
                                     (Branch::has_shared ? 2 : 1));
    result = Branch::step(pass, read(weights), read(teacher), written, Samples{samples.data()}, Samples{targets.data()},
                          static_cast<const float*>(step.noise ? noise.data() : nullptr), 0, step.loss,
                          step.sample_size, w, index, moments.data(), observe);
  } else {
    const auto error = Branch::step(pass, read(weights), written, Samples{samples.data()}, step.sample_size, w, index,
                                    moments.data(), observe);
    result.regression = error.error;
    result.sample_size = error.sample_size;
  }
  d.copy("case", step.gradient, gradient.data(), size * sizeof(float));
  d.copy("case", step.moments, moments.data(), sums * sizeof(double));
  d.synchronize("case");
  return result;
}

/// Branch 0 with B samples of the first number, ....
template <class Model, int... B>
LossSums device_steps(int branch, const DeviceStep& step) {
  LossSums result;
  [&]<int... i>(std::integer_sequence<int, i...>) {
    (static_cast<void>(branch == i && (result = run_device_step<Model, i, B>(step), true)), ...);
  }(std::make_integer_sequence<int, sizeof...(B)>());
  return result;
}

}  // namespace data2vec::parity
