// SPDX-License-Identifier: MIT
// The code of docs/concepts.md and docs/reproducibility.md.
#include <doctest/doctest.h>

#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/features.hpp>
#include <data2vec/finetune/classifier.hpp>

namespace d2v = data2vec;

namespace {

using Images = d2v::Vision<d2v::VisionConfig{
    .input_size = {16, 24}, .patch_size = 8, .in_chans = 3, .modality = {.prenet_depth = 1, .num_extra_tokens = 1}}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.5}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 32, .decoder_groups = 4, .decoder_layers = 2}>;
inline constexpr d2v::Config tiny{.embed_dim = 32,
                                  .depth = 2,
                                  .num_heads = 4,
                                  .average_top_k_layers = 2,
                                  .instance_norm_target_layer = true,
                                  .layer_norm_targets = true,
                                  .clone_batch = 4};
struct Tiny : d2v::Data2Vec2<tiny, d2v::Branch<Images, Masks, Decoder>> {};

}  // namespace

TEST_CASE("a model is a type and its numbers are constants") {
  static_assert(Images::grid == d2v::Grid{2, 3} && Images::tokens == 6);
  static_assert(Masks::visible == 3);                                   // the student's sequence: a type, not a value
  static_assert(d2v::VisionBase::parameter_count == 88'383'744);        // as the reference counts its state dict
  static_assert(d2v::VisionBase::First::V == 39);                       // of 196 patches
  CHECK(d2v::VisionBase::flops_per_sample<0> == doctest::Approx(411e9).epsilon(0.01));
}

TEST_CASE("parameters are one buffer with a table") {
  using Parameters = Tiny::Parameters<float>;
  d2v::Buffer<float> weights(d2v::buffer_size<Parameters>);
  Tiny::initialise(weights.data(), /*seed=*/1);
  for (const d2v::TensorInfo& tensor : d2v::tensor_table<Parameters>)
    if (tensor.name.view() == "blocks.0.attn.qkv.weight") CHECK(tensor.shape[0] == 3 * 32);
  const auto p = d2v::bind<Parameters>(weights.data());
  CHECK(p.blocks[0].norm1.weight[5] == 1.0f);
}

TEST_CASE("a step") {
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Tiny>();
  options.schedule = d2v::CosineSchedule{.lr = 1e-3, .warmup_updates = 10, .max_update = 1000};
  options.optimizer.weight_decay = 0.05;
  options.ema = {.ema_decay = 0.99, .ema_end_decay = 0.999, .ema_anneal_end_step = 1000};
  options.threads = 1;
  d2v::Trainer<Tiny, d2v::Cpu> trainer(options);
  std::vector<float> images(8 * Images::sample_size, 0.25f);  // (8, 3, 16, 24)
  const std::vector<std::uint32_t> ids{10, 11, 12, 13, 14, 15, 16, 17};
  const d2v::StepReport report = trainer.step({images, ids});
  CHECK(report.sample_size == 8 * 4 * 3);  // samples, masks, hidden tokens
  CHECK(d2v::is_finite(report.loss));
}

TEST_CASE("features") {
  d2v::Trainer<Tiny, d2v::Cpu> trainer(d2v::TrainerOptions::of<Tiny>());
  std::vector<float> image(Images::sample_size, 0.25f);
  using F = d2v::Features<Tiny>;
  d2v::Cpu device;
  d2v::Buffer<float> memory(d2v::buffer_size<F::Workspace<float>>);
  d2v::Buffer<int> indices(d2v::buffer_size<F::Index>);
  const auto tokens = d2v::features<Tiny, 1>(
      device, d2v::bind<Tiny::Parameters<const float>>(static_cast<const float*>(trainer.weights().data())),
      d2v::View<const float, 1, Images::sample_size>{image.data()}, d2v::bind<F::Workspace<float>>(memory.data()),
      d2v::bind<F::Index>(indices.data()));  // (1, E + T, D)
  CHECK(d2v::is_finite(tokens[0][0][0]));
}

TEST_CASE("the same numbers from the same place") {
  const d2v::DrawKey place{.seed = 1, .update = 500, .sample = 10, .mask = 3, .site = d2v::Site::masks};
  d2v::Rng first(place), again(place);
  CHECK(first.next() == again.next());
}
