// SPDX-License-Identifier: MIT
// wav2vec 2.0 through trainer, loop, checkpoints, features and fine-tuning: the same as every other system.
#include <data2vec/training/loop.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/features.hpp>
#include <data2vec/finetune/recogniser_tuner.hpp>
#include <data2vec/objective/lengths.hpp>
#include <data2vec/objective/wav2vec2.hpp>
#include <tests/training/tiny_run.hpp>

namespace {

using namespace data2vec;
using tiny_run::never;

constexpr int size = 400, batch_size = 16;
inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                               .block_names = BlockNames::fairseq, .encoder_dropout = 0.1, .dropout_input = 0.1};
inline constexpr SpeechConfig waveforms{
    .input_size = size, .feature_encoder_spec = {{8, 10, 5}, {8, 4, 2}}, .extractor_mode = ExtractorMode::default_,
    .conv_pos_width = 8, .conv_pos_groups = 2, .conv_pos_depth = 1, .conv_pos_weight_norm = true,
    .project_equal_width = false, .dropout = 0.1, .clear_padding = true,
    .modality = {.local_grad_mult = 0.5, .padding = Padding::reference}};
using Waves = Speech<waveforms>;
using Masks = SpanMask<Waves::tokens, MaskConfig{.mask_prob = 0.5, .mask_length = 3}>;
inline constexpr Wav2Vec2Config contrast{.final_dim = 12, .latent_vars = 8, .num_negatives = 8, .dropout_features = 0.1,
                                         .latent_temp = {2, 0.5, 0.99}};
struct Model : Wav2Vec2<config, Waves, Masks, contrast> {};
using ModelTrainer = Trainer<Model, Cpu>;
inline constexpr SpeechConfig longer = [] {
  SpeechConfig c = waveforms;
  c.input_size = 600;
  return c;
}();
struct Longer : Wav2Vec2<config, Speech<longer>,
                         SpanMask<Speech<longer>::tokens, MaskConfig{.mask_prob = 0.5, .mask_length = 3}>, contrast> {};

TrainerOptions options(int threads = 1) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = 5e-3, .warmup_updates = 60, .max_update = 600};
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 0};
  options.threads = threads;
  return options;
}

/// Five tones by turns, from a random one on: what is hidden can be told from what stands beside it.
struct Source {
  ModelTrainer& trainer;
  std::vector<float> samples = std::vector<float>(std::size_t{batch_size} * size);
  std::vector<std::uint32_t> ids = std::vector<std::uint32_t>(batch_size);
  std::vector<int> lengths = std::vector<int>(batch_size);

  Batch<float> operator()() {
    Rng rng({.seed = 4, .update = static_cast<std::uint32_t>(trainer.updates())});
    for (std::size_t b = 0; b < batch_size; ++b) {
      ids[b] = static_cast<std::uint32_t>(b);
      lengths[b] = b % 4 == 1 ? 330 : size;
      const std::uint32_t start = rng.below(100);
      for (std::size_t i = 0; i < size; ++i) {
        const double pitch = 0.15 + 0.25 * static_cast<double>((i + start) / 20 % 5);
        const double tone = static_cast<int>(i) < lengths[b] ? std::sin(pitch * static_cast<double>(i)) : 0;
        samples[b * size + i] = static_cast<float>(tone);
      }
    }
    return {samples, ids, {}, lengths};
  }
};

}  // namespace

