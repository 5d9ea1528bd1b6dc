// SPDX-License-Identifier: MIT
// The model and the recipe of the example programs on speech: a small transformer over frames of 20 ms, in several
// lengths of one set of parameters.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>
#include <type_traits>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/recogniser_options.hpp>
#include <data2vec/training/length_trainer.hpp>

#include <speech_config.hpp>  // sample_rate, LengthBuckets, width, depth: examples/speech/config

namespace demo {

namespace d2v = data2vec;

inline constexpr int batch_size = 8;  ///< recordings of the longest length, of shorter ones as many samples

inline constexpr d2v::Config config{.embed_dim = width,
                                    .depth = depth,
                                    .num_heads = 4,
                                    .mlp_ratio = 4,
                                    .norm_eps = 1e-5,
                                    .average_top_k_layers = depth,
                                    .instance_norm_target_layer = true,
                                    .clone_batch = 4};

template <int samples>
using Waveforms = d2v::Speech<d2v::SpeechConfig{
    .input_size = samples,
    .sample_rate = sample_rate,
    .feature_encoder_spec = {{64, 10, 5}, {64, 3, 2}, {64, 3, 2}, {64, 3, 2}, {64, 3, 2}, {64, 2, 2}},
    .extractor_mode = d2v::ExtractorMode::default_,
    .conv_pos_width = 9,
    .conv_pos_groups = 8,
    .conv_pos_depth = 1,
    .conv_pos_pre_ln = true,
    .modality = {.use_alibi_encoder = true,
                 .learned_alibi_scale = true,
                 .learned_alibi_scale_per_head = true,
                 .padding = d2v::Padding::exact}}>;
template <int samples>
using Masks = d2v::BlockMask1d<Waveforms<samples>::tokens,
                               d2v::MaskConfig{.mask_prob = 0.5, .mask_prob_adjust = 0.05, .mask_length = 5}>;
using Decoder = d2v::Conv1dDecoder<d2v::DecoderConfig{
    .decoder_dim = width, .decoder_groups = 8, .decoder_kernel = 7, .decoder_layers = 2, .input_dropout = 0}>;

template <int samples>
struct Data2Vec2OfLength : d2v::Data2Vec2<config, d2v::Branch<Waveforms<samples>, Masks<samples>, Decoder>> {};

/// wav2vec 2.0 with an encoder of the same size.
template <int samples>
using Wav2Vec2Waveforms = d2v::Speech<d2v::SpeechConfig{
    .input_size = samples,
    .sample_rate = sample_rate,
    .feature_encoder_spec = {{64, 10, 5}, {64, 3, 2}, {64, 3, 2}, {64, 3, 2}, {64, 3, 2}, {64, 2, 2}},
    .extractor_mode = d2v::ExtractorMode::default_,
    .conv_pos_width = 32,
    .conv_pos_groups = 8,
    .conv_pos_depth = 1,
    .conv_pos_weight_norm = true,
    .project_equal_width = false,
    .modality = {.local_grad_mult = 0.1, .padding = d2v::Padding::exact}}>;
template <int samples>
struct Wav2Vec2OfLength
    : d2v::Wav2Vec2<config, Wav2Vec2Waveforms<samples>,
                    d2v::SpanMask<Wav2Vec2Waveforms<samples>::tokens,
                                  d2v::MaskConfig{.mask_prob = 0.65, .mask_length = 5}>,
                    d2v::Wav2Vec2Config{.final_dim = width / 2, .latent_vars = 64, .num_negatives = 20,
                                        .latent_temp = {2, 0.5, 0.9995}}> {};

/// data2vec 1.0 on the encoder of data2vec 2.0, but for a norm that its names have no place for.
template <int samples>
inline constexpr d2v::SpeechConfig data2vec1_waveforms = [] {
  d2v::SpeechConfig waveforms = Waveforms<samples>::speech;
  waveforms.conv_pos_pre_ln = false;
  return waveforms;
}();
template <int samples>
using Data2Vec1Waveforms = d2v::Speech<data2vec1_waveforms<samples>>;
template <int samples>
struct Data2Vec1OfLength
    : d2v::Data2Vec1<config, d2v::Branch<Data2Vec1Waveforms<samples>,
                                         d2v::SpanMask<Data2Vec1Waveforms<samples>::tokens,
                                                       d2v::MaskConfig{.mask_prob = 0.65, .mask_length = 5}>,
                                         d2v::RegressionHead<1>>> {};

/// `system` of speech_config.hpp; `./run pretrain speech --system wav2vec2` writes one for that system.
inline constexpr bool is_wav2vec2 = std::string_view(system) == "wav2vec2";
inline constexpr bool is_data2vec1 = std::string_view(system) == "data2vec1";
static_assert(is_wav2vec2 || is_data2vec1 || std::string_view(system) == "data2vec2",
              "system: expected data2vec2, data2vec1 or wav2vec2");
inline constexpr const char* title = is_wav2vec2 ? "wav2vec 2.0" : is_data2vec1 ? "data2vec 1.0" : "data2vec 2.0";
template <int samples>
using OfLength =
    std::conditional_t<is_wav2vec2, Wav2Vec2OfLength<samples>,
                       std::conditional_t<is_data2vec1, Data2Vec1OfLength<samples>, Data2Vec2OfLength<samples>>>;

template <class>
struct ModelOf;
template <int... samples>
struct ModelOf<d2v::Buckets<samples...>> {
  using type = d2v::Lengths<OfLength<samples>...>;
};
struct Model : ModelOf<LengthBuckets>::type {};

/// Samples that make a frame: a shorter recording has none.
inline constexpr int shortest = [] {
  int samples = 1;
  while (Model::First::Enc::valid_tokens(samples) < 1) ++samples;
  return samples;
}();

/// What an encoder is judged by: the tokens behind which block, and into how many stretches of time they are pooled.
inline constexpr int judged_layer = depth - 1, judged_segments = 4;

inline constexpr double learning_rate = 1e-3;

/// Of the pre-training.
struct Recipe {
  using Trainer = d2v::LengthTrainer<Model, d2v::Cpu>;

  static d2v::TrainerOptions trainer_options() {
    d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
    options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 1};
    return options;
  }
  static d2v::Schedule schedule(std::int64_t updates, double lr) {
    return d2v::CosineSchedule{.lr = lr, .warmup_updates = updates / 20, .max_update = updates};
  }
  static d2v::EmaConfig ema(std::int64_t updates) { return {0.99, 0.999, updates}; }
};

}  // namespace demo
