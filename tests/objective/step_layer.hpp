// SPDX-License-Identifier: MIT
// The whole step of a branch as a layer that `check_gradients` takes, and three tiny models that between them have
// every term of the loss, kind of decoder input and rule for the teacher.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include <data2vec/decoder/conv1d.hpp>
#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/decoder/cross_attention.hpp>
#include <data2vec/decoder/linear.hpp>
#include <data2vec/masking/random.hpp>
#include <data2vec/modality/text.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/objective/branch.hpp>

#include <tests/layers/adaptors.hpp>

namespace data2vec::testing {

inline constexpr int B = 2;
using Observer = std::function<void(const std::string&, int, const double*, std::size_t)>;
inline constexpr LossWeights weights{.d2v_loss = 0.75, .cls_loss = 0.5, .recon_loss = 1.5};

/// A step on fixed samples and draws as a layer: parameters in, one number out. `rest` is what other chunks of the
/// batch add to the sample size.
template <Config C, class Br>
struct StepLayer {
  using Step = BranchStep<C, Br>;
  static constexpr int N = B * Step::masks, size = Step::M::sample_size, rest = 5;
  static constexpr int input_size = B * size, output_size = 1;
  static constexpr bool has_input_gradient = false;
  static constexpr double sample_size = N * Step::R + rest;

  template <class T>
  struct Parameters {
    typename Step::template Parameters<T> branch;
    typename Step::Enc::template Shared<T> blocks;
    typename Step::Enc::template FinalNorm<T> norm;
    typename Step::template Recon<T> recon_proj;
    typename Step::template SharedDecoder<T> shared_decoder;
    static constexpr void visit(auto&& f, auto&... p) {
      f("branch", p.branch...);
      f("blocks", p.blocks...);
      f("norm", p.norm...);
      f("recon_proj", p.recon_proj...);
      f("shared_decoder", p.shared_decoder...);
    }
    typename Step::template Weights<T> all() const { return {branch, blocks, norm, recon_proj, shared_decoder}; }
  };
  template <class T>
  struct Tape {
    typename Step::template Workspace<T, B> workspace;
    Parameters<T> gradient;
    View<T, Step::moment_rows * Step::D> moments;
    static constexpr void visit(auto&& f, auto&... t) {
      f("workspace", t.workspace...);
      f("gradient", t.gradient...);
      f("moments", t.moments...);
    }
  };

  static auto indices() {
    static std::vector<int> memory(buffer_size<typename Step::template Indices<B>>);
    const auto index = bind<typename Step::template Indices<B>>(memory.data());
    const int lengths[B] = {size, size - 2};
    index.set_lengths(Step::padded ? lengths : nullptr);
    index.draw({.seed = 7, .update = 3, .sample_ids = sample_ids.data(), .masks = Step::masks});
    return index;
  }
  static std::vector<double>& teacher() {
    static std::vector<double> values = [] {
      std::vector<double> w(buffer_size<Parameters<double>>);
      Rng rng({.seed = 77});
      for (double& v : w) v = 0.5 * static_cast<double>(rng.normal());
      return w;
    }();
    return values;
  }

  static LossSums step(Cpu& d, const Parameters<const double>& p, const double* x, const Tape<double>& tape,
                       const Observer& observe) {
    device::fill(d, tape.moments.size, 0, tape.moments.data);
    const auto samples = samples_of(x);
    const double* const teacher_weights = teacher().data();
    return Step::step(fixed_pass<true>(d, Step::masks), p.all(), bind<Parameters<const double>>(teacher_weights).all(),
                      tape.gradient.all(), samples, samples, static_cast<const double*>(nullptr), 1.0, weights,
                      sample_size, tape.workspace, indices(), tape.moments.data, observe);
  }
  /// The samples: x or, of texts, ids that are always the same, padding behind those of a shorter one.
  static auto samples_of([[maybe_unused]] const double* x) {
    if constexpr (std::is_same_v<SampleOf<typename Step::M, double>, double>) {
      return View<const double, B, size>{x};
    } else {
      static const std::vector<std::int32_t> ids = [] {
        std::vector<std::int32_t> all(input_size);
        for (int i = 0; i < input_size; ++i) all[static_cast<std::size_t>(i)] = (5 * i + 3) % (Step::M::vocab_size - 2) + 2;
        for (int i = 1; Step::padded && i < 3; ++i) all[static_cast<std::size_t>(input_size - i)] = Step::M::text.pad;
        return all;
      }();
      return View<const std::int32_t, B, size>{ids.data()};
    }
  }

