// SPDX-License-Identifier: MIT
// What every system on images must do through the trainer, the loop, checkpoints, features and fine-tuning.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <unistd.h>

#include <data2vec/evaluation/features.hpp>
#include <data2vec/finetune/checkpoint.hpp>
#include <data2vec/finetune/encoder_file.hpp>
#include <data2vec/finetune/finetuner.hpp>
#include <data2vec/training/loop.hpp>

#include <tests/training/support.hpp>

namespace whole_run {

using namespace data2vec;
using training_support::copy;
using training_support::same_bits;
using training_support::Samples;
using training_support::waves;

struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / ("data2vec_system_" + std::to_string(::getpid()))).string();
  Folder() { std::filesystem::remove_all(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

/// Batches of 16 of 64 waves, a function of the update.
template <class Trainer>
struct Source {
  Trainer& trainer;
  Samples samples;
  Batch<float> operator()() {
    samples = waves(16, static_cast<std::uint32_t>(trainer.updates() % 4) * 16);
    return samples.batch();
  }
};

/// Training learns: the loss of the last of `updates` is below `factor` times that of the first.
template <class Model>
void expect_learns(const TrainerOptions& options, int updates, double factor) {
  static_assert(Objective<Model>);
  Trainer<Model, Cpu> trainer(options);
  Source<Trainer<Model, Cpu>> source{trainer, {}};
  double first = 0, last = 0;
  for (int i = 0; i < updates; ++i) {
    const StepReport report = trainer.step(source());
    REQUIRE(report.updated);
    (i == 0 ? first : last) = report.loss;
  }
  INFO("first loss ", first, ", last ", last);
  CHECK(last < factor * first);
}

/// The same bits for any number of threads; micro-batches of whole units are the large batch.
template <class Model>
void expect_same_bits(TrainerOptions options) {
  options.threads = 1;
  Trainer<Model, Cpu> one(options);
  options.threads = 3;
  Trainer<Model, Cpu> three(options);
  options.accumulation = 2;
  Trainer<Model, Cpu> halves(options);
  constexpr int half = Trainer<Model, Cpu>::unit_samples;
  const auto n = static_cast<std::size_t>(half);
  for (std::uint32_t i = 0; i < 3; ++i) {
    const Samples whole = waves(2 * n, i * 100);
    one.step(whole.batch());
    three.step(whole.batch());
    const std::span<const float> values = whole.values;
    const std::span<const std::uint32_t> ids = whole.ids;
    halves.step({values.first(n * training_support::pixels), ids.first(n)});
    halves.step({values.subspan(n * training_support::pixels), ids.subspan(n)});
  }
  CHECK(same_bits(one.weights(), three.weights()));
  // A batch whose size is known only afterwards is divided by it at the end: then bits may differ in rounding.
  if constexpr (!Model::First::positions_vary) CHECK(same_bits(one.weights(), halves.weights()));
}

/// Stopped and resumed, a training ends where it would have; its encoder goes on to features and fine-tuning.
template <class Model>
void expect_goes_on(const TrainerOptions& options) {
  using Train = Trainer<Model, Cpu>;
  const Folder folder;
  const volatile std::sig_atomic_t never = 0;
  Train whole(options);
  Source<Train> all{whole, {}};
  while (whole.updates() < 10) whole.step(all());
  {
    Train trainer(options);
    CHECK(run_loop(trainer, {.out = folder.path, .updates = 4, .monitor_every = 2}, Source<Train>{trainer, {}}, never) ==
          LoopEnd::finished);
  }
  Train trainer(options);
  CHECK(run_loop(trainer, {.out = folder.path, .updates = 10, .resume = true}, Source<Train>{trainer, {}}, never) ==
        LoopEnd::finished);
  CHECK(same_bits(trainer.weights(), whole.weights()));
  if constexpr (Model::has_teacher) CHECK(same_bits(trainer.teacher(), whole.teacher()));

  const SafetensorsFile file = SafetensorsFile::open(folder.path + "/checkpoint.safetensors");
  const Buffer<float> from_checkpoint = checkpoint_encoder<Model>(file);
  CHECK(same_bits({from_checkpoint.data(), from_checkpoint.size()}, trainer.weights()));
  if constexpr (!Model::has_teacher) CHECK_THROWS_AS(checkpoint_encoder<Model>(file, true), FileError);
  const SafetensorsFile alone = SafetensorsFile::from_bytes(encoder_bytes<Model>(trainer.weights()), "encoder");
  const Buffer<float> encoder = read_encoder<Model>(alone);

  using F = Features<Model, 1>;
  Buffer<float> workspace(buffer_size<typename F::template Workspace<float>>);
  Buffer<int> index(buffer_size<typename F::Index>);
  Cpu device;
  const Samples sample = waves(1, 3);
  const auto run = [&](const float* weights, int layer) {
    const auto y = features<Model, 1>(
        device, bind<typename Model::template Parameters<const float>>(weights),
        View<const float, 1, F::M::sample_size>{sample.values.data()},
        bind<typename F::template Workspace<float>>(workspace.data()), bind<typename F::Index>(index.data()), layer);
    return std::vector<float>(y.data, y.data + y.size);
  };
  const auto ours = run(trainer.weights().data(), F::last_layer);
  CHECK(ours == run(encoder.data(), F::last_layer));
  CHECK(ours != run(encoder.data(), 0));
  for (const float x : ours) REQUIRE(is_finite(x));

  FineTunerOptions tuning = FineTunerOptions::of<Model>();
  tuning.schedule = ConstantSchedule{3e-3};
  tuning.threads = 1;
  using Tuner = FineTuner<Model, ClassifierConfig{.num_classes = 2}, Cpu, 4>;
  Tuner tuner(tuning, {encoder.data(), encoder.size()});
  const Samples s = waves(16);
  std::vector<std::int32_t> labels(16);  // whether the first pixel is light
  for (std::size_t i = 0; i < 16; ++i) labels[i] = s.values[i * training_support::pixels] > 0;
  double first = 0, last = 0;
  for (int i = 0; i < 60; ++i) {
    last = tuner.step(s.values, labels, s.ids).loss;
    if (i == 0) first = last;
  }
  INFO("fine-tuning from ", first, " to ", last);
  CHECK(last < 0.5 * first);
  save_checkpoint<typename Tuner::ModelType>(folder.path + "/tuned.safetensors", tuner.state());
  Tuner again(tuning, {encoder.data(), encoder.size()});
  load_checkpoint<typename Tuner::ModelType>(folder.path + "/tuned.safetensors", again.state());
  tuner.step(s.values, labels, s.ids);
  again.step(s.values, labels, s.ids);
  CHECK(same_bits(std::span<const float>(tuner.weights()), std::span<const float>(again.weights())));
}

}  // namespace whole_run
