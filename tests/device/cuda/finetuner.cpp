// SPDX-License-Identifier: MIT
// The device's fine-tuner on the device made of the host (host/), against the CPU's, step for step.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <data2vec/device/cpu/all.hpp>
#include <data2vec/finetune/cuda_finetuner.cuh>
#include <data2vec/finetune/finetuner.hpp>

#include "tests/device/cuda/models.hpp"

using namespace models;

float4 data2vec::detail::gpu::shared[shared_elements];

namespace {

constexpr int size = 4, classes = 3;
inline constexpr ClassifierConfig head{.num_classes = classes, .use_fc_norm = true, .drop_path = true};
using OnCpu = FineTuner<Wide, head, Cpu, size>;
template <Precision P>
using OnDevice = FineTuner<Wide, head, BasicCuda<P>, size>;

FineTunerOptions options() {
  FineTunerOptions o = FineTunerOptions::of<Wide>(0.2);
  o.schedule = ConstantSchedule{3e-3};
  o.optimizer.clip_norm = 1;
  o.layer_decay = 0.7;
  o.label_smoothing = 0.1;
  o.freeze_finetune_updates = 1;
  o.threads = 1;
  return o;
}

struct Data {
  std::vector<float> samples, soft;
  std::vector<std::uint32_t> ids;
  std::vector<std::int32_t> labels;
  explicit Data(int step, int n) {
    for (int b = 0; b < n; ++b) {
      ids.push_back(static_cast<std::uint32_t>(10 * step + b));
      labels.push_back((step + b) % classes);
      for (int k = 0; k < classes; ++k) soft.push_back(k == labels.back() ? 0.6f : 0.2f);
      for (int i = 0; i < sample; ++i) samples.push_back(static_cast<float>(std::sin(0.7 * ids.back() + 0.3 * i)));
    }
  }
  LabelledBatch<float> hard_batch() const { return {samples, ids, labels, {}}; }
  LabelledBatch<float> soft_batch() const { return {samples, ids, {}, soft}; }
};

struct State {
  std::vector<float> weights = std::vector<float>(OnCpu::size), m = weights, v = weights;
  std::int64_t updates = 0;
  TrainingState buffers() { return {weights.data(), nullptr, m.data(), v.data(), &updates}; }
};

double furthest(std::span<const float> a, std::span<const float> b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(static_cast<double>(a[i] - b[i])));
  return most;
}

template <Precision P>
void compare(double tolerance, double most_apart) {
  OnCpu expected(options());
  OnDevice<P> found(options());
  State state;
  for (int i = 0; i < 5; ++i) {
    CAPTURE(i);
    const Data data(i, i == 2 ? 3 : size);
    const auto given = i == 3 ? data.soft_batch() : data.hard_batch();
    const FineTuneReport a = expected.step(given), b = found.step(given);
    CHECK(std::abs(a.loss - b.loss) < tolerance * a.loss);
    CHECK(std::abs(a.gradient_norm - b.gradient_norm) < tolerance * a.gradient_norm);
    CHECK(a.accuracy == b.accuracy);
    CHECK(a.frozen == b.frozen);
    CHECK(b.updated);
    CHECK(b.update == i);
    found.read_state(state.buffers());
    CHECK(furthest(expected.weights(), state.weights) < most_apart * (i + 1));
  }
  const Data data(9, 6);  // not a multiple of the batch
  std::vector<float> a(6 * classes), b(a);
  expected.logits(data.samples, a);
  found.logits(data.samples, b);
  CHECK(furthest(a, b) < 20 * tolerance);
  State other;
  found.write_state(state.buffers());
  found.read_state(other.buffers());
  CHECK(other.weights == state.weights);
  CHECK(other.updates == 5);
}

}  // namespace

TEST_CASE("fine-tuning on the device agrees with the CPU, step for step") {
  compare<Precision::fp32>(1e-4, 6e-3);  // a learning rate of 3e-3: Adam may turn where the gradient is rounding
}
TEST_CASE("fine-tuning in bfloat16 agrees with the CPU as far as bfloat16 goes") { compare<Precision::bf16>(0.03, 6e-3); }
TEST_CASE("a batch that does not fit is refused with the numbers") {
  OnDevice<Precision::fp32> tuner(options());
  const Data many(0, size + 1), one(0, 1);
  CHECK_THROWS_WITH_AS(tuner.step(many.hard_batch()), "fine-tuning: expected 1 to 4 samples, found 5", OptionError);
  auto wrong = one.hard_batch();
  const std::vector<std::int32_t> label{7};
  wrong.labels = label;
  CHECK_THROWS_WITH_AS(tuner.step(wrong), "fine-tuning: expected labels from 0 to 2, found 7", OptionError);
}
