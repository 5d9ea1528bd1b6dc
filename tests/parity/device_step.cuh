// SPDX-License-Identifier: MIT
// What device_step.hpp declares, for the models of a case, in fp32 or bfloat16.
#pragma once

#include <type_traits>
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
#include <data2vec/objective/wav2vec2.hpp>

#include "device_step.hpp"
#include "given_mask.hpp"

namespace data2vec::parity {

template <Precision P, class Model, int branch, int B>
LossSums run_device_step(const DeviceStep& step) {
  using Branch = typename Model::template BranchAt<branch>;
  using Number = typename BasicCuda<P>::Number;
  using Parameters = typename Model::template Parameters<Number>;
  using Sample = SampleOf<typename Branch::M, float>;
  using Samples = typename Branch::template Samples<Number, B>;
  using Workspace = typename Branch::template Workspace<Number, B>;
  using Indices = typename Branch::template Indices<B>;
  constexpr std::size_t size = buffer_size<Parameters>, numbers = std::size_t{B} * Branch::M::sample_size;
  constexpr std::size_t sums = std::size_t{Branch::moment_rows} * Branch::moment_width;
  BasicCuda<P> d({.deterministic = true});
  const auto upload = [&]<class T>(const T* from, std::size_t count) {
    DeviceBuffer<T> to(count, "case");
    d.copy("case", to.data(), from, count * sizeof(T));
    return to;
  };
  const auto convert = [&]<class From, class To>(const From* from, std::size_t count, To* to) {  // on the device
    if constexpr (std::is_same_v<From, To>) d.copy("case", to, from, count * sizeof(To));
    else detail::gpu::cast(d, from, count, to);
  };
  /// Uploads as numbers of the step.
  const auto take = [&]<class From>(const From* from, std::size_t count) {
    using To = std::conditional_t<std::is_same_v<From, float>, Number, From>;
    const auto given = upload(from, count);
    DeviceBuffer<To> to(count, "case");
    convert(given.data(), count, to.data());
    d.synchronize("case");
    return to;
  };
  auto weights = take(step.weights, size);
  auto teacher = take(step.teacher ? step.teacher : step.weights, size);
  auto gradient = take(static_cast<const float*>(step.gradient), size);
  auto samples = take(static_cast<const Sample*>(step.samples), numbers);
  auto targets = take(static_cast<const Sample*>(step.targets), numbers);
  auto indices = upload(static_cast<const int*>(step.indices), buffer_size<Indices>);
  auto moments = upload(static_cast<const double*>(step.moments), sums);
  const std::vector<std::uint32_t> zeros(B);
  auto ids = upload(zeros.data(), zeros.size());
  DeviceBuffer<Number> workspace(buffer_size<Workspace>, "case"), noise;
  std::vector<float> seen;
  const auto observe = [&](const char* name, int i, const Number* values, std::size_t count) {
    if constexpr (P != Precision::bf16) {  // of which only the outcome is compared
      seen.resize(count);
      d.copy(name, seen.data(), values, count * sizeof(float));
      d.synchronize(name);
      step.observe(name, i, seen.data(), count);
    }
  };
  const auto read = [](DeviceBuffer<Number>& buffer) {
    using Read = typename Model::template Parameters<const Number>;
    return Model::template weights<branch>(bind<Read>(static_cast<const Number*>(buffer.data())));
  };
  const Pass<BasicCuda<P>, true> pass{d, {0, 0, ids.data(), Branch::masks}, {}};
  const auto written = Model::template weights<branch>(bind<Parameters>(gradient.data()));
  const auto w = bind<Workspace>(workspace.data());
  const auto index = bind<Indices>(indices.data());
  LossSums result;
  if constexpr (requires { Branch::has_cls; }) {
    if (step.noise)
      noise = take(step.noise, std::size_t{B} * Branch::masks * Branch::filled * Branch::D *
                                   (Branch::has_shared ? 2 : 1));
    result = Branch::step(pass, read(weights), read(teacher), written, Samples{samples.data()}, Samples{targets.data()},
                          static_cast<const Number*>(step.noise ? noise.data() : nullptr), 0, step.loss,
                          step.sample_size, w, index, moments.data(), observe);
  } else if constexpr (requires { Branch::codebooks; }) {
    noise = take(step.noise, w.noise.size);
    d.copy("case", w.noise.data, noise.data(), w.noise.size * sizeof(Number));
    d.zero("case", d.deferred_sums(), Branch::loss_terms * sizeof(double));
    d.defer_sums();
    Branch::learn(pass, read(weights), written, Samples{samples.data()}, step.contrast, B * Branch::R, step.sample_size,
                  w, index, nullptr, observe);
    d.return_sums();
    d.copy("case", step.terms, d.deferred_sums(), Branch::loss_terms * sizeof(double));
    d.copy("case", step.indices, indices.data(), buffer_size<Indices> * sizeof(int));
  } else {
    const auto error = Branch::step(pass, read(weights), written, Samples{samples.data()}, step.sample_size, w, index,
                                    moments.data(), observe);
    result.regression = error.error;
    result.sample_size = error.sample_size;
  }
  DeviceBuffer<float> found(size, "case");
  convert(static_cast<const Number*>(gradient.data()), size, found.data());
  d.copy("case", step.gradient, found.data(), size * sizeof(float));
  d.copy("case", step.moments, moments.data(), sums * sizeof(double));
  d.synchronize("case");
  return result;
}

/// Branch 0 with B samples of the first number, ....
template <Precision P, class Model, int... B>
LossSums steps_in(int branch, const DeviceStep& step) {
  LossSums result;
  [&]<int... i>(std::integer_sequence<int, i...>) {
    (static_cast<void>(branch == i && (result = run_device_step<P, Model, i, B>(step), true)), ...);
  }(std::make_integer_sequence<int, sizeof...(B)>());
  return result;
}
template <class Model, int... B>
LossSums steps_on_device(int branch, const DeviceStep& step) {
  return steps_in<Precision::fp32, Model, B...>(branch, step);
}
template <class Model, int... B>
LossSums steps_in_bfloat16(int branch, const DeviceStep& step) {
  return steps_in<Precision::bf16, Model, B...>(branch, step);
}

}  // namespace data2vec::parity
