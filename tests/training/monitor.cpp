// SPDX-License-Identifier: MIT
#include <data2vec/training/monitor.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <data2vec/data2vec.hpp>

namespace {

using namespace data2vec;

inline constexpr Config config{.embed_dim = 32, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .average_top_k_layers = 2,
                               .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2};
using Images = Vision<VisionConfig{
    .input_size = 16, .patch_size = 4, .in_chans = 1, .modality = {.num_extra_tokens = 1, .ema_local_encoder = true}}>;
using Masks = RandomMask<Images::tokens, MaskConfig{.mask_prob = 0.5}>;
using Decoder = Conv2dDecoder<DecoderConfig{.decoder_dim = 32, .decoder_groups = 2, .decoder_kernel = 3,
                                            .decoder_layers = 1, .input_dropout = 0}>;
struct Model : Data2Vec2<config, Branch<Images, Masks, Decoder>> {};
constexpr int batch = 8, updates = 200;

struct Run {
  Trainer<Model, Cpu> trainer;
  CollapseMonitor<Model, batch> monitor;
  bool constant_images = false;

  static TrainerOptions options(double ema_decay) {
    TrainerOptions options = TrainerOptions::of<Model>();
    options.schedule = CosineSchedule{.lr = 1e-3, .warmup_updates = 10, .max_update = updates};
    options.ema = {.ema_decay = ema_decay, .ema_end_decay = ema_decay, .ema_anneal_end_step = updates};
    options.threads = 1;
    return options;
  }
  explicit Run(double ema_decay = 0.99) : trainer(options(ema_decay)) {}

  /// Trains until the first alarm, at most 200 updates; looks every tenth. `before_look` may meddle with the weights.
  CollapseAlarm first_alarm(auto&& before_look) {
    std::vector<float> samples(batch * Images::sample_size, 0.5f);
    std::vector<std::uint32_t> ids(batch);
    for (int update = 0; update < updates; ++update) {
      Rng rng({.seed = 3, .update = static_cast<std::uint32_t>(update)});
      for (auto& id : ids) id = rng.below(1000);
      if (!constant_images)
        for (float& x : samples) x = rng.normal();
      before_look(trainer);
      const StepReport report = trainer.step({samples, ids});
      if (update % 10 != 0) continue;
      before_look(trainer);
      const HealthReport health = monitor.look(samples.data(), trainer.weights().data(), trainer.teacher().data(),
                                               report.target_var, report.pred_var, report.ema_decay);
      if (health.alarm.cause != Collapse::none) return health.alarm;
    }
    return {};
  }
};

}  // namespace

TEST_CASE("a healthy run raises no alarm") {
  Run run;
  const CollapseAlarm alarm = run.first_alarm([](auto&) {});
  CHECK_MESSAGE(alarm.cause == Collapse::none, alarm.text);
}

TEST_CASE("a teacher that is frozen at zero is named") {
  Run run(1.0);
  const TrainingState state = run.trainer.state();
  std::fill_n(state.teacher, Trainer<Model, Cpu>::size, 0.0f);
  const CollapseAlarm alarm = run.first_alarm([](auto&) {});
  CHECK(alarm.cause == Collapse::frozen_teacher);
  CHECK(alarm.text.find("EMA decay 1") != std::string::npos);
}

TEST_CASE("a local encoder that gives the same for everything is named, though positions keep the targets alive") {
  Run run;
  const CollapseAlarm alarm = run.first_alarm([](Trainer<Model, Cpu>& trainer) {
    for (const TensorInfo& info : tensor_table<Model::Parameters<float>>)
      if (info.name.view().find("local_encoder.proj.weight") != std::string_view::npos)
        std::fill_n(trainer.state().weights + info.offset, info.size, 0.0f);
  });
  CHECK(alarm.cause == Collapse::local_encoder);
  CHECK(alarm.text.find("local encoder") != std::string::npos);
}

TEST_CASE("images that are all the same are named") {
  Run run;
  run.constant_images = true;
  CHECK(run.first_alarm([](auto&) {}).cause == Collapse::constant_input);
}

TEST_CASE("the effective rank counts directions") {
  std::vector<float> line(40 * 6), space(4000 * 6), same(40 * 6, 1.0f);
  Rng rng({.seed = 1});
  for (std::size_t i = 0; i < line.size(); ++i) line[i] = static_cast<float>(i / 6) * static_cast<float>(1 + i % 6);
  for (float& x : space) x = rng.normal();
  CHECK(effective_rank(line, 6) == doctest::Approx(1).epsilon(1e-6));
  CHECK(effective_rank(space, 6) == doctest::Approx(6).epsilon(0.01));
  CHECK(effective_rank(same, 6) == 0);
}
