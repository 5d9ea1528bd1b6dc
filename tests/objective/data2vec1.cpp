// SPDX-License-Identifier: MIT
// data2vec 1.0 through everything that trains and uses a model: both variants of vision, speech, text.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/data2vec.hpp>

#include "whole_run.hpp"

using namespace whole_run;

namespace {

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .layer_scale = 0.1,
                               .average_top_k_layers = 2, .end_of_block_targets = true, .layer_norm_targets = true,
                               .loss_beta = 2};
using Images = Vision<VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1, .fixed_positions = false,
                                   .modality = {.num_extra_tokens = 1}}>;
using Masks = BeitBlockMask<Grid{4, 4}, BeitMaskConfig{.num_mask_patches = 8, .min_mask_patches_per_block = 2,
                                                       .max_mask_patches_per_block = 16}>;
struct Beit : Data2Vec1<config, Branch<Images, Masks, RegressionHead<1>>> {};
using Placed = Vision<VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1,
                                   .modality = {.num_extra_tokens = 1}}>;
struct Positioned : Data2Vec1<config, Branch<Placed, Masks, RegressionHead<1>>> {};
struct Fairseq : Data2Vec1<config, Branch<Images, Masks, RegressionHead<0>>,
                           Data2Vec1Config{.vision = VisionVariant::fairseq}> {};

inline constexpr Config sequence{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                                 .average_top_k_layers = 2, .instance_norm_target_layer = true};
using Waves = Speech<SpeechConfig{.input_size = 180, .feature_encoder_spec = {{8, 10, 5}, {8, 3, 2}},
                                  .conv_pos_width = 6, .conv_pos_groups = 2, .conv_pos_depth = 2}>;
struct Sound : Data2Vec1<sequence, Branch<Waves, SpanMask<Waves::tokens, MaskConfig{.mask_prob = 0.65, .mask_length = 3}>,
                                          RegressionHead<1>>> {};
using Words = Text<TextConfig{.vocab_size = 20, .tokens = 12, .max_source_positions = 12, .dropout = 0}>;
using Unplaced = Text<TextConfig{.vocab_size = 20, .tokens = 12, .no_token_positional_embeddings = true, .dropout = 0,
                                 .modality = {.use_alibi_encoder = true, .learned_alibi_scale = true}}>;
template <class Tokens, Data2Vec1Config variant>
using ModelOf =
    Data2Vec1<sequence, Branch<Tokens, TokenMask<12, TokenMaskConfig{.mask_prob = 0.35, .leave_unmasked_prob = 0,
                                                                     .random_token_prob = 0, .mask_multiple_length = 2}>,
                               RegressionHead<3, true>>, variant>;
struct Prose : ModelOf<Words, Data2Vec1Config{}> {};
struct Distances : ModelOf<Unplaced, Data2Vec1Config{.ema_layers_only = false}> {};

template <class Model>
TrainerOptions options() {
  TrainerOptions o = TrainerOptions::of<Model>();
  o.schedule = ConstantSchedule{.lr = 2e-3};
  o.ema = {0.99, 0.99, 1};
  o.threads = 1;
  return o;
}

/// Trains on `make(update)`, stops half-way and goes on from a checkpoint: the same bits. Returns the number of tensors
/// of the encoder that moved.
template <class Model, class Make>
int trains_and_goes_on(Make&& make) {
  static_assert(Objective<Model>);
  Trainer<Model, Cpu> whole(options<Model>());
  const std::vector<float> start = copy(whole.weights());
  const Folder folder;
  std::filesystem::create_directories(folder.path);
  for (int i = 0; i < 8; ++i) {
    if (i == 4) save_checkpoint<Model>(folder.path + "/half.safetensors", whole.state());
    REQUIRE(whole.step(make(i)).updated);
  }
  Trainer<Model, Cpu> rest(options<Model>());
  load_checkpoint<Model>(folder.path + "/half.safetensors", rest.state());
  for (int i = 4; i < 8; ++i) rest.step(make(i));
  CHECK(same_bits(whole.weights(), rest.weights()));
  CHECK(same_bits(whole.teacher(), rest.teacher()));
  int moved = 0;
  for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>)
    moved += !Model::in_decoder(info.name.view()) &&
             !same_bits(std::span<const float>(start).subspan(info.offset, info.size),
                        std::span<const float>(whole.weights()).subspan(info.offset, info.size));
  return moved;
}

template <class Model>
int encoder_tensors() {
  int count = 0;
  for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>)
    count += !Model::in_decoder(info.name.view());
  return count;
}

}  // namespace

TEST_CASE_TEMPLATE("data2vec 1.0 of images: learns, with the same bits for any number of threads", Model, Beit, Fairseq) {
  expect_learns<Model>(options<Model>(), 200, 0.7);
  expect_same_bits<Model>(options<Model>());
}

TEST_CASE_TEMPLATE("data2vec 1.0 of images: checkpoints, resumes, gives features, fine-tunes", Model, Beit, Positioned,
                   Fairseq) {
  expect_goes_on<Model>(options<Model>());
}

