// SPDX-License-Identifier: MIT
// Several static lengths over one set of weights: the same utterances give the same in any of them, batches of all
// lengths train one model, and a run goes on to the bit.
#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include <data2vec/data2vec.hpp>
#include <data2vec/training/length_trainer.hpp>
#include <data2vec/training/loop.hpp>

using namespace data2vec;

namespace {

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                               .average_top_k_layers = 2, .instance_norm_target_layer = true, .clone_batch = 2};
template <int size>
using Waves = Speech<SpeechConfig{.input_size = size,
                                  .feature_encoder_spec = {{8, 6, 4}, {8, 3, 2}},
                                  .conv_pos_width = 6,
                                  .conv_pos_groups = 2,
                                  .conv_pos_depth = 2,
                                  .modality = {.prenet_depth = 1, .use_alibi_encoder = true,
                                               .learned_alibi_scale = true, .padding = Padding::exact}}>;
template <int size>
struct Of : Data2Vec2<config, Branch<Waves<size>,
                                     BlockMask1d<Waves<size>::tokens, MaskConfig{.mask_prob = 0.5, .mask_length = 2}>,
                                     Conv1dDecoder<DecoderConfig{.decoder_dim = 8, .decoder_groups = 2,
                                                                 .decoder_kernel = 3, .decoder_layers = 1,
                                                                 .input_dropout = 0}>>> {};
struct Model : Lengths<Of<100>, Of<150>, Of<260>> {};
using AnyLength = LengthTrainer<Model, Cpu>;
static_assert(Model::lengths == std::array{100, 150, 260} && Objective<Model>);
static_assert(std::is_same_v<Model::Parameters<float>, Of<100>::Parameters<float>>);
static_assert(AnyLength::worker_sizes.workspace >= Trainer<Of<260>, Cpu>::worker_sizes.workspace);

TrainerOptions options(int threads = 1) {
  TrainerOptions o = TrainerOptions::of<Model>();
  o.schedule = ConstantSchedule{2e-3};
  o.ema = {0.99, 0.99, 1};
  o.threads = threads;
  return o;
}

/// `rows` waveforms of up to `used` samples in rows of a length.
struct Utterances {
  std::vector<float> samples;
  std::vector<std::uint32_t> ids;
  std::vector<int> lengths;
  int bucket;

  Utterances(int length, int rows, int used) : bucket(length) {
    const int size = Model::lengths[static_cast<std::size_t>(length)];
    for (int row = 0; row < rows; ++row) {
      Rng rng({.seed = 3, .sample = static_cast<std::uint32_t>(row)});
      ids.push_back(static_cast<std::uint32_t>(row));
      lengths.push_back(used - row % 3 * 9);
      for (int i = 0; i < size; ++i)
        samples.push_back(i < lengths.back()
                              ? std::sin(0.2f * static_cast<float>((1 + row % 4) * i)) + 0.2f * rng.normal()
                              : 0);
    }
  }
  LengthBatch<> batch() const { return {{samples, ids, {}, lengths}, bucket}; }
};

std::vector<float> copy(std::span<const float> x) { return {x.begin(), x.end()}; }

}  // namespace

TEST_CASE("lengths: the same utterances give the same step in each length") {
  StepReport first;
  std::vector<float> gradient;
  for (int length = 0; length < Model::branches; ++length) {
    AnyLength trainer(options());
    const StepReport report = trainer.step(Utterances(length, AnyLength::chunk, 100).batch());
    CHECK(report.branch == length);
    if (length == 0) {
      first = report;
      gradient = copy(trainer.gradient());
      continue;
    }
    CHECK(report.sample_size == first.sample_size);
    CHECK(report.loss == doctest::Approx(first.loss).epsilon(1e-5));
    CHECK(report.gradient_norm == doctest::Approx(first.gradient_norm).epsilon(1e-4));
    for (std::size_t i = 0; i < gradient.size(); ++i)
      REQUIRE(std::fabs(trainer.gradient()[i] - gradient[i]) < 1e-4 * first.gradient_norm);
  }
}

TEST_CASE("lengths: batches of all lengths move one set of weights, whatever the threads") {
  AnyLength one(options()), three(options(3));
  for (AnyLength* trainer : {&one, &three}) trainer->set_ema({1, 1, 1});  // targets that stand still can be learnt
  const auto before = copy(one.weights());
  double first = 0, last = 0;
  for (int i = 0; i < 120; ++i) {
    const int length = i % 3;
    const Utterances u(length, 2 * AnyLength::chunk, Model::lengths[static_cast<std::size_t>(length)]);
    const StepReport report = one.step(u.batch());
    if (i < 6) three.step(u.batch());
    if (i == 5) CHECK(copy(one.weights()) == copy(three.weights()));
    (i < 12 ? first : last) += i < 12 || i >= 108 ? report.loss : 0;
  }
  CHECK(last < 0.8 * first);
  CHECK(one.updates() == 120);
  for (const TensorInfo& info : tensor_table<Model::Parameters<float>>) {
    bool moved = false;
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i) moved |= before[i] != one.weights()[i];
    INFO(std::string(info.name.view()));
    CHECK(moved);
  }
  CHECK_THROWS_WITH_AS(one.step(LengthBatch<>{{}, 3}), "batch: expected a length from 0 to 2, found 3", OptionError);
}

TEST_CASE("lengths: a run that is stopped and goes on ends with the same bits; other lengths are another model") {
  const std::string folder = std::filesystem::temp_directory_path() / ("d2v_lengths_" + std::to_string(::getpid()));
  const auto run = [&](std::int64_t updates, bool resume, const std::string& out) {
    AnyLength trainer(options());
    std::vector<Utterances> all;
    for (int length = 0; length < 3; ++length) all.emplace_back(length, AnyLength::chunk, 100);
    const volatile std::sig_atomic_t go = 0;
    run_loop(trainer, {.out = folder + out, .updates = updates, .resume = resume, .monitor_every = 2},
             [&] { return all[static_cast<std::size_t>(trainer.updates() % 3)].batch(); }, go);
    return copy(trainer.weights());
  };
  const auto whole = run(7, false, "/a");
  run(4, false, "/b");
  CHECK(run(7, true, "/b") == whole);
  struct Two : Lengths<Of<100>, Of<150>> {};
  LengthTrainer<Two, Cpu> other(options());
  CHECK_THROWS_AS(load_checkpoint<Two>(folder + "/a/checkpoint.safetensors", other.state()), MismatchError);
  std::filesystem::remove_all(folder);
}
