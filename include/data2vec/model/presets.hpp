// SPDX-License-Identifier: MIT
// The configurations of the published vision models of data2vec 2.0, field by field as the reference's files have them
// (examples/data2vec/config/v2/{base,large,huge,huge14}_images_only_task.yaml). The models made of them are in
// objective/models.hpp, their recipes in training/recipes.hpp.
#pragma once

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

}  // namespace data2vec::inline v0
