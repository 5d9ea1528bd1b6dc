// SPDX-License-Identifier: MIT
// Masked autoencoders through everything that trains and uses a model, and the numbers of the published ones.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/reconstruction.hpp>

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

inline constexpr PixelDecoderConfig normalising{
    .decoder_embed_dim = 8, .decoder_depth = 1, .decoder_num_heads = 2, .norm_pix_loss = true};
struct Normalising : MaskedAutoencoder<config, Branch<Images, Masks, PixelDecoder<normalising>>> {};

/// Completes two images: visible patches stay, and hidden ones miss by as much as the step says, in units of each
/// patch's own deviation if `Model` predicts those.
template <class Model>
void expect_completes(const float* weights) {
  using R = Reconstruction<Model, 2>;
  using Parameters = typename Model::template Parameters<float>;
  const Samples images = waves(2, 5);
  const typename R::Samples samples{images.batch().samples.data()};
  Buffer<float> memory(buffer_size<typename R::Workspace>), gradient(buffer_size<Parameters>);
  Buffer<int> numbers(buffer_size<typename R::Indices>);
  const auto w = bind<typename R::Workspace>(memory.data());
  const auto index = bind<typename R::Indices>(numbers.data());
  const Draws draws{.seed = 3, .update = 1, .sample_ids = images.batch().ids.data()};
  Cpu device;
  std::vector<float> completed(samples.size);
  R::run(device, bind<typename Model::template Parameters<const float>>(weights), samples, draws, w, index,
         completed.data());
  double error = 0;
  int changed = 0;
  for (int b = 0; b < 2; ++b) {
    std::vector<float> image(samples[b].data, samples[b].data + 64), found(&completed[64 * b], &completed[64 * b] + 64);
    for (int r = 0; r < R::hidden; ++r) {
      const int patch = index.mask.masked[b][r];
      double mean = 0, variance = 0, squares = 0;
      R::each_pixel(image.data(), patch, [&](float& x, int) { mean += static_cast<double>(x) / 4; });
      R::each_pixel(image.data(), patch, [&](float& x, int) {
        variance += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean) / 3;
      });
      std::vector<float> pixels;
      R::each_pixel(found.data(), patch, [&](float& x, int) { pixels.push_back(x); });
      R::each_pixel(image.data(), patch, [&](float& x, int i) {
        const double miss = static_cast<double>(x) - static_cast<double>(pixels[static_cast<std::size_t>(i)]);
        squares += miss * miss, changed += miss != 0;
        pixels[static_cast<std::size_t>(i)] = x;
      });
      error += squares / 4 / (R::Branch::normalises ? variance + 1e-6 : 1);
      R::each_pixel(found.data(), patch, [&](float& x, int i) { x = pixels[static_cast<std::size_t>(i)]; });
    }
    CHECK(found == image);  // but for the hidden patches
  }
  CHECK(changed > 2 * 12 * 4 * 9 / 10);
  Buffer<double> moments(static_cast<std::size_t>(R::Branch::moment_rows * R::Branch::moment_width));
  const Pass<Cpu, true> pass{device, draws, {}};
  const auto p = Model::template weights<0>(bind<typename Model::template Parameters<const float>>(weights));
  const PixelSums sums =
      R::Branch::step_by_masks(pass, p, p, Model::template weights<0>(bind<Parameters>(gradient.data())), samples,
                               samples, R::Branch::options(), 24.0, w, index, moments.data());
  CHECK(error == doctest::Approx(sums.error).epsilon(1e-4));
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

TEST_CASE("mae: images are completed, with pixels or with normalised pixels as targets") {
  Buffer<float> weights(buffer_size<Tiny::Parameters<float>>);
  Tiny::initialise(weights.data(), 2);
  expect_completes<Tiny>(weights.data());
  Normalising::initialise(weights.data(), 2);
  expect_completes<Normalising>(weights.data());
}

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
