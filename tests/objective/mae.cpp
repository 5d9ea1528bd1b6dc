// SPDX-License-Identifier: MIT
// Masked autoencoders through everything that trains and uses a model, and the numbers of the published ones.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/data2vec.hpp>

#include "whole_run.hpp"

using namespace whole_run;

namespace {

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2};
using Images =
    Vision<VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1, .modality = {.num_extra_tokens = 1}}>;
using Masks = RandomMask<16, MaskConfig{.mask_prob = 0.75}>;
inline constexpr PixelDecoderConfig decoder{
    .decoder_embed_dim = 8, .decoder_depth = 1, .decoder_num_heads = 2, .norm_pix_loss = false};
struct Tiny : MaskedAutoencoder<config, Branch<Images, Masks, PixelDecoder<decoder>>> {};

TrainerOptions options() {
  TrainerOptions o = TrainerOptions::of<Tiny>();
  o.schedule = ConstantSchedule{.lr = 5e-3};
  o.threads = 1;
  return o;
}

template <class Model>
bool has(std::string_view name) {
  for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>)
    if (info.name.view() == name) return true;
  return false;
}

}  // namespace

TEST_CASE("mae: learns, with the same bits for any number of threads") {
  expect_learns<Tiny>(options(), 200, 0.5);
  expect_same_bits<Tiny>(options());
}

TEST_CASE("mae: checkpoints, resumes, gives features, fine-tunes") { expect_goes_on<Tiny>(options()); }

TEST_CASE("mae: the report and the checkpoint say which system it is") {
  Trainer<Tiny, Cpu> trainer(options());
  const StepReport report = trainer.step(waves(8).batch());
  CHECK(report.loss == report.recon);
  CHECK(report.sample_size == 8 * 12);
  CHECK(report.ema_decay == 0);
  CHECK(report.target_var > 0.1);
  CHECK(trainer.state().teacher == nullptr);
  const Json json = describe_model<Tiny>();
  CHECK(json["system"] == "mae");
  CHECK(json["decoder"]["decoder_embed_dim"] == 8);
  CHECK(json["masks"]["mask_prob"] == 0.75);
}

TEST_CASE("mae: positions are fixed in pre-training and learn in fine-tuning, neither they nor the token decay there") {
  using Net = Classifier<Tiny, ClassifierConfig{.num_classes = 2}>;
  const auto row = [](const auto& table, std::string_view name) {
    for (const TensorInfo& info : table)
      if (info.name.view() == name) return info;
    return TensorInfo{};
  };
  const auto& own = tensor_table<Tiny::Parameters<float>>;
  const auto& tuned = tensor_table<Net::Parameters<float>>;
  CHECK(!row(own, "pos_embed").trained);
  CHECK(!row(own, "cls_token").exempt_from_decay());
  CHECK(row(tuned, "model.pos_embed").trained);
  CHECK(row(tuned, "model.pos_embed").exempt_from_decay());
  CHECK(row(tuned, "model.cls_token").exempt_from_decay());
  CHECK(row(tuned, "model.norm.weight").rank == 0);  // the mean passes fc_norm instead
  CHECK(row(tuned, "fc_norm.weight").rank == 1);
  CHECK(layer_lr_scale<Tiny>("model.patch_embed.proj.weight", 0.5) == 0.125);
  CHECK(layer_lr_scale<Tiny>("model.blocks.0.norm1.weight", 0.5) == 0.25);
  CHECK(layer_lr_scale<Tiny>("head.weight", 0.5) == 1);
}

TEST_CASE("mae: numbers of the published models") {
  // Encoder: 12 blocks of 7,087,872, patch embedding, class token, 197 positions, norm.
  CHECK(MaeBase::encoder_parameter_count == 12 * 7'087'872 + 590'592 + 768 + 197 * 768 + 1536);
  CHECK(MaeBase::First::V == 49);
  CHECK(MaeHuge::First::V == 64);
  CHECK(MaeBase::parameter_count == 111'907'840);
  for (const char* name : {"cls_token", "pos_embed", "mask_token", "decoder_pos_embed", "patch_embed.proj.weight",
                           "blocks.11.attn.qkv.bias", "norm.weight", "decoder_embed.weight",
                           "decoder_blocks.7.mlp.fc2.weight", "decoder_norm.bias", "decoder_pred.weight"})
    CHECK_MESSAGE(has<MaeBase>(name), name);
  CHECK(learning_rate(mae_base_recipe().schedule, 40 * 312) == doctest::Approx(2.4e-3));
}
