// SPDX-License-Identifier: MIT
// The configurations of the benches: those of bench/peer/torch_data2vec2.py (its SPECS), field by field, as types. They
// are not the published presets: rates and decays stand still, so that every step does the same work.
#pragma once

#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/masking/block.hpp>
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

// A setup: its name, the peer's batch and masks per sample, and the parts of its model.

struct Tiny28 {
  static constexpr const char* name = "tiny28";
  static constexpr int batch = 64, masks = 8;
  static constexpr d2v::Config config = vision(96, 3, 3, 3);
  static constexpr d2v::VisionConfig images = bench::images(28, 4, 1, 1);
  static constexpr d2v::MaskConfig masking = hide_80;
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 96, .decoder_groups = 8, .decoder_kernel = 3, .decoder_layers = 3, .input_dropout = 0};
};
struct Small32 {
  static constexpr const char* name = "small32";
  static constexpr int batch = 32, masks = 8;
  static constexpr d2v::Config config = vision(192, 6, 3, 6);
  static constexpr d2v::VisionConfig images = bench::images(32, 4, 3, 2);
  static constexpr d2v::MaskConfig masking = hide_80;
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 192, .decoder_groups = 8, .decoder_kernel = 3, .decoder_layers = 4, .input_dropout = 0};
};
struct VitBase {
  static constexpr const char* name = "vit_base";
  static constexpr int batch = 1, masks = 16;
  static constexpr d2v::Config config = vision(768, 10, 12, 10);
  static constexpr d2v::VisionConfig images = bench::images(224, 16, 3, 2);
  static constexpr d2v::MaskConfig masking = hide_80;
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 768, .decoder_groups = 16, .decoder_kernel = 3, .decoder_layers = 6, .input_dropout = 0};
};
struct VitLarge {
  static constexpr const char* name = "vit_large";
  static constexpr int batch = 1, masks = 16;
  static constexpr d2v::Config config = vision(1024, 24, 16, 18);
  static constexpr d2v::VisionConfig images = bench::images(224, 16, 3, 0);
  static constexpr d2v::MaskConfig masking = hide_75;
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = 1024, .decoder_groups = 16, .decoder_kernel = 5, .decoder_layers = 3, .input_dropout = 0};
};

/// Another number of masks per sample; everything else as it is.
constexpr d2v::Config with_masks(d2v::Config config, int masks) {
  config.clone_batch = masks;
  return config;
}

template <class Setup>
using BranchOf =
    d2v::Branch<d2v::Vision<Setup::images>, d2v::InverseBlockMask<d2v::Vision<Setup::images>::grid, Setup::masking>,
                d2v::Conv2dDecoder<Setup::decoder>>;

/// The model of a setup with `masks` masks per sample.
template <class Setup, int masks = Setup::masks>
struct Model : d2v::Data2Vec2<with_masks(Setup::config, masks), BranchOf<Setup>> {};

/// The peer's optimizer and teacher: AdamW that spares vectors, clipping at 4, a constant decay.
template <class Model>
d2v::TrainerOptions options_of(int threads) {
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
  options.schedule = d2v::ConstantSchedule{.lr = 1e-4};
  options.optimizer = {.adam_betas = {0.9, 0.95},
                       .adam_eps = 1e-8,
                       .weight_decay = 0.05,
                       .clip_norm = 4,
                       .decay_scope = d2v::DecayScope::matrices};
  options.ema = {.ema_decay = 0.9998, .ema_end_decay = 0.9998, .ema_anneal_end_step = 1};
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
  const double full =
      Branch::Enc::Prenet::flops(Branch::E + Branch::T_) + Branch::Enc::Blocks::flops(Branch::E + Branch::T_);
  return Flops{.local = local,
               .student_blocks = step.student / 3,  // a backward costs two forwards
               .decoder = step.decoder / 3,
               .teacher = step.teacher,
               .infer = local + full,
               .train = step.total()};
}();

}  // namespace bench
