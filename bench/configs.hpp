// SPDX-License-Identifier: MIT
// The configurations of the benches: those of bench/peer/torch_data2vec2.py (its SPECS), field by field, as types. They
// are not the published presets: rates and decays stand still, so that every step does the same work.
#pragma once

#include <data2vec/decoder/conv1d.hpp>
#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/masking/block.hpp>
#include <data2vec/masking/random.hpp>
#include <data2vec/modality/speech.hpp>
#include <data2vec/modality/text.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/objective/data2vec2.hpp>
#include <data2vec/training/options.hpp>

namespace bench {

namespace d2v = data2vec;

/// What all the peer's vision models share: targets, norms and the CLS term.
constexpr d2v::Config vision(int embed_dim, int depth, int num_heads, int average_top_k_layers) {
  return {.embed_dim = embed_dim,
          .depth = depth,
          .num_heads = num_heads,
          .norm_eps = 1e-6,
          .average_top_k_layers = average_top_k_layers,
          .instance_norm_target_layer = true,
          .layer_norm_targets = true,
          .cls_loss = 0.01};
}
constexpr d2v::VisionConfig images(int input_size, int patch_size, int in_chans, int prenet_depth) {
  return {.input_size = input_size,
          .patch_size = patch_size,
          .in_chans = in_chans,
          .modality = {.prenet_depth = prenet_depth,
                       .num_extra_tokens = 1,
                       .init_extra_token_zero = false,
                       .ema_local_encoder = true}};
}
inline constexpr d2v::MaskConfig hide_80{.mask_prob = 0.8, .mask_prob_adjust = 0.07, .mask_length = 3};
inline constexpr d2v::MaskConfig hide_75{.mask_prob = 0.75, .mask_prob_adjust = 0.1, .mask_length = 3};

// A setup: its name, the peer's batch and masks per sample, the parts of its model, the peer's optimizer (AdamW that
// spares vectors) and constant decay of the teacher.

struct VisionSetup {
  static constexpr const char* modality = "vision";
  static constexpr d2v::OptimizerConfig optimizer{.adam_betas = {0.9, 0.95},
                                                  .adam_eps = 1e-8,
                                                  .weight_decay = 0.05,
                                                  .clip_norm = 4,
                                                  .decay_scope = d2v::DecayScope::matrices};
  static constexpr double ema_decay = 0.9998;
};
struct Tiny28 : VisionSetup {
  static constexpr const char* name = "tiny28";
  static constexpr int batch = 64, masks = 8;
  static constexpr d2v::Config config = vision(96, 3, 3, 3);
  static constexpr d2v::VisionConfig images = bench::images(28, 4, 1, 1);
  static constexpr d2v::MaskConfig masking = hide_80;
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 96, .decoder_groups = 8, .decoder_kernel = 3, .decoder_layers = 3, .input_dropout = 0};
};
struct Small32 : VisionSetup {
  static constexpr const char* name = "small32";
  static constexpr int batch = 32, masks = 8;
  static constexpr d2v::Config config = vision(192, 6, 3, 6);
  static constexpr d2v::VisionConfig images = bench::images(32, 4, 3, 2);
  static constexpr d2v::MaskConfig masking = hide_80;
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 192, .decoder_groups = 8, .decoder_kernel = 3, .decoder_layers = 4, .input_dropout = 0};
};
struct VitBase : VisionSetup {
  static constexpr const char* name = "vit_base";
  static constexpr int batch = 1, masks = 16;
  static constexpr d2v::Config config = vision(768, 10, 12, 10);
  static constexpr d2v::VisionConfig images = bench::images(224, 16, 3, 2);
  static constexpr d2v::MaskConfig masking = hide_80;
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 768, .decoder_groups = 16, .decoder_kernel = 3, .decoder_layers = 6, .input_dropout = 0};
};
struct VitLarge : VisionSetup {
  static constexpr const char* name = "vit_large";
  static constexpr int batch = 1, masks = 16;
  static constexpr d2v::Config config = vision(1024, 24, 16, 18);
  static constexpr d2v::VisionConfig images = bench::images(224, 16, 3, 0);
  static constexpr d2v::MaskConfig masking = hide_75;
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 1024, .decoder_groups = 16, .decoder_kernel = 5, .decoder_layers = 3, .input_dropout = 0};
};


