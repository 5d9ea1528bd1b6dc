// SPDX-License-Identifier: MIT
// The model and the recipe of the example programs: a small vision transformer whose patches cut a small image into 16
// tokens, and a larger one into some 64. docs/recipe.md says which of these numbers matter.
#pragma once

#include <data2vec/data/images.hpp>
#include <data2vec/data2vec.hpp>

#include <data_config.hpp>  // height, width, channels, classes: examples/config, or written for other data

namespace demo {

namespace d2v = data2vec;

inline constexpr int batch_size = 16;
inline constexpr int chunk = 4;  ///< images that pass the model together; threads share a batch by chunks
inline constexpr d2v::ShiftAndFlip augmentation{.shift = 2, .flip = true};

inline constexpr d2v::Config config{.embed_dim = 128,
                                    .depth = 4,
                                    .num_heads = 4,
                                    .mlp_ratio = 4,
                                    .average_top_k_layers = 4,
                                    .instance_norm_target_layer = true,
                                    .layer_norm_targets = true,
                                    .clone_batch = 8,
                                    .mae_init = true};

/// The side of a patch: the divisor of `side` that comes nearest from above to its quarter, beyond 32 pixels its eighth.
constexpr int patch_side(int side) {
  for (int patch = side <= 32 ? (side + 3) / 4 : (side + 7) / 8; patch < side; ++patch)
    if (side % patch == 0) return patch;
  return side;
}

using Images = d2v::Vision<d2v::VisionConfig{
    .input_size = {height, width},
    .patch_size = {patch_side(height), patch_side(width)},
    .in_chans = channels,
    .modality = {.num_extra_tokens = 1, .init_extra_token_zero = false, .ema_local_encoder = true}}>;
using Masks = d2v::InverseBlockMask<Images::grid,
                                    d2v::MaskConfig{.mask_prob = 0.75, .mask_prob_adjust = 0.07, .mask_length = 2}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{
    .decoder_dim = 64, .decoder_groups = 8, .decoder_kernel = 3, .decoder_layers = 2, .input_dropout = 0}>;

/// What becomes of an image's tokens: the mean of all, means of 2 x 2 or 3 x 3 parts of the image one behind the other,
/// the CLS token, or all of them as they are (the extra tokens first).
enum class Pool { mean, quarters, ninths, cls, none };

/// What an encoder is judged by: the tokens of which layer (0: in front of the shared blocks, i: behind block i), and
/// how they are pooled.
inline constexpr int judged_layer = config.depth - 1;
inline constexpr Pool judged_pool = Pool::quarters;

struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

inline constexpr double learning_rate = 3e-3;

/// Of the pre-training.
struct Recipe {
  using Trainer = d2v::Trainer<Model, d2v::Cpu, chunk>;

  static d2v::TrainerOptions trainer_options() {
    d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
    options.optimizer = {.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 4};
    return options;
  }
  static d2v::Schedule schedule(std::int64_t updates, double lr) {
    return d2v::CosineSchedule{.lr = lr, .warmup_updates = updates / 20, .max_update = updates};
  }
  static d2v::EmaConfig ema(std::int64_t updates) { return {0.998, 0.9998, updates}; }
};

/// Fine-tuning with few labels, as the demo runs it. `demo --validation` judges by training images that are held out:
/// these numbers were chosen by it.
struct TuningRecipe {
  int batch = 32;
  double lr = 1e-3;
  double layer_decay = 1;  ///< factor on the learning rate from block to block
  double drop_path = 0.1, weight_decay = 0.05, clip_norm = 4, label_smoothing = 0.1;
};
inline constexpr TuningRecipe tuned_pretrained{.layer_decay = 0.75};
inline constexpr TuningRecipe tuned_from_scratch{};

}  // namespace demo