TEST_CASE("data2vec 1.0 of images: the variants differ in what the teacher owns, and in a layer without use") {
  CHECK(Beit::in_teacher("patch_embed.proj.weight"));
  CHECK(!Fairseq::in_teacher("patch_embed.conv.weight"));
  CHECK(Fairseq::in_teacher("encoder.blocks.1.mlp.2.weight"));
  CHECK(!Fairseq::receives_gradient("final_proj.weight"));
  Trainer<Fairseq, Cpu> trainer(options<Fairseq>());
  const std::vector<float> start = copy(trainer.weights());
  const StepReport report = trainer.step(waves(16).batch());
  CHECK(report.loss == report.regression);
  CHECK(report.sample_size <= 16 * 8);
  for (const TensorInfo& info : tensor_table<Fairseq::Parameters<float>>)
    if (info.name.view().starts_with("final_proj."))
      CHECK(same_bits(std::span<const float>(start).subspan(info.offset, info.size),
                      std::span<const float>(trainer.weights()).subspan(info.offset, info.size)));
}

TEST_CASE("data2vec 1.0 of images: a table of positions is added to every token that the blocks read, and trained") {
  using Parameters = Positioned::Parameters<float>;
  const auto values = [](auto&& weights, std::string_view name) {
    for (const TensorInfo& info : tensor_table<Parameters>)
      if (info.name.view() == name) return std::span<const float>(weights).subspan(info.offset, info.size);
    FAIL("no tensor ", name);
    return std::span<const float>();
  };
  Trainer<Positioned, Cpu> trainer(options<Positioned>());
  const std::vector<float> start = copy(trainer.weights());
  trainer.step(waves(16).batch());
  const auto gradient = trainer.gradient();
  const auto positions = values(gradient, "pos_embed"), cls = values(gradient, "cls_token");
  const auto mask = values(gradient, "mask_token"), bias = values(gradient, "patch_embed.proj.bias");
  REQUIRE(positions.size() == 17 * 16);
  for (std::size_t c = 0; c < 16; ++c) {
    CHECK(positions[c] == doctest::Approx(cls[c]).epsilon(1e-5));
    double sum = 0;  // hidden and visible patches together
    for (std::size_t t = 1; t < 17; ++t) sum += static_cast<double>(positions[t * 16 + c]);
    CHECK(sum == doctest::Approx(static_cast<double>(mask[c]) + static_cast<double>(bias[c])).epsilon(1e-3));
  }
  CHECK(!same_bits(values(start, "pos_embed"), values(trainer.weights(), "pos_embed")));
  CHECK(!same_bits(values(start, "pos_embed"), values(trainer.teacher(), "pos_embed")));
  CHECK(Positioned::is_embedding("pos_embed"));
}

TEST_CASE("data2vec 1.0 of speech: trains and goes on; the teacher copies the positional convolutions") {
  std::vector<float> samples(8 * 180);
  std::vector<std::uint32_t> ids(8);
  const auto make = [&](int update) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<std::uint32_t>(8 * update) + static_cast<std::uint32_t>(i);
      for (std::size_t t = 0; t < 180; ++t)
        samples[i * 180 + t] = static_cast<float>(std::sin(0.1 * (1 + ids[i] % 5) * static_cast<double>(t) + ids[i]));
    }
    return Batch<float>{samples, ids};
  };
  CHECK(trains_and_goes_on<Sound>(make) == encoder_tensors<Sound>());
  Trainer<Sound, Cpu> trainer(options<Sound>());
  trainer.step(make(0));
  const auto equal = [&](std::string_view part) {
    bool same = true;
    for (const TensorInfo& info : tensor_table<Sound::Parameters<float>>)
      if (info.name.view().starts_with(part))
        same = same && same_bits(std::span<const float>(trainer.weights()).subspan(info.offset, info.size),
                                 trainer.teacher().subspan(info.offset, info.size));
    return same;
  };
  CHECK(equal("encoder.pos_conv."));
  CHECK(!equal("encoder.layers."));
}

TEST_CASE_TEMPLATE("data2vec 1.0 of text: trains and goes on, with texts of all lengths", Model, Prose, Distances) {
  std::vector<std::int32_t> samples(8 * 12);
  std::vector<std::uint32_t> ids(8);
  const auto make = [&](int update) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<std::uint32_t>(8 * update) + static_cast<std::uint32_t>(i);
      for (std::size_t t = 0; t < 12; ++t)
        samples[i * 12 + t] = t < 6 + i % 7 ? static_cast<std::int32_t>(4 + (ids[i] + 2 * t) % 15) : 1;
    }
    return Batch<std::int32_t>{samples, ids};
  };
  CHECK(trains_and_goes_on<Model>(make) == encoder_tensors<Model>());
}

TEST_CASE("data2vec 1.0: numbers of the published models") {
  // 12 blocks of 7,087,872 without the bias of keys, with layer scale; patches, class token, bias table, norm.
  CHECK(Data2Vec1VisionBase::encoder_parameter_count ==
        12 * (7'087'872 - 768 + 2 * 768) + 590'592 + 768 + 732 * 12 + 1536);
  CHECK(Data2Vec1VisionBase::First::R == 120);
  CHECK(Data2Vec1VisionBaseFairseq::First::R == 75);
  CHECK(Data2Vec1SpeechBase::First::T_ == 999);
  CHECK(Data2Vec1SpeechBase::First::R == doctest::Approx(0.4904 * 999).epsilon(0.01));  // the reference's fraction
  CHECK(Data2Vec1TextBase::encoder_parameter_count == 12 * 7'087'872 + (50'265 + 514) * 768 + 1536);
  CHECK(learning_rate(data2vec1_vision_base_recipe().schedule, 6250) == doctest::Approx(2e-3));
  CHECK(ema_decay(data2vec1_vision_base_recipe().ema, 1) == 0.9998);
  CHECK(learning_rate(data2vec1_speech_base_recipe().schedule, 12'000) == doctest::Approx(5e-4));
}
