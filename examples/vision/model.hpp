// SPDX-License-Identifier: MIT
// The model and the recipe of the example programs: a small vision transformer whose patches cut a small image into 16
// tokens, and a larger one into some 64. docs/recipe.md says which of these numbers matter. nvcc compiles this file too.
#pragma once

#include <string_view>
#include <type_traits>

#include <data2vec/data/images.hpp>
#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/masking/block.hpp>
#include <data2vec/objective/data2vec2.hpp>

#include "examples/vision/systems.hpp"

namespace demo {

namespace d2v = data2vec;

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

using Images = d2v::Vision<d2v::VisionConfig{
    .input_size = {height, width},
    .patch_size = patch_size,
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
inline constexpr Pool judged_pool = Pool::quarters;

/// What the programs train unless they are compiled for another system (examples/vision/systems.hpp).
struct Data2Vec2System {
  static constexpr const char* title = "data2vec 2.0";
  struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};
  static constexpr int batch_size = 16, judged_layer = config.depth - 1;
  static constexpr double learning_rate = 3e-3;
  static d2v::TrainerOptions trainer_options() {
    d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
    options.optimizer = {.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 4};
    return options;
  }
  static d2v::EmaConfig ema(std::int64_t updates) { return {0.998, 0.9998, updates}; }
};

/// `system` of data_config.hpp by name.
using System = std::conditional_t<std::string_view(system) == "mae", MaeSystem<>,
                                  std::conditional_t<std::string_view(system) == "data2vec1", Data2Vec1System<>,
                                                     Data2Vec2System>>;
static_assert(std::string_view(system) == "data2vec2" || !std::is_same_v<System, Data2Vec2System>,
              "system: expected data2vec2, data2vec1 or mae");
using Model = System::Model;
inline constexpr int batch_size = System::batch_size, judged_layer = System::judged_layer;
inline constexpr double learning_rate = System::learning_rate;

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
