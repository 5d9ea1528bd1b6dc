// SPDX-License-Identifier: MIT
// The model and the recipe of the example programs: a small vision transformer whose patches cut an image into some 49
// to 64 tokens.
#pragma once

#include <data2vec/data/images.hpp>
#include <data2vec/data2vec.hpp>

#include <data_config.hpp>  // height, width, channels, classes: examples/config, or written for other data

namespace demo {

namespace d2v = data2vec;

inline constexpr int batch_size = 32;
inline constexpr d2v::ShiftAndFlip augmentation{.shift = 2, .flip = true};

inline constexpr d2v::Config config{.embed_dim = 128,
                                    .depth = 4,
                                    .num_heads = 4,
                                    .mlp_ratio = 4,
                                    .average_top_k_layers = 4,
                                    .instance_norm_target_layer = true,
                                    .layer_norm_targets = true,
                                    .clone_batch = 6,
                                    .mae_init = true};

/// The side of a patch: the divisor of `side` that comes nearest to an eighth of it from above, at least 4 pixels.
constexpr int patch_side(int side) {
  for (int patch = side / 8 > 4 ? (side + 7) / 8 : 4; patch < side; ++patch)
    if (side % patch == 0) return patch;
  return side;
}

using Images = d2v::Vision<d2v::VisionConfig{
    .input_size = {height, width},
    .patch_size = {patch_side(height), patch_side(width)},
    .in_chans = channels,
    .modality = {.num_extra_tokens = 1, .init_extra_token_zero = false, .ema_local_encoder = true}}>;
using Masks = d2v::InverseBlockMask<Images::grid,
                                    d2v::MaskConfig{.mask_prob = 0.6, .mask_prob_adjust = 0.07, .mask_length = 3}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{
    .decoder_dim = 64, .decoder_groups = 8, .decoder_kernel = 3, .decoder_layers = 2, .input_dropout = 0}>;

struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

inline d2v::Schedule schedule(std::int64_t updates) {
  return d2v::CosineSchedule{.lr = 2e-3, .warmup_updates = updates / 20, .max_update = updates};
}
inline d2v::EmaConfig ema(std::int64_t updates) { return {0.98, 0.9995, updates}; }

inline d2v::TrainerOptions trainer_options() {
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
  options.optimizer = {.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 4};
  return options;
}

}  // namespace demo
