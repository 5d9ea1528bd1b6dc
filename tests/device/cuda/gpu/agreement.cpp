// SPDX-License-Identifier: MIT
// A real device against the CPU: every operation, training, and features. Says so where there is no device.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/all.hpp>
#include <data2vec/evaluation/features.hpp>

#include "tests/device/cuda/cases_arrays.hpp"
#include "tests/device/cuda/cases_half.hpp"
#include "tests/device/cuda/cases_layers.hpp"
#include "tests/device/cuda/cases_sequences.hpp"
#include "tests/device/cuda/compare.hpp"
#include "tests/device/cuda/compare_traces.hpp"
#include "tests/device/cuda/gpu/groups.hpp"
#include "tests/device/cuda/probe_cases.hpp"
#include "tests/device/cuda/systems.hpp"

using data2vec::Cpu;

namespace {

bool no_device() {
  const std::string reason = cases::missing_device();
  if (!reason.empty()) MESSAGE("skipped: no CUDA device: ", reason);
  return !reason.empty();
}

template <class F>
cases::Results on_cpu(F&& make) {
  cases::HostSide<Cpu> cpu;
  return make(cpu);
}

}  // namespace

TEST_CASE("kernels on arrays agree with the CPU") {
  if (no_device()) return;
  cases::compare(on_cpu([](auto& side) { return cases::arrays(side); }), cases::arrays_on_device());
}
TEST_CASE("matrix products and norms agree with the CPU") {
  if (no_device()) return;
  cases::compare(on_cpu([](auto& side) { return cases::matrices(side); }), cases::matrices_on_device());
}
TEST_CASE("attention agrees with the CPU") {
  if (no_device()) return;
  cases::compare(on_cpu([](auto& side) { return cases::sequences(side); }), cases::sequences_on_device());
}
TEST_CASE("convolutions agree with the CPU") {
  if (no_device()) return;
  cases::compare(on_cpu([](auto& side) { return cases::grids(side); }), cases::grids_on_device());
}
TEST_CASE("kernels on bfloat16 agree with the CPU") {
  if (no_device()) return;
  cases::HostSide<Cpu> cpu;
  cases::compare(cases::halves<float>(cpu), cases::halves_on_device());
}
TEST_CASE("kernels of speech and text agree with the CPU, in fp32 and bfloat16") {
  if (no_device()) return;
  for (const bool half : {false, true})
    cases::compare(on_cpu([=](auto& side) { return cases::speech_and_text<float>(side, half); }),
                   cases::speech_and_text_on_device(half));
}
TEST_CASE("training in bfloat16 agrees with the CPU as far as bfloat16 goes") {
  if (no_device()) return;
  models::compare_roughly(models::train_on_cpu("wide", 4, 1), cases::train_on_device("wide", 4, 1));
  for (const std::string model : {"mae", "spoken", "written"})
    models::compare_roughly(models::train_on_cpu(model, 4, 1), cases::train_on_device(model + " in bf16", 4, 1));
}
TEST_CASE("training agrees with the CPU") {
  if (no_device()) return;
  for (const char* model : {"plain", "noisy", "skipping"})
    models::compare(models::train_on_cpu(model, 4, 1), cases::train_on_device(model, 4, 1), 1);
  models::compare(models::train_on_cpu("mae", 4, 1), cases::train_on_device("mae", 4, 1), 1, models::mae_key_biases);
  models::compare(models::train_on_cpu("spoken", 4, 1), cases::train_on_device("spoken", 4, 1), 1,
                  models::spoken_key_biases);
  models::compare(models::train_on_cpu("written", 4, 1), cases::train_on_device("written", 4, 1), 1,
                  models::written_key_biases);
}
TEST_CASE("training by the other systems agrees with the CPU") {
  if (no_device()) return;
  for (const char* model : {"guessing", "listening", "telling"})
    models::compare(models::train_system_on_cpu(model, 4, 1), cases::train_system_on_device(model, 4), 1,
                    models::systems_key_biases);
}
TEST_CASE("features agree with the CPU") {
  if (no_device()) return;
  using models::Plain;
  using F = data2vec::Features<Plain, models::batch>;
  std::vector<float> weights(data2vec::buffer_size<Plain::Parameters<float>>), samples;
  std::vector<std::uint32_t> ids;
  Plain::initialise(weights.data(), 3);
  models::fill(0, samples, ids);
  Cpu cpu;
  data2vec::Buffer<float> memory(data2vec::buffer_size<F::Workspace<float>>);
  data2vec::Buffer<int> indices(data2vec::buffer_size<F::Index>);
  const auto tokens = data2vec::features<Plain, models::batch>(
      cpu, data2vec::bind<Plain::Parameters<const float>>(weights.data()),
      data2vec::View<const float, models::batch, models::sample>{samples.data()},
      data2vec::bind<F::Workspace<float>>(memory.data()), data2vec::bind<F::Index>(indices.data()), 1);
  float expected[models::batch * F::D];
  F::mean_pool(cpu, tokens, expected);
  const auto found = cases::plain_features_on_device(weights, samples);
  REQUIRE(found.size() == std::size(expected));
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(static_cast<double>(found[i] - expected[i])) < cases::rounding(64 * 4, 4));
  }
}
TEST_CASE("neighbours and the linear probe agree with the CPU") {
  if (no_device()) return;
  cases::ProbeOnDevice probe;
  cases::compare_neighbours([&](const data2vec::KnnQuestion& question, std::span<data2vec::Neighbours> result) {
    probe.search(question, result);
  });
  cases::compare_sums(probe, 200'000);
  cases::compare_fits(probe);
}
