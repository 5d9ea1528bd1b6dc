// SPDX-License-Identifier: MIT
// The systems that data2vec 2.0 is measured against on the encoder of a configuration of bench/configs.hpp: as many blocks
// (its prenet's among them), as wide, on the same samples; what is the system's own is as in its published base model,
// but for the small heads of small encoders.
#pragma once

#include <data2vec/decoder/pixel.hpp>
#include <data2vec/decoder/regression_head.hpp>
#include <data2vec/masking/beit_block.hpp>
#include <data2vec/masking/bert.hpp>
#include <data2vec/masking/span.hpp>
#include <data2vec/model/presets.hpp>
#include <data2vec/objective/data2vec1.hpp>
#include <data2vec/objective/mae.hpp>
#include <data2vec/objective/roberta.hpp>
#include <data2vec/objective/wav2vec2.hpp>

#include "bench/configs.hpp"

namespace bench {

template <class Setup, int masks>
struct Data2vec2 : Model<Setup, masks> {};

namespace detail {

template <class Setup>
inline constexpr d2v::Config encoder = [] {
  constexpr d2v::Config from = Setup::config;
  d2v::Config c{.embed_dim = from.embed_dim, .depth = from.depth, .num_heads = from.num_heads, .norm_eps = from.norm_eps};
  c.encoder_dropout = from.encoder_dropout;
  c.post_mlp_drop = from.post_mlp_drop;
  c.attention_dropout = from.attention_dropout;
  if constexpr (requires { Setup::images; }) c.depth += Setup::images.modality.prenet_depth;
  return c;
}();

template <class Setup>
inline constexpr d2v::VisionConfig plain_images{.input_size = Setup::images.input_size,
                                                .patch_size = Setup::images.patch_size,
                                                .in_chans = Setup::images.in_chans,
                                                .modality = {.num_extra_tokens = 1}};
template <class Setup>
inline constexpr d2v::SpeechConfig waveforms = [] {
  d2v::SpeechConfig c{.input_size = Setup::waveforms.input_size,
                      .feature_encoder_spec = Setup::waveforms.feature_encoder_spec};
  c.modality.prenet_dropout = Setup::waveforms.modality.prenet_dropout;
  return c;
}();
/// Of half a second of tiny speech spans of 10 frames would be the most there is.
template <class Setup>
inline constexpr d2v::MaskConfig spans{.mask_prob = 0.65, .mask_length = Setup::masking.mask_length};

template <class Setup>
inline constexpr bool is_small = Setup::config.embed_dim < 512;

template <class Setup>
struct MaeOf {
  using Images = d2v::Vision<plain_images<Setup>>;
  static constexpr d2v::PixelDecoderConfig decoder =
      is_small<Setup> ? d2v::PixelDecoderConfig{.decoder_embed_dim = Setup::config.embed_dim / 3 * 2,
                                                .decoder_depth = 2,
                                                .decoder_num_heads = 4}
                      : d2v::PixelDecoderConfig{};
  using type = d2v::MaskedAutoencoder<
      encoder<Setup>, d2v::Branch<Images, d2v::RandomMask<Images::tokens, d2v::mae_masks>, d2v::PixelDecoder<decoder>>>;
};

/// Targets and loss of data2vec 1.0, by the published base models.
template <class Setup>
constexpr d2v::Config regresses(d2v::Config published) {
  d2v::Config c = encoder<Setup>;
  c.average_top_k_layers = Setup::config.average_top_k_layers;
  c.end_of_block_targets = published.end_of_block_targets;
  c.layer_norm_target_layer = published.layer_norm_target_layer;
  c.layer_norm_targets = published.layer_norm_targets;
  c.instance_norm_target_layer = published.instance_norm_target_layer;
  c.loss_beta = published.loss_beta;
  c.loss_scale = published.loss_scale;
  return c;
}
template <class Setup>
struct Data2vec1Of;
template <class Setup>
  requires requires { Setup::images; }
struct Data2vec1Of<Setup> {
  static constexpr d2v::VisionConfig images = [] {
    d2v::VisionConfig c = plain_images<Setup>;
    c.fixed_positions = false;
    return c;
  }();
  using Images = d2v::Vision<images>;
  static constexpr d2v::BeitMaskConfig masks{.num_mask_patches = Images::tokens * 120 / 196,
                                             .min_mask_patches_per_block = is_small<Setup> ? 4 : 16,
                                             .max_mask_patches_per_block = Images::tokens};
  using type = d2v::Data2Vec1<regresses<Setup>(d2v::data2vec1_vision_base),
                              d2v::Branch<Images, d2v::BeitBlockMask<Images::grid, masks>, d2v::RegressionHead<1>>>;
};
template <class Setup>
  requires requires { Setup::waveforms; }
struct Data2vec1Of<Setup> {
  using Waveforms = d2v::Speech<waveforms<Setup>>;
  using type = d2v::Data2Vec1<regresses<Setup>(d2v::data2vec1_speech_base),
                              d2v::Branch<Waveforms, d2v::SpanMask<Waveforms::tokens, spans<Setup>>,
                                          d2v::RegressionHead<1>>>;
};
template <class Setup>
  requires requires { Setup::tokens; }
struct Data2vec1Of<Setup> {
  using Tokens = d2v::Text<Setup::tokens>;
  using type = d2v::Data2Vec1<regresses<Setup>(d2v::data2vec1_text_base),
                              d2v::Branch<Tokens, d2v::TokenMask<Tokens::tokens, d2v::data2vec1_text_masks>,
                                          d2v::RegressionHead<2, true>>>;
};

template <class Setup>
struct Wav2vec2Of {
  static constexpr d2v::SpeechConfig with_norm = [] {
    d2v::SpeechConfig c = waveforms<Setup>;
    c.extractor_mode = d2v::ExtractorMode::default_;
    c.conv_pos_width = is_small<Setup> ? 57 : 128;
    c.conv_pos_groups = is_small<Setup> ? 8 : 16;
    c.conv_pos_depth = 1;
    c.conv_pos_weight_norm = true;
    c.project_equal_width = false;
    c.modality.local_grad_mult = 0.1;
    return c;
  }();
  using Waveforms = d2v::Speech<with_norm>;
  using type = d2v::Wav2Vec2<encoder<Setup>, Waveforms, d2v::SpanMask<Waveforms::tokens, spans<Setup>>,
                             d2v::Wav2Vec2Config{.final_dim = is_small<Setup> ? 64 : 256}>;
};

template <class Setup>
struct RobertaOf {
  using Tokens = d2v::Text<Setup::tokens>;
  using type =
      d2v::MaskedLanguageModel<encoder<Setup>, Tokens, d2v::TokenMask<Tokens::tokens, d2v::TokenMaskConfig{}>>;
};

}  // namespace detail

// One mask a sample.
template <class Setup, int>
struct Mae : detail::MaeOf<Setup>::type {
  using SetupType = Setup;
};
template <class Setup, int>
struct Data2vec1 : detail::Data2vec1Of<Setup>::type {
  using SetupType = Setup;
};
template <class Setup, int>
struct Wav2vec2 : detail::Wav2vec2Of<Setup>::type {
  using SetupType = Setup;
};
template <class Setup, int>
struct Roberta : detail::RobertaOf<Setup>::type {
  using SetupType = Setup;
};

}  // namespace bench
