// SPDX-License-Identifier: MIT
// The configurations of the published models of data2vec 2.0, field by field as the reference's files have them
// (examples/data2vec/config/v2/{base,large,huge,huge14}_images_only_task.yaml). The models made of them are in
// objective/models.hpp, their recipes in training/recipes.hpp.
#pragma once

#include <data2vec/masking/beit_block.hpp>
#include <data2vec/masking/bert.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// Base: 2 prenet and 10 shared blocks of width 768.
inline constexpr Config vision_base{.embed_dim = 768,
                                    .depth = 10,
                                    .num_heads = 12,
                                    .mlp_ratio = 4,
                                    .norm_eps = 1e-6,
                                    .average_top_k_layers = 10,
                                    .instance_norm_target_layer = true,
                                    .layer_norm_targets = true,
                                    .clone_batch = 16,
                                    .cls_loss = 0.01};
/// Large: 24 shared blocks of width 1024.
inline constexpr Config vision_large{.embed_dim = 1024,
                                     .depth = 24,
                                     .num_heads = 16,
                                     .mlp_ratio = 4,
                                     .norm_eps = 1e-6,
                                     .average_top_k_layers = 18,
                                     .instance_norm_target_layer = true,
                                     .layer_norm_targets = true,
                                     .clone_batch = 16,
                                     .cls_loss = 0.01};
/// Huge: 32 shared blocks of width 1280.
inline constexpr Config vision_huge{.embed_dim = 1280,
                                    .depth = 32,
                                    .num_heads = 16,
                                    .mlp_ratio = 4,
                                    .norm_eps = 1e-6,
                                    .average_top_k_layers = 24,
                                    .instance_norm_target_layer = true,
                                    .layer_norm_targets = true,
                                    .clone_batch = 16,
                                    .cls_loss = 0.01};
/// Huge with patches of 14 pixels: the same encoder.
inline constexpr Config vision_huge14 = vision_huge;

inline constexpr ModalityConfig vision_base_modality{
    .prenet_depth = 2, .num_extra_tokens = 1, .init_extra_token_zero = false, .ema_local_encoder = true};
inline constexpr ModalityConfig vision_large_modality{
    .prenet_depth = 0, .num_extra_tokens = 1, .init_extra_token_zero = false, .ema_local_encoder = true};

inline constexpr VisionConfig vision_base_images{
    .input_size = 224, .patch_size = 16, .in_chans = 3, .modality = vision_base_modality};
inline constexpr VisionConfig vision_large_images{
    .input_size = 224, .patch_size = 16, .in_chans = 3, .modality = vision_large_modality};
inline constexpr VisionConfig vision_huge14_images{
    .input_size = 224, .patch_size = 14, .in_chans = 3, .modality = vision_large_modality};

inline constexpr MaskConfig vision_base_masks{.mask_prob = 0.8, .mask_prob_adjust = 0.07, .mask_length = 3};
inline constexpr MaskConfig vision_large_masks{.mask_prob = 0.75, .mask_prob_adjust = 0.1, .mask_length = 3};

inline constexpr DecoderConfig vision_base_decoder{.decoder_dim = 768,
                                                   .decoder_groups = 16,
                                                   .decoder_kernel = 3,
                                                   .decoder_layers = 6,
                                                   .input_dropout = 0};
inline constexpr DecoderConfig vision_large_decoder{.decoder_dim = 1024,
                                                    .decoder_groups = 16,
                                                    .decoder_kernel = 5,
                                                    .decoder_layers = 3,
                                                    .input_dropout = 0};

// Speech: examples/data2vec/config/v2/{base,large}_audio_only_task.yaml. Pre-training has no padding: every recording is
// cropped.

/// Base: 12 blocks of width 768.
inline constexpr Config speech_base{.embed_dim = 768,
                                    .depth = 12,
                                    .num_heads = 12,
                                    .mlp_ratio = 4,
                                    .norm_eps = 1e-5,
                                    .encoder_dropout = 0.1,
                                    .post_mlp_drop = 0.1,
                                    .attention_dropout = 0.1,
                                    .layerdrop = 0.05,
                                    .average_top_k_layers = 8,
                                    .instance_norm_target_layer = true,
                                    .clone_batch = 8};
