// SPDX-License-Identifier: MIT
// Tiny models of the other systems of pre-training, for tests of the device's trainer.
#pragma once

#include <data2vec/decoder/regression_head.hpp>
#include <data2vec/masking/beit_block.hpp>
#include <data2vec/masking/span.hpp>
#include <data2vec/objective/data2vec1.hpp>
#include <data2vec/objective/roberta.hpp>
#include <data2vec/objective/wav2vec2.hpp>

#include "tests/device/cuda/models.hpp"

namespace models {

/// A masked language model: predicted tokens of other numbers in every step, texts of other lengths.
inline constexpr Config guessing_config{.embed_dim = 32,
                                        .depth = 2,
                                        .num_heads = 2,
                                        .block_names = BlockNames::fairseq,
                                        .encoder_dropout = 0.1,
                                        .attention_dropout = 0.1};
inline constexpr TextConfig guessed_texts{
    .vocab_size = 40, .tokens = 16, .max_source_positions = 16, .modality = {.padding = Padding::exact}};
struct Guessing : MaskedLanguageModel<guessing_config, Text<guessed_texts>,
                                      TokenMask<16, TokenMaskConfig{.mask_prob = 0.4}>> {};

/// data2vec 1.0 of speech and of text.
inline constexpr Config listening_config{.embed_dim = 32,
                                         .depth = 2,
                                         .num_heads = 2,
                                         .encoder_dropout = 0.1,
                                         .attention_dropout = 0.1,
                                         .average_top_k_layers = 2,
                                         .instance_norm_target_layer = true};
inline constexpr Config reading_config{.embed_dim = 32,
                                       .depth = 2,
                                       .num_heads = 2,
                                       .encoder_dropout = 0.1,
                                       .average_top_k_layers = 2,
                                       .layer_norm_target_layer = true,
                                       .loss_beta = 4,
                                       .loss_scale = 1};
inline constexpr SpeechConfig heard_waveforms{.input_size = 400,
                                              .feature_encoder_spec = {{16, 10, 5}, {16, 3, 2}, {16, 2, 2}},
                                              .conv_pos_width = 9,
                                              .conv_pos_groups = 4,
                                              .conv_pos_depth = 3};
using Heard = Speech<heard_waveforms>;
struct Listening : Data2Vec1<listening_config, Branch<Heard, SpanMask<Heard::tokens, MaskConfig{.mask_prob = 0.5,
                                                                                               .mask_length = 3}>,
                                                      RegressionHead<1>>> {};
struct Reading
    : Data2Vec1<reading_config,
                Branch<Text<guessed_texts>,
                       TokenMask<16, TokenMaskConfig{.mask_prob = 0.4, .leave_unmasked_prob = 0, .random_token_prob = 0,
                                                     .mask_multiple_length = 2}>,
                       RegressionHead<2, true>>> {};

/// And of images: relative positions, layer scale, another view for the teacher.
inline constexpr Config looking_config{.embed_dim = 32,
                                       .depth = 2,
                                       .num_heads = 2,
                                       .layer_scale = 0.1,
                                       .start_drop_path_rate = 0.1,
                                       .end_drop_path_rate = 0.3,
                                       .average_top_k_layers = 2,
                                       .end_of_block_targets = true,
                                       .layer_norm_target_layer = true,
                                       .loss_beta = 2,
                                       .mae_init = true};
inline constexpr VisionConfig seen_images{
    .input_size = 8, .patch_size = 2, .in_chans = 1, .fixed_positions = false, .modality = {.num_extra_tokens = 1}};
struct Looking
    : Data2Vec1<looking_config,
                Branch<Vision<seen_images>,
                       BeitBlockMask<Grid{4, 4}, BeitMaskConfig{.num_mask_patches = 9, .min_mask_patches_per_block = 2,
                                                                .max_mask_patches_per_block = 16}>,
                       RegressionHead<1>>> {};

/// wav2vec 2.0, with negatives of every kind and a temperature that falls.
inline constexpr Config telling_config{.embed_dim = 32,
                                       .depth = 2,
                                       .num_heads = 2,
                                       .norm_eps = 1e-5,
                                       .block_names = BlockNames::fairseq,
                                       .encoder_dropout = 0.1,
                                       .attention_dropout = 0.1,
                                       .dropout_input = 0.1};
inline constexpr SpeechConfig told_waveforms{.input_size = 400,
                                             .feature_encoder_spec = {{16, 10, 5}, {16, 3, 2}, {16, 2, 2}},
                                             .extractor_mode = ExtractorMode::default_,
                                             .conv_pos_width = 8,
                                             .conv_pos_groups = 4,
                                             .conv_pos_depth = 1,
                                             .conv_pos_weight_norm = true,
                                             .modality = {.local_grad_mult = 0.5}};
using Told = Speech<told_waveforms>;
struct Telling : Wav2Vec2<telling_config, Told, SpanMask<Told::tokens, MaskConfig{.mask_prob = 0.5, .mask_length = 3}>,
                          Wav2Vec2Config{.final_dim = 16,
                                         .latent_vars = 8,
                                         .latent_dim = 16,
                                         .num_negatives = 5,
                                         .cross_sample_negatives = 2,
                                         .codebook_negatives = 2,
                                         .dropout_features = 0.1,
                                         .latent_temp = {2, 0.5, 0.8}}> {};

inline constexpr std::size_t systems_key_biases = 2 * 32;  // of two blocks, in each of them

/// `steps` steps of "guessing", "listening", "reading", "looking" or "telling" on the CPU.
Trace train_system_on_cpu(const std::string& model, int steps, int accumulation);

}  // namespace models