TEST_CASE("wav2vec 2.0: learns to tell frames apart, stopped and resumed to the bit, with any number of threads") {
  const tiny_run::Folder folder("training_wav2vec2");
  ModelTrainer a(options());
  Source source{a};
  double first = 0, last = 0, temperature = 0;
  CHECK(run_loop(a, {.out = folder / "whole", .updates = 600}, source, never, {.step = [&](const StepReport& r) {
                   const auto term = [&](const std::string& name) {
                     for (const ReportTerm& t : r.terms)
                       if (t.name && t.name == name) return t.value;
                     FAIL("no term " << name);
                     return 0.0;
                   };
                   if (r.update == 0) first = term("accuracy");
                   last = term("accuracy");
                   temperature = term("temperature");
                   REQUIRE(r.sample_size > 0);
                 }}) == LoopEnd::finished);
  CHECK(temperature == 0.5);
  CHECK(first < 0.25);  // one of nine is right by chance
  CHECK(last > 0.4);
  volatile std::sig_atomic_t stop = 0;
  {
    ModelTrainer b(options(2));
    Source own{b};
    run_loop(b, {.out = folder / "cut", .updates = 600}, own, stop,
             {.step = [&](const StepReport& r) { stop = r.update >= 50; }});
    CHECK(b.updates() == 51);
  }
  ModelTrainer c(options());
  Source own{c};
  CHECK(run_loop(c, {.out = folder / "cut", .updates = 600, .resume = true}, own, never) == LoopEnd::finished);
  CHECK(std::equal(a.weights().begin(), a.weights().end(), c.weights().begin()));
}

TEST_CASE("wav2vec 2.0: two micro-batches are one batch") {
  TrainerOptions halves = options();
  halves.accumulation = 2;
  ModelTrainer whole(options()), accumulated(halves);
  Source source{whole};
  const auto batch = source();
  whole.step(batch);
  for (const std::size_t half : {0, 1})
    accumulated.step({batch.samples.subspan(half * 8 * size, 8 * size), batch.ids.subspan(half * 8, 8), {},
                      batch.lengths.subspan(half * 8, 8)});
  REQUIRE(accumulated.updates() == 1);
  for (std::size_t i = 0; i < ModelTrainer::size; ++i)
    REQUIRE(std::fabs(whole.weights()[i] - accumulated.weights()[i]) <= 1e-5f);
}

TEST_CASE("wav2vec 2.0: features of a padded waveform; the recogniser takes the encoder by name") {
  ModelTrainer trainer(options());
  Source source{trainer};
  const auto batch = source();
  trainer.step(batch);
  constexpr int B = 4;
  using F = Features<Model, B>;
  Buffer<float> workspace(buffer_size<F::Workspace<float>>);
  Buffer<int> index(buffer_size<F::Index>);
  Cpu d;
  const auto found = features<Model, B>(
      d, bind<Model::Parameters<const float>>(static_cast<const float*>(trainer.weights().data())),
      {batch.samples.data()}, bind<F::Workspace<float>>(workspace.data()), bind<F::Index>(index.data()), F::last_layer,
      batch.lengths.data());
  CHECK(std::all_of(found.data, found.data + found.size, [](float x) { return is_finite(x); }));

  using Net = Recogniser<Model, 6>;
  const auto& table = tensor_table<Net::Parameters<float>>;
  for (const TensorInfo& info : tensor_table<Model::Parameters<float>>) {
    const std::string name = "w2v_encoder.w2v_model." + std::string(info.name.view());
    const bool there =
        std::any_of(table.begin(), table.end(), [&](const TensorInfo& i) { return i.name.view() == name; });
    CHECK(there == !Model::in_decoder(info.name.view()));
  }
}

TEST_CASE("wav2vec 2.0: several static lengths train one set of weights") {
  using Both = Lengths<Model, Longer>;
  Trainer<Both, Cpu> trainer([] {
    TrainerOptions o = TrainerOptions::of<Both>();
    o.schedule = ConstantSchedule{.lr = 1e-3};
    o.threads = 1;
    return o;
  }());
  std::vector<float> samples(8 * 600);
  std::vector<std::uint32_t> ids{0, 1, 2, 3, 4, 5, 6, 7};
  Rng rng({.seed = 8});
  for (float& x : samples) x = rng.normal();
  const std::vector<float> start(trainer.weights().begin(), trainer.weights().end());
  const StepReport a = trainer.step<0>({std::span(samples).first(8 * size), ids});
  const std::vector<float> between(trainer.weights().begin(), trainer.weights().end());
  const StepReport b = trainer.step<1>({samples, ids});
  CHECK(b.sample_size > a.sample_size);
  CHECK(is_finite(a.loss + b.loss));
  CHECK(start != between);
  CHECK_FALSE(std::equal(between.begin(), between.end(), trainer.weights().begin()));
  const Json json = describe_model<Both>();
  CHECK(json["system"] == "wav2vec2");
  CHECK(json["lengths"] == Json({400, 600}));
  CHECK(describe_model<Model>()["contrast"]["features_pen_weight"] == 10);
}