/// Large: 8 prenet and 16 shared blocks of width 1024.
inline constexpr Config speech_large{.embed_dim = 1024,
                                     .depth = 16,
                                     .num_heads = 16,
                                     .mlp_ratio = 4,
                                     .norm_eps = 1e-5,
                                     .encoder_dropout = 0.1,
                                     .post_mlp_drop = 0.1,
                                     .attention_dropout = 0.1,
                                     .average_top_k_layers = 16,
                                     .instance_norm_target_layer = true,
                                     .clone_batch = 12};

inline constexpr ModalityConfig speech_base_modality{.prenet_depth = 0,
                                                     .prenet_layerdrop = 0.05,
                                                     .prenet_dropout = 0.1,
                                                     .use_alibi_encoder = true,
                                                     .learned_alibi_scale = true,
                                                     .learned_alibi_scale_per_head = true};
inline constexpr ModalityConfig speech_large_modality{.prenet_depth = 8,
                                                      .prenet_layerdrop = 0,
                                                      .prenet_dropout = 0.1,
                                                      .use_alibi_encoder = true,
                                                      .learned_alibi_scale = true,
                                                      .learned_alibi_scale_per_head = true};

inline constexpr SpeechConfig speech_base_waveforms{.input_size = 320'000, .modality = speech_base_modality};
inline constexpr SpeechConfig speech_large_waveforms{.input_size = 320'000, .modality = speech_large_modality};

inline constexpr MaskConfig speech_base_masks{.mask_prob = 0.5, .mask_prob_adjust = 0.05, .mask_length = 5};
inline constexpr MaskConfig speech_large_masks{.mask_prob = 0.55, .mask_prob_adjust = 0.1, .mask_length = 5};

inline constexpr DecoderConfig speech_base_decoder{.decoder_dim = 384,
                                                   .decoder_groups = 16,
                                                   .decoder_kernel = 7,
                                                   .decoder_layers = 4,
                                                   .input_dropout = 0.1};
inline constexpr DecoderConfig speech_large_decoder{.decoder_dim = 768,
                                                    .decoder_groups = 16,
                                                    .decoder_kernel = 7,
                                                    .decoder_layers = 4,
                                                    .input_dropout = 0.1};

// Text: examples/data2vec/config/v2/{base_text_only_task,large_text_only_task,large_text_only_task_pgrp_1M}.yaml. The
// published rule of padding is the reference's; Padding::exact is the one to choose for a training of one's own.

/// Base: 12 blocks of width 768.
inline constexpr Config text_base{.embed_dim = 768,
                                  .depth = 12,
                                  .num_heads = 12,
                                  .mlp_ratio = 4,
                                  .norm_eps = 1e-5,
                                  .encoder_dropout = 0.1,
                                  .post_mlp_drop = 0.1,
                                  .attention_dropout = 0.1,
                                  .average_top_k_layers = 12,
                                  .instance_norm_target_layer = true,
                                  .ema_encoder_only = true,
                                  .clone_batch = 8,
                                  .loss_beta = 0,
                                  .loss_scale = 1};
/// Large: 24 blocks of width 1024.
inline constexpr Config text_large{.embed_dim = 1024,
                                   .depth = 24,
                                   .num_heads = 16,
                                   .mlp_ratio = 4,
                                   .norm_eps = 1e-5,
                                   .encoder_dropout = 0.1,
                                   .post_mlp_drop = 0.1,
                                   .attention_dropout = 0.1,
                                   .average_top_k_layers = 24,
                                   .layer_norm_target_layer = true,
                                   .instance_norm_targets = true,
                                   .ema_encoder_only = true,
                                   .clone_batch = 8,
                                   .loss_beta = 0,
                                   .loss_scale = 1};
/// Large with a smooth L1 loss, trained for a million updates.
inline constexpr Config text_large_1m = [] {
  Config c = text_large;
  c.loss_beta = 4;
  return c;
}();

inline constexpr TextConfig text_tokens{.vocab_size = 50'265,
                                        .tokens = 512,
                                        .dropout = 0.1,
                                        .modality = {.prenet_depth = 0, .padding = Padding::reference}};

inline constexpr MaskConfig text_base_masks{.mask_prob = 0.48, .mask_length = 1};
inline constexpr MaskConfig text_large_masks{.mask_prob = 0.5, .mask_length = 1};

inline constexpr DecoderConfig text_decoder{.decoder_dim = 768,
                                            .decoder_groups = 1,
                                            .decoder_kernel = 9,
                                            .decoder_layers = 5,
                                            .input_dropout = 0.1,
                                            .decoder_residual = false,
                                            .projection_layers = 2,
                                            .projection_ratio = 2};

// RoBERTa: examples/roberta/config/pretraining/base.yaml, and the sizes of the paper (Liu et al., 2019, table 9).

/// Base: 12 blocks of width 768.
inline constexpr Config roberta_base{.embed_dim = 768,
                                     .depth = 12,
                                     .num_heads = 12,
                                     .mlp_ratio = 4,
                                     .norm_eps = 1e-5,
                                     .block_names = BlockNames::fairseq,
                                     .encoder_dropout = 0.1,
                                     .post_mlp_drop = 0.1,
                                     .attention_dropout = 0.1};
/// Large: 24 blocks of width 1024.
inline constexpr Config roberta_large = [] {
  Config c = roberta_base;
  c.embed_dim = 1024;
  c.depth = 24;
  c.num_heads = 16;
  return c;
}();

inline constexpr TextConfig roberta_tokens{
    .vocab_size = 50'265, .tokens = 512, .dropout = 0.1, .modality = {.padding = Padding::exact}};

// Masked autoencoders: models_mae.py of facebookresearch/mae. Their decoder is the same for all sizes:
// PixelDecoderConfig's defaults.

inline constexpr Config mae_base{.embed_dim = 768, .depth = 12, .num_heads = 12, .norm_eps = 1e-6};
inline constexpr Config mae_large{.embed_dim = 1024, .depth = 24, .num_heads = 16, .norm_eps = 1e-6};
inline constexpr Config mae_huge{.embed_dim = 1280, .depth = 32, .num_heads = 16, .norm_eps = 1e-6};
inline constexpr VisionConfig mae_images{.input_size = 224, .patch_size = 16, .modality = {.num_extra_tokens = 1}};
inline constexpr VisionConfig mae_huge_images{.input_size = 224, .patch_size = 14, .modality = {.num_extra_tokens = 1}};
inline constexpr MaskConfig mae_masks{.mask_prob = 0.75};

// wav2vec 2.0: examples/wav2vec/config/pretraining/{wav2vec2_base_librispeech,wav2vec2_large_librivox}.yaml. Recordings
// are cropped: there is no padding.

/// Base: 12 blocks of width 768.
inline constexpr Config wav2vec2_base{.embed_dim = 768,
                                      .depth = 12,
                                      .num_heads = 12,
                                      .mlp_ratio = 4,
                                      .norm_eps = 1e-5,
                                      .block_names = BlockNames::fairseq,
                                      .encoder_dropout = 0.1,
                                      .post_mlp_drop = 0.1,
                                      .attention_dropout = 0.1,
                                      .dropout_input = 0.1,
                                      .layerdrop = 0.05};
/// Large: 24 pre-norm blocks of width 1024, no dropout.
inline constexpr Config wav2vec2_large{.embed_dim = 1024,
                                       .depth = 24,
                                       .num_heads = 16,
                                       .mlp_ratio = 4,
                                       .norm_eps = 1e-5,
                                       .layer_norm_first = true,
                                       .pre_norm_mlp_residual = true,
                                       .block_names = BlockNames::fairseq};

inline constexpr SpeechConfig wav2vec2_base_waveforms{.input_size = 250'000,
                                                      .extractor_mode = ExtractorMode::default_,
                                                      .conv_pos_width = 128,
                                                      .conv_pos_groups = 16,
                                                      .conv_pos_depth = 1,
                                                      .conv_pos_weight_norm = true,
                                                      .project_equal_width = false,
                                                      .dropout = 0.1,
                                                      .clear_padding = true,
                                                      .modality = {.local_grad_mult = 0.1}};
inline constexpr SpeechConfig wav2vec2_large_waveforms{.input_size = 320'000,
                                                       .extractor_mode = ExtractorMode::layer_norm,
                                                       .conv_pos_width = 128,
                                                       .conv_pos_groups = 16,
                                                       .conv_pos_depth = 1,
                                                       .conv_pos_weight_norm = true,
                                                       .conv_bias = true,
                                                       .project_equal_width = false,
                                                       .clear_padding = true};

inline constexpr MaskConfig wav2vec2_masks{.mask_prob = 0.65, .mask_length = 10};

inline constexpr Wav2Vec2Config wav2vec2_base_contrast{};
inline constexpr Wav2Vec2Config wav2vec2_large_contrast{
    .final_dim = 768, .dropout_features = 0, .latent_temp = {2, 0.1, 0.999995}, .features_pen_weight = 0};

// data2vec 1.0. Vision: the published models' code (facebookresearch/data2vec_vision) and fairseq's
// (examples/data2vec/config/vision/pretraining/base_imagenet_d2v1.yaml).

inline constexpr Config data2vec1_vision_base{.embed_dim = 768,
                                              .depth = 12,
                                              .num_heads = 12,
                                              .norm_eps = 1e-6,
                                              .layer_scale = 1e-4,
                                              .attention_dropout = 0.05,
                                              .end_drop_path_rate = 0.25,
                                              .average_top_k_layers = 6,
                                              .end_of_block_targets = true,
                                              .layer_norm_target_layer = true,
                                              .layer_norm_targets = true,
                                              .loss_beta = 2,
                                              .loss_scale = 1.0 / 768};
inline constexpr Config data2vec1_vision_base_fairseq = [] {
  Config c = data2vec1_vision_base;
  c.norm_eps = 1e-5;
  c.layer_norm_target_layer = false;
  c.loss_scale = 0;
  return c;
}();
inline constexpr VisionConfig data2vec1_images{
    .input_size = 224, .patch_size = 16, .fixed_positions = false, .modality = {.num_extra_tokens = 1}};
inline constexpr BeitMaskConfig data2vec1_image_masks{.num_mask_patches = 120};
inline constexpr BeitMaskConfig data2vec1_image_masks_fairseq{};

// Speech and text: examples/data2vec/config/{audio,text}/pretraining/base*.yaml.

inline constexpr Config data2vec1_speech_base{.embed_dim = 768,
                                              .depth = 12,
                                              .num_heads = 12,
                                              .norm_eps = 1e-5,
                                              .encoder_dropout = 0.1,
                                              .post_mlp_drop = 0.1,
                                              .attention_dropout = 0.1,
                                              .layerdrop = 0.05,
                                              .average_top_k_layers = 8,
                                              .instance_norm_target_layer = true};
inline constexpr MaskConfig data2vec1_speech_masks{.mask_prob = 0.65, .mask_length = 10};
inline constexpr Config data2vec1_text_base{.embed_dim = 768,
                                            .depth = 12,
                                            .num_heads = 12,
                                            .norm_eps = 1e-5,
                                            .encoder_dropout = 0.1,
                                            .post_mlp_drop = 0.1,
                                            .attention_dropout = 0.1,
                                            .average_top_k_layers = 10,
                                            .layer_norm_target_layer = true,
                                            .loss_beta = 4,
                                            .loss_scale = 1};
inline constexpr TextConfig data2vec1_tokens{.vocab_size = 50'265, .tokens = 512};
inline constexpr TokenMaskConfig data2vec1_text_masks{
    .mask_prob = 0.35, .leave_unmasked_prob = 0, .random_token_prob = 0, .mask_multiple_length = 4};

}  // namespace data2vec::inline v0
