// SPDX-License-Identifier: MIT
// The device's trainer on the device made of the host (host/), against the CPU's trainer.
#include <doctest/doctest.h>

#include <data2vec/cuda.cuh>

#include "tests/device/cuda/compare_traces.hpp"
#include "tests/device/cuda/trace.hpp"

using namespace models;

float4 data2vec::detail::gpu::shared[shared_elements];

TEST_CASE("training agrees with the CPU, step for step") {
  compare(train_on_cpu("plain", 4, 1), trace<Plain>(4, 1), 1);
}
TEST_CASE("training with all kinds of dropout agrees with the CPU, with micro-batches too") {
  compare(train_on_cpu("noisy", 4, 1), trace<Noisy>(4, 1), 1);
  compare(train_on_cpu("noisy", 4, 2), trace<Noisy>(4, 2), 2);
}
TEST_CASE("training in bfloat16 agrees with the CPU as far as bfloat16 goes") {
  compare_roughly(train_on_cpu("wide", 4, 1), trace<Wide, Precision::bf16>(4, 1));
}
TEST_CASE("a masked autoencoder's training agrees with the CPU, with micro-batches too; in bfloat16 as far as that goes") {
  compare(train_on_cpu("mae", 4, 1), trace<Mae>(4, 1), 1, mae_key_biases);
  compare(train_on_cpu("mae", 4, 2), trace<Mae>(4, 2), 2, mae_key_biases);
  compare_roughly(train_on_cpu("mae", 4, 1), trace<Mae, Precision::bf16>(4, 1));
}
TEST_CASE("training of speech agrees with the CPU; in bfloat16 as far as that goes") {
  compare(train_on_cpu("spoken", 4, 1), trace<Spoken>(4, 1), 1, spoken_key_biases);
  compare_roughly(train_on_cpu("spoken", 4, 1), trace<Spoken, Precision::bf16>(4, 1));
}
TEST_CASE("training of text agrees with the CPU; in bfloat16 as far as that goes") {
  compare(train_on_cpu("written", 4, 1), trace<Written>(4, 1), 1, written_key_biases);
  compare_roughly(train_on_cpu("written", 4, 1), trace<Written, Precision::bf16>(4, 1));
}
TEST_CASE("training with layer drop agrees with the CPU") {
  compare(train_on_cpu("skipping", 4, 1), trace<Skipping>(4, 1), 1);
}

namespace {

struct Data {
  std::vector<float> samples;
  std::vector<std::uint32_t> ids;
  explicit Data(int step) { fill(step, samples, ids); }
  Batch<float> batch() const { return {samples, ids}; }
};

struct State {
  std::vector<float> weights = std::vector<float>(buffer_size<Noisy::Parameters<float>>), teacher = weights,
                     m = weights, v = weights;
  std::int64_t updates = 0;
  TrainingState buffers() { return {weights.data(), teacher.data(), m.data(), v.data(), &updates}; }
};

}  // namespace

TEST_CASE("a step that is submitted waits for nothing and allocates nothing; reports come in order") {
  Trainer<Noisy, Fp32, batch> waiting(options_of<Noisy>(1)), running(options_of<Noisy>(1));
  std::vector<StepReport> reports;
  for (int i = 0; i < 6; ++i) reports.push_back(waiting.step(Data(i).batch()));
  CHECK(waiting.graph_nodes() > 100);
  running.submit(Data(0).batch());
  running.submit(Data(1).batch());
  CHECK_THROWS_AS(running.submit(Data(2).batch()), OptionError);
  for (int i = 2; i < 6; ++i) {
    CHECK(numbers_of(running.fetch()) == numbers_of(reports[static_cast<std::size_t>(i - 2)]));
    const auto allocations = host_device::allocations;
    const auto waits = host_device::waits;
    running.submit(Data(i).batch());
    CHECK(host_device::allocations == allocations);
    CHECK(host_device::waits == waits);
  }
  CHECK_THROWS_AS(running.read_state(State().buffers()), OptionError);
  running.fetch();
  CHECK(running.fetch().update == 5);
  CHECK_THROWS_AS(running.fetch(), OptionError);
  State a, b;
  waiting.read_state(a.buffers());
  running.read_state(b.buffers());
  CHECK(a.weights == b.weights);
  CHECK(a.teacher == b.teacher);
  CHECK(b.updates == 6);
}

TEST_CASE("a gradient that is not finite changes nothing; state goes elsewhere and on to the bit") {
  Trainer<Noisy, Fp32, batch> one(options_of<Noisy>(1)), other(options_of<Noisy>(1));
  one.step(Data(0).batch());
  one.step(Data(1).batch());
  State before, after;
  one.read_state(before.buffers());
  Data broken(2);
  broken.samples[5] = std::numeric_limits<float>::quiet_NaN();
  const StepReport report = one.step(broken.batch());
  CHECK(report.skipped);
  CHECK(!report.updated);
  CHECK(one.updates() == 2);
  one.read_state(after.buffers());
  CHECK(before.weights == after.weights);
  CHECK(before.teacher == after.teacher);
  CHECK(before.v == after.v);
  other.write_state(before.buffers());
  one.step(Data(3).batch());
  other.step(Data(3).batch());
  one.read_state(before.buffers());
  other.read_state(after.buffers());
  CHECK(before.weights == after.weights);
  CHECK(before.updates == after.updates);
}

TEST_CASE("what does not fit is refused with its numbers") {
  const auto says = [](auto&& f, const char* text) {
    try {
      f();
    } catch (const Error& e) {
      CAPTURE(e.what());
      CHECK(std::string(e.what()).find(text) != std::string::npos);
      return;
    }
    FAIL_CHECK("nothing was thrown");
  };
  Trainer<Plain, Fp32, batch> trainer(options_of<Plain>(1));
  const std::vector<float> samples(3 * sample);
  const std::vector<std::uint32_t> ids(3);
  says([&] { trainer.step({samples, ids}); }, "expected 2 samples, found 3");
  says([&] { trainer.step({samples, std::span(ids).first(2)}); }, "expected 128 numbers, found 192");
  const auto memory = std::exchange(host_device::memory, std::size_t{1} << 18);
  says([&] { Trainer<Plain, Fp32, batch>{TrainerOptions{}}; }, "expected");
  host_device::memory = memory;
  host_device::devices = 0;
  says([&] { Cuda{}; }, "expected a device below 0, found 0");
  CHECK(why_no_device() == "no CUDA device was found");
  host_device::devices = 1;
  host_device::major = 7;
  says([&] { Cuda{}; }, "expected compute capability 8.0 or later, found 7.0");
  host_device::major = 9;
}