/// Of speech and text: targets of the last blocks, normed by channel.
constexpr d2v::Config sequence(int embed_dim, int depth, int num_heads, int average_top_k_layers, double dropout) {
  return {.embed_dim = embed_dim,
          .depth = depth,
          .num_heads = num_heads,
          .norm_eps = 1e-5,
          .encoder_dropout = dropout,
          .post_mlp_drop = dropout,
          .attention_dropout = dropout,
          .average_top_k_layers = average_top_k_layers,
          .instance_norm_target_layer = true};
}
constexpr d2v::OptimizerConfig sequence_optimizer(double clip_norm) {
  return {.adam_betas = {0.9, 0.98},
          .adam_eps = 1e-6,
          .weight_decay = 0.01,
          .clip_norm = clip_norm,
          .decay_scope = d2v::DecayScope::matrices};
}

struct SpeechSetup {
  static constexpr const char* modality = "speech";
  static constexpr d2v::OptimizerConfig optimizer = sequence_optimizer(0);
  static constexpr double ema_decay = 0.999;
};
constexpr d2v::ModalityConfig speech_modality(double dropout) {
  return {.prenet_dropout = dropout,
          .use_alibi_encoder = true,
          .learned_alibi_scale = true,
          .learned_alibi_scale_per_head = true};
}
struct SpeechTiny : SpeechSetup {
  static constexpr const char* name = "tiny";
  static constexpr int batch = 8, masks = 8;
  static constexpr d2v::Config config = sequence(96, 4, 3, 4, 0);
  static constexpr d2v::SpeechConfig waveforms{.input_size = 8000,
                                               .feature_encoder_spec = {{64, 10, 5}, {64, 3, 2}, {64, 3, 2}, {64, 2, 2}},
                                               .conv_pos_width = 57,
                                               .conv_pos_groups = 8,
                                               .conv_pos_depth = 3,
                                               .modality = speech_modality(0)};
  static constexpr d2v::MaskConfig masking{.mask_prob = 0.35, .mask_prob_adjust = 0.15, .mask_length = 5};  // 130 of 199
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 96, .decoder_groups = 8, .decoder_kernel = 7, .decoder_layers = 3, .input_dropout = 0};
};
struct SpeechBase : SpeechSetup {
  static constexpr const char* name = "base";
  static constexpr int batch = 1, masks = 8;
  static constexpr d2v::Config config = sequence(768, 12, 12, 8, 0.1);
  static constexpr d2v::SpeechConfig waveforms{.input_size = 160'000, .modality = speech_modality(0.1)};
  static constexpr d2v::MaskConfig masking{
      .mask_prob = 0.388, .mask_prob_adjust = 0.112, .mask_length = 5};  // 306 of 499 visible
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 384, .decoder_groups = 16, .decoder_kernel = 7, .decoder_layers = 4, .input_dropout = 0.1};
};

