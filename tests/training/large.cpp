// SPDX-License-Identifier: MIT
// A model that is large enough for threads to share operations and for masks to pass one group after the other.
#include <doctest/doctest.h>

#include <limits>

#include "support.hpp"

using namespace training_support;

namespace {

inline constexpr Config large_config{.embed_dim = 384, .depth = 4, .num_heads = 6, .average_top_k_layers = 3,
                                     .instance_norm_target_layer = true, .layer_norm_targets = true,
                                     .clone_batch = 16, .cls_loss = 0.01, .recon_loss = 0.5};
inline constexpr VisionConfig large_images{
    .input_size = 64, .patch_size = 8, .in_chans = 6, .modality = {.num_extra_tokens = 1, .ema_local_encoder = true}};
struct Large : Data2Vec2<large_config, Branch<Vision<large_images>, RandomMask<64, MaskConfig{.mask_prob = 0.5}>,
                                              Conv2dDecoder<DecoderConfig{.decoder_dim = 64,
                                                                          .decoder_groups = 4,
                                                                          .decoder_kernel = 3,
                                                                          .decoder_layers = 2,
                                                                          .input_dropout = 0.1}>>> {};
using Step = Large::First;
using LargeTrainer = Trainer<Large, Cpu>;
constexpr int chunk = default_chunk<Step>;
static_assert(chunk == 1 && LargeTrainer::sharing == Sharing::operations);
static_assert(masks_at_a_time<Step, chunk> == 8);  // 33 tokens each

const std::vector<float>& image() {
  static const std::vector<float> values = [] {
    Rng rng({.seed = 3});
    std::vector<float> v(Step::M::sample_size);
    for (float& x : v) x = rng.normal();
    return v;
  }();
  return values;
}

}  // namespace

TEST_CASE("a large model has the same weights for any number of threads") {
  const std::vector<std::uint32_t> ids{7};
  std::vector<float> weights;
  for (const int threads : {1, 2, 3}) {
    LargeTrainer trainer(fast_options<Large>(threads));
    for (int i = 0; i < 2; ++i) CHECK(trainer.step({image(), ids}).updated);
    if (weights.empty()) weights = copy(std::as_const(trainer).weights());
    CHECK(same_bits(trainer.weights(), weights));
  }
}

TEST_CASE("masks in groups give the losses and the gradient of all masks at once") {
  const std::vector<std::uint32_t> ids{7};
  const TrainerOptions options = fast_options<Large>(2);
  LargeTrainer trainer(options);
  const std::vector<float> weights = copy(std::as_const(trainer).weights());
  const StepReport report = trainer.step({image(), ids});

  using Parameters = Large::Parameters<float>;
  Buffer<float> gradient(buffer_size<Parameters>), workspace(buffer_size<Step::Workspace<float, 1>>);
  Buffer<int> indices(buffer_size<Step::Indices<1>>);
  std::vector<double> moments(4 * Step::D);
  ThreadTeam team(2);
  Cpu device{&team};
  const Pass<Cpu, true> pass{device, {options.seed, 0, ids.data(), Step::masks}, options.rates};
  const auto index = bind<Step::Indices<1>>(indices.data());
  index.draw(pass.draws);
  const auto read = Large::weights<0>(bind<Large::Parameters<const float>>(weights.data()));
  const View<const float, 1, Step::M::sample_size> sample{image().data()};
  const LossSums sums = Step::step(pass, read, read, Large::weights<0>(bind<Parameters>(gradient.data())), sample,
                                   sample, static_cast<const float*>(nullptr), options.mask_noise_std, options.loss,
                                   Step::masks * Step::R, bind<Step::Workspace<float, 1>>(workspace.data()), index,
                                   moments.data());
  CHECK(report.sample_size == sums.sample_size);
  CHECK(report.regression == doctest::Approx(sums.regression / sums.sample_size).epsilon(1e-6));
  CHECK(report.recon == doctest::Approx(sums.recon / sums.sample_size).epsilon(1e-6));
  CHECK(report.cls == doctest::Approx(sums.cls).epsilon(1e-6));
  CHECK(report.target_var == doctest::Approx(mean_deviation(&moments[2 * Step::D], &moments[3 * Step::D], Step::D,
                                                            sums.sample_size)).epsilon(1e-9));
  double apart = 0, whole = 0;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double g = static_cast<double>(gradient[i]), difference = g - static_cast<double>(trainer.gradient()[i]);
    apart += difference * difference;
    whole += g * g;
  }
  CHECK(whole > 0);
  // Sums of 528 rows in another order: rounding that adds like a random walk.
  CHECK(std::sqrt(apart / whole) < 8 * std::numeric_limits<float>::epsilon() * std::sqrt(528.0));
}