  /// With the targets of the first call: they are constants, even where the student's own front end computes them.
  static double loss(Cpu& d, const Parameters<const double>& p, const double* x, const Tape<double>& tape) {
    static std::vector<double> targets;
    fill_gradient(d, tape);
    const LossSums sums = step(d, p, x, tape, [](const std::string& name, int, const double* v, std::size_t n) {
      if (name != "targets") return;
      if (targets.empty()) targets.assign(v, v + n);
      std::copy(targets.begin(), targets.end(), const_cast<double*>(v));
    });
    return (sums.regression + sums.shared + sums.recon) / sample_size + sums.cls;
  }
  static constexpr double start = 0.5;  // the step must add to what is there
  static void fill_gradient(Cpu& d, const Tape<double>& tape) {
    for_each_tensor([&](const auto&, const auto&, const auto& g) { device::fill(d, g.size, start, g.data); },
                    tape.gradient);
  }

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    y[0] = loss(d, p, x, tape);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    loss(d, p, x, tape);
    for_each_tensor(
        [&](const auto&, const Field& field, auto& to, auto& from) {
          for (std::size_t i = 0; i < to.size && field.trained; ++i) to.data[i] += dy[0] * (from.data[i] - start);
        },
        gradient, tape.gradient);
  }
};

constexpr VisionConfig images(ModalityConfig m) {
  return {.input_size = 6, .patch_size = 2, .in_chans = 1, .modality = m};
}
inline constexpr MaskConfig hide_six{.mask_prob = 0.6};
inline constexpr MaskConfig hide_six_show_two{.mask_prob = 0.6, .keep_masked_pct = 0.3};

inline constexpr Config published{.embed_dim = 4, .depth = 2, .num_heads = 2, .mlp_ratio = 1.5,
                                  .average_top_k_layers = 2, .instance_norm_target_layer = true,
                                  .layer_norm_targets = true, .clone_batch = 2, .cls_loss = 0.5};
using Published = Branch<Vision<images({.prenet_depth = 1, .num_extra_tokens = 1, .ema_local_encoder = true})>,
                         RandomMask<9, hide_six>,
                         Conv2dDecoder<DecoderConfig{.decoder_dim = 4, .decoder_groups = 2, .decoder_kernel = 3,
                                                     .decoder_layers = 2, .input_dropout = 0}>>;

inline constexpr Config everything{.embed_dim = 4, .depth = 2, .num_heads = 2, .mlp_ratio = 1.5,
                                   .layer_norm_first = true, .pre_norm_mlp_residual = true, .encoder_dropout = 0.5,
                                   .post_mlp_drop = 0.5, .attention_dropout = 0.5, .activation_dropout = 0.5,
                                   .dropout_input = 0.5, .start_drop_path_rate = 0.5, .average_top_k_layers = 1,
                                   .end_of_block_targets = true, .ema_encoder_only = true, .clone_batch = 3,
                                   .loss_beta = 0.8, .loss_scale = 1.25, .cls_loss = 0.5, .recon_loss = 1};
using Everything = Branch<Vision<images({.prenet_depth = 1, .prenet_dropout = 0.5, .num_extra_tokens = 2,
                                         .use_alibi_encoder = true, .learned_alibi_scale = true})>,
                          RandomMask<9, hide_six_show_two>,
                          LinearDecoder<DecoderConfig{.input_dropout = 0.5, .add_positions_masked = true,
                                                      .add_positions_all = true}>>;

inline constexpr Config bare{.embed_dim = 4, .depth = 1, .num_heads = 2, .mlp_ratio = 1, .average_top_k_layers = 1,
                             .clone_batch = 1};
using Bare = Branch<Vision<images({})>, RandomMask<9, hide_six>,
                    CrossAttentionDecoder<DecoderConfig{.decoder_dim = 8, .decoder_layers = 1, .input_dropout = 0}>>;

// Texts with and without learned positions; the first with two decoders, dropouts and shorter samples.
inline constexpr DecoderConfig conv1d{.decoder_dim = 6, .decoder_groups = 2, .decoder_kernel = 3, .decoder_layers = 2,
                                      .input_dropout = 0.5, .decoder_residual = false, .projection_layers = 3,
                                      .projection_ratio = 1.5};
inline constexpr DecoderConfig common{.decoder_dim = 4, .decoder_groups = 2, .decoder_kernel = 4, .decoder_layers = 2,
                                      .input_dropout = 0.5};
inline constexpr Config two_decoders{.embed_dim = 4, .depth = 2, .num_heads = 2, .mlp_ratio = 1.5,
                                     .average_top_k_layers = 2, .instance_norm_target_layer = true,
                                     .ema_encoder_only = true, .clone_batch = 2, .loss_scale = 1, .cls_loss = 0.5};
template <Padding padding>
using TwoDecoders =
    Branch<Text<TextConfig{.vocab_size = 11, .tokens = 9, .max_source_positions = 9, .no_scale_embedding = false,
                           .dropout = 0.5, .modality = {.num_extra_tokens = 1, .padding = padding}}>,
           RandomMask<9, hide_six>, Conv1dDecoder<conv1d>, Conv1dDecoder<common, LinearInit::xavier>>;
inline constexpr Config sinusoids{.embed_dim = 4, .depth = 1, .num_heads = 2, .mlp_ratio = 1,
                                  .average_top_k_layers = 1, .ema_encoder_only = true, .clone_batch = 1};
using Sinusoids = Branch<Text<TextConfig{.vocab_size = 11, .tokens = 9, .learned_pos = false,
                                         .layernorm_embedding = false, .dropout = 0, .modality = {.prenet_depth = 1}}>,
                         RandomMask<9, hide_six>, Conv1dDecoder<conv1d>>;

}  // namespace data2vec::testing