struct TextSetup {
  static constexpr const char* modality = "text";
  static constexpr d2v::OptimizerConfig optimizer = sequence_optimizer(1);
  static constexpr double ema_decay = 0.9999;
  static constexpr d2v::MaskConfig masking{.mask_prob = 0.48, .mask_length = 1};
};
constexpr d2v::Config text_model(d2v::Config config) {
  config.ema_encoder_only = true;
  config.loss_scale = 1;
  return config;
}
constexpr d2v::TextConfig text_tokens(int vocab_size, int tokens, double dropout) {
  return {.vocab_size = vocab_size,
          .tokens = tokens,
          .max_source_positions = tokens,
          .dropout = dropout,
          .modality = {.padding = d2v::Padding::none}};
}
constexpr d2v::DecoderConfig text_decoder(int decoder_dim, int layers, double dropout) {
  return {.decoder_dim = decoder_dim,
          .decoder_groups = 1,
          .decoder_kernel = 9,
          .decoder_layers = layers,
          .input_dropout = dropout,
          .decoder_residual = false,
          .projection_layers = 2};
}
struct TextTiny : TextSetup {
  static constexpr const char* name = "tiny";
  static constexpr int batch = 16, masks = 8;
  static constexpr d2v::Config config = text_model(sequence(96, 4, 3, 4, 0));
  static constexpr d2v::TextConfig tokens = text_tokens(2000, 128, 0);
  static constexpr d2v::DecoderConfig decoder = text_decoder(96, 3, 0);
};
struct TextBase : TextSetup {
  static constexpr const char* name = "base";
  static constexpr int batch = 1, masks = 8;
  static constexpr d2v::Config config = text_model(sequence(768, 12, 12, 12, 0.1));
  static constexpr d2v::TextConfig tokens = text_tokens(50'265, 512, 0.1);
  static constexpr d2v::DecoderConfig decoder = text_decoder(768, 5, 0.1);
};

/// Another number of masks per sample; everything else as it is.
constexpr d2v::Config with_masks(d2v::Config config, int masks) {
  config.clone_batch = masks;
  return config;
}

namespace detail {
template <class Setup>
struct BranchOf;
template <class Setup>
  requires requires { Setup::images; }
struct BranchOf<Setup> {
  using M = d2v::Vision<Setup::images>;
  using type = d2v::Branch<M, d2v::InverseBlockMask<M::grid, Setup::masking>, d2v::Conv2dDecoder<Setup::decoder>>;
};
template <class Setup>
  requires requires { Setup::waveforms; }
struct BranchOf<Setup> {
  using M = d2v::Speech<Setup::waveforms>;
  using type = d2v::Branch<M, d2v::BlockMask1d<M::tokens, Setup::masking>, d2v::Conv1dDecoder<Setup::decoder>>;
};
template <class Setup>
  requires requires { Setup::tokens; }
struct BranchOf<Setup> {
  using M = d2v::Text<Setup::tokens>;
  using type = d2v::Branch<M, d2v::RandomMask<M::tokens, Setup::masking>,
                           d2v::Conv1dDecoder<Setup::decoder, d2v::LinearInit::bert>>;
};
}  // namespace detail
template <class Setup>
using BranchOf = typename detail::BranchOf<Setup>::type;

/// The model of a setup with `masks` masks per sample.
template <class Setup, int masks = Setup::masks>
struct Model : d2v::Data2Vec2<with_masks(Setup::config, masks), BranchOf<Setup>> {
  using SetupType = Setup;
};

/// The peer's optimizer and teacher.
template <class Model>
d2v::TrainerOptions options_of(int threads) {
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
  options.schedule = d2v::ConstantSchedule{.lr = 1e-4};
  using Setup = typename Model::SetupType;
  options.optimizer = Setup::optimizer;
  options.ema = {.ema_decay = Setup::ema_decay, .ema_end_decay = Setup::ema_decay, .ema_anneal_end_step = 1};
  options.threads = threads;
  return options;
}

/// Numbers that a gradient reaches, as the peer counts its parameters.
template <class Model>
inline constexpr std::size_t trained_parameters = [] {
  std::size_t elements = 0;
  for (const d2v::TensorInfo& info : d2v::tensor_table<typename Model::template Parameters<float>>)
    if (info.trained) elements += info.size;
  return elements;
}();

/// The peer's `count_flops` of one sample: parts are forward passes, `infer` and `train` what a call costs.
struct Flops {
  double local, student_blocks, decoder, teacher, infer, train;
};
template <class Model>
inline constexpr Flops flops_of = [] {
  using Branch = typename Model::First;
  constexpr d2v::StepFlops step = Model::template step_flops<0>;
  const double local = Branch::Enc::Local::flops_per_sample;
  const double full = Branch::Enc::flops(Branch::E + Branch::T_);
  return Flops{.local = local,
               .student_blocks = step.student / 3,  // a backward costs two forwards
               .decoder = step.decoder / 3,
               .teacher = step.teacher,
               .infer = local + full,
               .train = step.total()};
}();

}  // namespace bench
