// SPDX-License-Identifier: MIT
// Small models that differ in what a step does: losses, teacher, norms, decoders, local encoder.
#pragma once

#include <data2vec/data2vec.hpp>

namespace small_models {

using namespace data2vec;

inline constexpr Config small{.embed_dim = 24, .depth = 3, .num_heads = 2, .average_top_k_layers = 2, .clone_batch = 3};
inline constexpr VisionConfig image{
    .input_size = {8, 12}, .patch_size = 2, .in_chans = 2, .modality = {.num_extra_tokens = 2}};
inline constexpr MaskConfig masks{.mask_prob = 0.6};
inline constexpr DecoderConfig decoder{.decoder_dim = 16, .decoder_groups = 4, .decoder_kernel = 3, .decoder_layers = 3,
                                       .input_dropout = 0};

template <class T, class F>
constexpr T with(T value, F change) {
  change(value);
  return value;
}

template <VisionConfig I, class Dec>
using SmallBranch = Branch<Vision<I>, RandomMask<Vision<I>::grid.size(), masks>, Dec>;

inline constexpr Config with_cls = with(small, [](auto& c) { c.cls_loss = 0.5; });
inline constexpr Config with_recon = with(small, [](auto& c) {
  c.recon_loss = 1;
  c.embed_dim = 8;
});
inline constexpr Config encoder_only = with(small, [](auto& c) { c.ema_encoder_only = true; });
inline constexpr Config pre_norm = with(small, [](auto& c) { c.layer_norm_first = true; });
inline constexpr VisionConfig prenet = with(image, [](auto& i) {
  i.modality.prenet_depth = 2;
  i.modality.ema_local_encoder = true;
});
inline constexpr VisionConfig no_extra = with(image, [](auto& i) { i.modality.num_extra_tokens = 0; });
inline constexpr VisionConfig frozen = with(image, [](auto& i) { i.modality.local_grad_mult = 0; });
inline constexpr VisionConfig projected = with(image, [](auto& i) {
  i.embed_dim = 20;
  i.modality.ema_local_encoder = true;
});
inline constexpr VisionConfig projected_frozen = with(projected, [](auto& i) { i.modality.local_grad_mult = 0; });

struct Plain : Data2Vec2<small, SmallBranch<image, Conv2dDecoder<decoder>>> {};
struct Cls : Data2Vec2<with_cls, SmallBranch<prenet, Conv2dDecoder<decoder>>> {};
struct NoExtra : Data2Vec2<small, SmallBranch<no_extra, LinearDecoder<decoder>>> {};
struct Recon : Data2Vec2<with_recon, SmallBranch<image, Conv2dDecoder<decoder>>> {};
struct EncoderOnly : Data2Vec2<encoder_only, SmallBranch<prenet, Conv2dDecoder<decoder>>> {};
struct PreNorm : Data2Vec2<pre_norm, SmallBranch<image, TransformerDecoder<decoder>>> {};
struct Frozen : Data2Vec2<small, SmallBranch<frozen, Conv2dDecoder<decoder>>> {};
struct Projected : Data2Vec2<small, SmallBranch<projected, Conv2dDecoder<decoder>>> {};
struct ProjectedFrozen : Data2Vec2<small, SmallBranch<projected_frozen, Conv2dDecoder<decoder>>> {};
struct Cross : Data2Vec2<small, SmallBranch<image, CrossAttentionDecoder<decoder>>> {};

}  // namespace small_models
