// SPDX-License-Identifier: MIT
// Tiny models for tests of the device's trainer, from the parts that nvcc compiles; and what a training of one leaves.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <data2vec/decoder/conv1d.hpp>
#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/masking/block.hpp>
#include <data2vec/masking/random.hpp>
#include <data2vec/modality/speech.hpp>
#include <data2vec/modality/text.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/objective/data2vec2.hpp>
#include <data2vec/objective/mae.hpp>
#include <data2vec/training/options.hpp>

namespace models {

using namespace data2vec;

inline constexpr Config plain_config{.embed_dim = 16,
                                     .depth = 2,
                                     .num_heads = 2,
                                     .average_top_k_layers = 2,
                                     .instance_norm_target_layer = true,
                                     .layer_norm_targets = true,
                                     .clone_batch = 2,
                                     .cls_loss = 0.01};
/// Dropout of every kind, as far as one graph can hold it: without layer drop.
inline constexpr Config noisy_config = [] {
  Config c = plain_config;
  c.encoder_dropout = c.post_mlp_drop = c.attention_dropout = c.activation_dropout = c.dropout_input = 0.1;
  c.start_drop_path_rate = 0.1;
  c.end_drop_path_rate = 0.3;
  return c;
}();
inline constexpr Config skipping_config = [] {
  Config c = noisy_config;
  c.layerdrop = 0.5;
  return c;
}();
inline constexpr ModalityConfig modality{
    .prenet_depth = 1, .num_extra_tokens = 1, .init_extra_token_zero = false, .ema_local_encoder = true};
inline constexpr VisionConfig images{.input_size = 8, .patch_size = 2, .in_chans = 1, .modality = modality};
inline constexpr MaskConfig masks{.mask_prob = 0.6, .mask_prob_adjust = 0.1, .mask_length = 2};
inline constexpr DecoderConfig decoder{
    .decoder_dim = 16, .decoder_groups = 4, .decoder_kernel = 3, .decoder_layers = 2, .input_dropout = 0.1};
using Inverse = InverseBlockMask<Grid{4, 4}, masks>;

struct Plain : Data2Vec2<plain_config, Branch<Vision<images>, Inverse, Conv2dDecoder<decoder>>> {};
struct Noisy : Data2Vec2<noisy_config, Branch<Vision<images>, Inverse, Conv2dDecoder<decoder>>> {};
struct Skipping : Data2Vec2<skipping_config, Branch<Vision<images>, Inverse, Conv2dDecoder<decoder>>> {};

/// Heads as wide as bfloat16 needs them.
inline constexpr Config wide_config = [] {
  Config c = plain_config;
  c.embed_dim = 32;
  return c;
}();
struct Wide : Data2Vec2<wide_config, Branch<Vision<images>, Inverse, Conv2dDecoder<decoder>>> {};

/// Speech: strided convolutions, relative positions, ALiBi with scales that are learned; prenet and its dropout.
inline constexpr Config speech_config = [] {
  Config c = wide_config;
  c.encoder_dropout = c.attention_dropout = 0.1;
  c.cls_loss = 0;
  return c;
}();
inline constexpr SpeechConfig waveforms{.input_size = 400,
                                        .feature_encoder_spec = {{16, 10, 5}, {16, 3, 2}, {16, 2, 2}},
                                        .conv_pos_width = 9,
                                        .conv_pos_groups = 4,
                                        .conv_pos_depth = 3,
                                        .modality = {.prenet_depth = 1,
                                                     .prenet_dropout = 0.1,
                                                     .use_alibi_encoder = true,
                                                     .learned_alibi_scale = true,
                                                     .learned_alibi_scale_per_head = true,
                                                     .padding = Padding::reference}};
inline constexpr DecoderConfig sequence_decoder{
    .decoder_dim = 16, .decoder_groups = 4, .decoder_kernel = 3, .decoder_layers = 2, .input_dropout = 0};
using Waveforms = Speech<waveforms>;
struct Spoken : Data2Vec2<speech_config,
                          Branch<Waveforms,
                                 BlockMask1d<Waveforms::tokens,
                                             MaskConfig{.mask_prob = 0.35, .mask_prob_adjust = 0.15, .mask_length = 3}>,
                                 Conv1dDecoder<sequence_decoder>>> {};

/// Text: token embeddings with padding, positions that are learned.
inline constexpr Config text_config = [] {
  Config c = wide_config;
  c.instance_norm_target_layer = false;
  c.layer_norm_target_layer = true;
  return c;
}();
inline constexpr TextConfig texts{.vocab_size = 40,
                                  .tokens = 16,
                                  .max_source_positions = 16,
                                  .modality = {.num_extra_tokens = 1, .padding = Padding::reference}};
struct Written : Data2Vec2<text_config, Branch<Text<texts>, RandomMask<16, MaskConfig{.mask_prob = 0.5}>,
                                               Conv1dDecoder<sequence_decoder, LinearInit::bert>>> {};

/// A masked autoencoder, with heads wide enough for bfloat16.
inline constexpr Config mae_config{.embed_dim = 32, .depth = 2, .num_heads = 2, .norm_eps = 1e-6};
inline constexpr VisionConfig mae_images{
    .input_size = 8, .patch_size = 2, .in_chans = 1, .modality = {.num_extra_tokens = 1}};
struct Mae : MaskedAutoencoder<
                 mae_config, Branch<Vision<mae_images>, RandomMask<16, MaskConfig{.mask_prob = 0.75}>,
                                    PixelDecoder<PixelDecoderConfig{
                                        .decoder_embed_dim = 16, .decoder_depth = 1, .decoder_num_heads = 1}>>> {};

inline constexpr std::size_t mae_key_biases = 2 * 32 + 16;  // of two blocks and the decoder's
inline constexpr std::size_t spoken_key_biases = 3 * 32, written_key_biases = 2 * 32;

inline constexpr int batch = 2, sample = 64;

/// What a step reports and what it leaves, by name.
struct Trace {
  std::vector<std::vector<double>> reports;  // per step: loss, regression, cls, sample size, deviations, norm, lr, ema
  std::vector<std::vector<double>> terms;    // per step: further numbers of the objective
  std::vector<std::vector<float>> weights;   // after each step
  std::vector<float> m, v, teacher;
};

template <class Report>
std::vector<double> numbers_of(const Report& r) {
  return {r.loss,
          r.regression,
          r.cls,
          r.sample_size,
          r.target_var,
          r.pred_var,
          r.gradient_norm,
          r.learning_rate,
          r.ema_decay,
          static_cast<double>(r.update),
          r.updated ? 1.0 : 0.0};
}

template <class Report>
std::vector<double> terms_of(const Report& r) {
  std::vector<double> values;
  for (const auto& term : r.terms)
    if (term.name) values.push_back(term.value);
  return values;
}

template <class Model>
TrainerOptions options_of(int accumulation) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = 2e-3, .warmup_updates = 2, .max_update = 20};
  options.ema = {.ema_decay = 0.9, .ema_end_decay = 0.99, .ema_anneal_end_step = 10};
  options.threads = 1;
  options.accumulation = accumulation;
  return options;
}

/// Waves in directions that follow from the ids; of a model of text, tokens, some rows shorter than others.
template <class Model = Plain, class Sample>
void fill(int step, std::vector<Sample>& samples, std::vector<std::uint32_t>& ids) {
  constexpr int size = Model::First::M::sample_size;
  samples.resize(batch * size);
  ids.resize(batch);
  for (int b = 0; b < batch; ++b) {
    const auto n = static_cast<std::size_t>(b);
    ids[n] = static_cast<std::uint32_t>(7 * step + b);
    for (int i = 0; i < size; ++i) {
      Sample& x = samples[n * size + static_cast<std::size_t>(i)];
      if constexpr (std::is_integral_v<Sample>)
        x = b == 1 && i > 11 ? texts.pad : 4 + static_cast<Sample>(11 * ids[n] + 5 * static_cast<unsigned>(i * i)) % 36;
      else
        x = static_cast<float>(std::sin(0.3 * ids[n] + 0.9 * (i % 8) + 0.1 * ids[n] * (i / 8)));
    }
  }
}

/// `steps` steps of "plain", "noisy" or "skipping" on the CPU.
Trace train_on_cpu(const std::string& model, int steps, int accumulation);

}  // namespace models
