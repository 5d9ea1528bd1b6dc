// SPDX-License-Identifier: MIT
// The published vision models of data2vec 2.0, field by field as the reference's configuration files have them
// (examples/data2vec/config/v2/{base,large,huge,huge14}_images_only_task.yaml).
#pragma once

#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/masking/block.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/model/config.hpp>
#include <data2vec/objective/data2vec2.hpp>
#include <data2vec/training/options.hpp>

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

namespace detail {
template <VisionConfig images, MaskConfig masks, DecoderConfig decoder>
using VisionBranch =
    Branch<Vision<images>, InverseBlockMask<Vision<images>::grid, masks>, Conv2dDecoder<decoder>>;
}

struct VisionBase
    : Data2Vec2<vision_base, detail::VisionBranch<vision_base_images, vision_base_masks, vision_base_decoder>> {};
struct VisionLarge
    : Data2Vec2<vision_large, detail::VisionBranch<vision_large_images, vision_large_masks, vision_large_decoder>> {};
struct VisionHuge
    : Data2Vec2<vision_huge, detail::VisionBranch<vision_large_images, vision_large_masks, vision_large_decoder>> {};
struct VisionHuge14
    : Data2Vec2<vision_huge14, detail::VisionBranch<vision_huge14_images, vision_large_masks, vision_large_decoder>> {};

namespace detail {
/// The run-time settings that all published vision models share.
template <class Model>
TrainerOptions vision_recipe(double lr, std::int64_t max_update, const EmaConfig& ema) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = lr, .warmup_updates = 50'040, .max_update = max_update};
  options.optimizer = {.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 4,
                       .decay_scope = DecayScope::all};
  options.ema = ema;
  return options;
}
}  // namespace detail

/// The published recipes: learning rate, schedule, optimizer, teacher. Weight decay acts on all parameters, as the
/// published code runs; set `optimizer.decay_scope` to `matrices` for what it means to do. The published batches are
/// 256 (base), 128 (large), 128 (huge) and 256 (huge14) images.
inline TrainerOptions vision_base_recipe() {
  return detail::vision_recipe<VisionBase>(1e-3, 375'300, {0.9998, 0.99999, 100'000});
}
inline TrainerOptions vision_large_recipe() {
  return detail::vision_recipe<VisionLarge>(4e-4, 375'300, {0.9998, 0.99999, 150'000});
}
inline TrainerOptions vision_huge_recipe() {
  return detail::vision_recipe<VisionHuge>(4e-4, 375'300, {0.9998, 0.99995, 150'000});
}
inline TrainerOptions vision_huge14_recipe() {
  return detail::vision_recipe<VisionHuge14>(4e-4, 500'000, {0.9998, 1, 300'000});
}

}  // namespace data2vec::inline v0
