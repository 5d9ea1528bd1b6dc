// SPDX-License-Identifier: MIT
// The model and the recipe of the example programs on text: a small transformer over byte-pair tokens.
#pragma once

#include <string_view>
#include <type_traits>

#include <data2vec/data2vec.hpp>

#include <text_config.hpp>  // vocab_size, tokens, classes: examples/text/config, or written for other data

namespace demo {

namespace d2v = data2vec;

inline constexpr int batch_size = 32;

inline constexpr d2v::Config config{.embed_dim = 64,
                                    .depth = 3,
                                    .num_heads = 4,
                                    .mlp_ratio = 4,
                                    .norm_eps = 1e-5,
                                    .average_top_k_layers = 3,
                                    .batch_norm_target_layer = true,
                                    .layer_norm_targets = true,
                                    .clone_batch = 2,
                                    .mae_init = true};

/// Tokens whose order comes from ALiBi alone: a place would be the easier half of every target (docs/decisions.md).
inline constexpr d2v::TextConfig words{.vocab_size = vocab_size,
                                       .tokens = tokens,
                                       .no_token_positional_embeddings = true,
                                       .no_scale_embedding = false,
                                       .dropout = 0.1,
                                       .modality = {.ema_local_encoder = true,
                                                    .use_alibi_encoder = true,
                                                    .padding = d2v::Padding::exact}};
using Words = d2v::Text<words>;
using Masks = d2v::RandomMask<tokens, d2v::MaskConfig{.mask_prob = 0.6, .mask_length = 1}>;
using Decoder = d2v::Conv1dDecoder<d2v::DecoderConfig{.decoder_dim = 64,
                                                      .decoder_groups = 4,
                                                      .decoder_kernel = 5,
                                                      .decoder_layers = 2,
                                                      .input_dropout = 0,
                                                      .projection_layers = 2},
                                   d2v::LinearInit::bert>;

struct Data2Vec2Model : d2v::Data2Vec2<config, d2v::Branch<Words, Masks, Decoder>> {};

/// An encoder of the same size with learned positions, trained to say what corrupted tokens were.
using PlacedWords = d2v::Text<d2v::TextConfig{.vocab_size = vocab_size,
                                              .tokens = tokens,
                                              .max_source_positions = tokens,
                                              .no_scale_embedding = false,
                                              .dropout = 0.1,
                                              .modality = {.padding = d2v::Padding::exact}}>;
struct RobertaModel : d2v::MaskedLanguageModel<config, PlacedWords, d2v::TokenMask<tokens, d2v::TokenMaskConfig{}>> {};

/// data2vec 1.0 on the encoder of data2vec 2.0, its targets and a teacher with a table of its own: what a small model
/// of text needs (docs/text.md) holds for both.
struct Data2Vec1Model
    : d2v::Data2Vec1<config,
                     d2v::Branch<Words,
                                 d2v::TokenMask<tokens, d2v::TokenMaskConfig{.mask_prob = 0.35,
                                                                             .leave_unmasked_prob = 0,
                                                                             .random_token_prob = 0}>,
                                 d2v::RegressionHead<2, true>>,
                     d2v::Data2Vec1Config{.ema_layers_only = false}> {};

/// `system` of text_config.hpp; `./run pretrain text --system roberta` writes one for that system.
inline constexpr bool is_roberta = std::string_view(system) == "roberta";
inline constexpr bool is_data2vec1 = std::string_view(system) == "data2vec1";
static_assert(is_roberta || is_data2vec1 || std::string_view(system) == "data2vec2",
              "system: expected data2vec2, data2vec1 or roberta");
inline constexpr const char* title = is_roberta ? "RoBERTa" : is_data2vec1 ? "data2vec 1.0" : "data2vec 2.0";
struct Model : std::conditional_t<is_roberta, RobertaModel,
                                  std::conditional_t<is_data2vec1, Data2Vec1Model, Data2Vec2Model>> {};

/// What features are judged by: the tokens behind which block (0: in front of the shared blocks).
inline constexpr int judged_layer = config.depth - 1;

inline constexpr double learning_rate = 2e-3;

/// Of the pre-training.
struct Recipe {
  using Trainer = d2v::Trainer<Model, d2v::Cpu>;

  static d2v::TrainerOptions trainer_options() {
    d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
    options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 1};
    return options;
  }
  static d2v::Schedule schedule(std::int64_t updates, double lr) {
    return d2v::CosineSchedule{.lr = lr, .warmup_updates = updates / 10, .max_update = updates};
  }
  static d2v::EmaConfig ema(std::int64_t updates) { return {0.9995, 0.9999, updates * 7 / 10}; }
};

/// Fine-tuning with few labels, as the demo runs it. `demo --validation` judges by texts that are held out: these
/// numbers were chosen by it, for each start by itself.
struct TuningRecipe {
  int batch = 32;
  double lr = 2e-3;
  int frozen = 0;  ///< updates in which only the head learns, of few updates at most a third
  double layer_decay = 1, weight_decay = 0.1, clip_norm = 1;
};
inline constexpr TuningRecipe tuned_pretrained{.lr = 4e-3, .frozen = 100, .layer_decay = 0.8}, tuned_from_scratch{};

}  // namespace demo
