// SPDX-License-Identifier: MIT
// The systems that data2vec 2.0 is measured against, with an encoder of the same size as the example programs' own, and
// their recipes. `./run pretrain --system mae` and so on compile the programs for one of them.
#pragma once

#include <data2vec/decoder/pixel.hpp>
#include <data2vec/decoder/regression_head.hpp>
#include <data2vec/masking/beit_block.hpp>
#include <data2vec/masking/random.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/objective/data2vec1.hpp>
#include <data2vec/objective/mae.hpp>
#include <data2vec/training/options.hpp>

#include "examples/vision/patches.hpp"

namespace demo {

namespace d2v = data2vec;

// Templates: what is not asked for is not made, images may be of a shape that one of them refuses.

/// Masked autoencoder: a quarter of the patches is seen, pixels of the others are predicted.
template <class = void>
struct MaeSystem {
  static constexpr const char* title = "MAE";
  static constexpr d2v::Config config{.embed_dim = 128, .depth = 4, .num_heads = 4, .mlp_ratio = 4, .norm_eps = 1e-6};
  using Images = d2v::Vision<d2v::VisionConfig{
      .input_size = {height, width}, .patch_size = patch_size, .in_chans = channels,
      .modality = {.num_extra_tokens = 1}}>;
  using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.75}>;
  using Decoder = d2v::PixelDecoder<d2v::PixelDecoderConfig{
      .decoder_embed_dim = 64, .decoder_depth = 2, .decoder_num_heads = 4, .norm_pix_loss = true}>;
  struct Model : d2v::MaskedAutoencoder<config, d2v::Branch<Images, Masks, Decoder>> {};

  static constexpr int batch_size = 64, judged_layer = config.depth;
  static constexpr double learning_rate = 3e-3;
  static d2v::TrainerOptions trainer_options() {
    d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
    options.optimizer = {.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 0,
                         .corrected_eps = true};
    return options;
  }
  static d2v::EmaConfig ema(std::int64_t) { return {}; }
};

/// data2vec 1.0, as its published vision models are built: the student reads mask tokens in hidden places.
template <class = void>
struct Data2Vec1System {
  static constexpr const char* title = "data2vec 1.0";
  static constexpr d2v::Config config{.embed_dim = 128,
                                      .depth = 4,
                                      .num_heads = 4,
                                      .mlp_ratio = 4,
                                      .norm_eps = 1e-6,
                                      .average_top_k_layers = 4,
                                      .end_of_block_targets = true,
                                      .layer_norm_target_layer = true,
                                      .layer_norm_targets = true,
                                      .loss_beta = 2,
                                      .loss_scale = 1.0 / 128,
                                      .mae_init = true};
  using Images = d2v::Vision<d2v::VisionConfig{
      .input_size = {height, width}, .patch_size = patch_size, .in_chans = channels, .fixed_positions = false,
      .modality = {.num_extra_tokens = 1}}>;
  using Masks = d2v::BeitBlockMask<Images::grid, d2v::BeitMaskConfig{
      .num_mask_patches = Images::tokens * 6 / 10, .min_mask_patches_per_block = (Images::tokens > 16 ? 4 : 1),
      .max_mask_patches_per_block = Images::tokens}>;
  struct Model : d2v::Data2Vec1<config, d2v::Branch<Images, Masks, d2v::RegressionHead<1>>> {};

  static constexpr int batch_size = 64, judged_layer = config.depth - 1;
  static constexpr double learning_rate = 3e-3;
  static d2v::TrainerOptions trainer_options() {
    d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
    options.optimizer = {.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 3,
                         .corrected_eps = true};
    return options;
  }
  static d2v::EmaConfig ema(std::int64_t updates) { return {0.99, 0.9998, updates}; }
};

}  // namespace demo