TEST_CASE("wav2vec 2.0: recordings that are too short to hide anything change nothing") {
  ModelTrainer some(options()), all(options());
  Source source{some};
  const auto batch = source();
  std::vector<float> samples(batch.samples.begin(), batch.samples.end());
  std::vector<int> lengths(batch.lengths.begin(), batch.lengths.end());
  static_assert(Waves::valid_tokens(25) == 1);
  samples.insert(samples.end(), samples.begin(), samples.begin() + 8 * size);
  lengths.insert(lengths.end(), 8, 25);
  std::vector<std::uint32_t> ids(batch.ids.begin(), batch.ids.end());
  for (std::uint32_t i = 100; i < 108; ++i) ids.push_back(i);
  const StepReport a = some.step(batch), b = all.step({samples, ids, {}, lengths});
  CHECK(a.sample_size == b.sample_size);
  CHECK(a.loss == b.loss);
  CHECK(std::equal(some.weights().begin(), some.weights().end(), all.weights().begin()));
}

TEST_CASE("wav2vec 2.0: letters are learnt from the encoder that was trained, with its vector for hidden frames") {
  ModelTrainer trainer(options());
  Source source{trainer};
  for (int i = 0; i < 3; ++i) trainer.step(source());
  RecogniserOptions o = RecogniserOptions::of<Model>();
  o.schedule = ConstantSchedule{.lr = 5e-3};
  o.threads = 1;
  o.mask = {.mask_prob = 0.2, .mask_length = 2, .mask_channel_prob = 0.1, .mask_channel_length = 2};
  using Tuner = RecogniserTuner<Model, 4, Cpu>;
  Tuner tuner(o, trainer.weights());
  const std::string prefix = "w2v_encoder.w2v_model.";
  std::size_t copied = 0, mask_emb = 0;
  for (const TensorInfo& info : tensor_table<Tuner::Parameters>)
    for (const TensorInfo& from : tensor_table<Model::Parameters<float>>)
      if (prefix + std::string(from.name.view()) == info.name.view()) {
        ++copied;
        if (from.name.view() == "mask_emb") mask_emb = info.offset;
        REQUIRE(std::equal(trainer.weights().begin() + static_cast<std::ptrdiff_t>(from.offset),
                           trainer.weights().begin() + static_cast<std::ptrdiff_t>(from.offset + from.size),
                           tuner.weights().begin() + static_cast<std::ptrdiff_t>(info.offset)));
      }
  CHECK(copied == static_cast<std::size_t>(tensor_count<Model::Parameters<float>>) - 7);  // quantiser, two projections
  std::vector<float> samples(9 * size);
  std::vector<std::vector<std::int32_t>> targets;
  std::vector<std::span<const std::int32_t>> labels;
  std::vector<std::uint32_t> ids;
  std::vector<int> lengths;
  for (std::size_t i = 0; i < 9; ++i) {
    targets.push_back({1 + static_cast<std::int32_t>(i % 3), 1 + static_cast<std::int32_t>(i / 3)});
    ids.push_back(static_cast<std::uint32_t>(i));
    lengths.push_back(i % 4 == 3 ? 360 : size);
    for (int t = 0; t < lengths.back(); ++t)
      samples[i * size + static_cast<std::size_t>(t)] = static_cast<float>(
          std::sin(0.3 * static_cast<double>(targets[i][t < lengths.back() / 2 ? 0 : 1] * t)));
  }
  for (const auto& target : targets) labels.push_back(target);
  const float before = tuner.weights()[mask_emb];
  double first = 0, last = 0;
  for (int i = 0; i < 250; ++i) {
    last = tuner.step({samples, ids, labels, lengths}).loss;
    if (i == 0) first = last;
  }
  CHECK(last < 0.3 * first);
  CHECK(tuner.weights()[mask_emb] != before);
}
