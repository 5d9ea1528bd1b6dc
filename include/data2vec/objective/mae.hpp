// SPDX-License-Identifier: MIT
// Masked autoencoders (He et al., "Masked autoencoders are scalable vision learners", 2022) as a type: the encoder sees
// the visible patches alone, a light decoder predicts the pixels of the hidden ones.
//
//   struct MaeB : MaskedAutoencoder<mae_base, Branch<Images, RandomMask<196, mae_masks>, PixelDecoder<{}>>> {};
#pragma once

#include <data2vec/decoder/pixel.hpp>
#include <data2vec/device/patches.hpp>
#include <data2vec/device/reduce.hpp>
#include <data2vec/model/encoder.hpp>
#include <data2vec/model/fields.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/objective/counts.hpp>
#include <data2vec/objective/mask_indices.hpp>
#include <data2vec/objective/step_options.hpp>

namespace data2vec::inline v0 {

/// The sums of a masked autoencoder's loss.
struct PixelSums {
  double error = 0;        ///< sum over hidden patches of the mean squared error of their pixels
  double sample_size = 0;  ///< hidden patches

  PixelSums& operator+=(const PixelSums& other) {
    error += other.error;
    sample_size += other.sample_size;
    return *this;
  }
  double total() const { return error; }
  /// Writes the terms into a report (training/step_report.hpp).
  void report(auto& to) const { to.loss = to.recon = error / sample_size; }
};

/// The step of a masked autoencoder on images.
template <Config C, class Br>
struct MaeStep {
  using M = typename Br::Modality;
  using Masking = typename Br::Masking;
  using Enc = Encoder<C, M>;
  static constexpr int D = C.embed_dim, E = Enc::E, T_ = Enc::T_, masks = 1;
  static constexpr int V = Masking::visible, R = masked_tokens<Masking>, S = E + V, values = M::patch_values;
  static constexpr DecoderShape decoder_shape{D, M::grid, V, R, C.mlp_ratio, norm_order(C), C.norm_eps, C.norm_affine};
  using Network = typename Br::Decoder::template Network<decoder_shape, E, values>;
  static constexpr bool normalises = Br::Decoder::config.norm_pix_loss;
  static constexpr bool padded = false, accumulates = true, positions_vary = false;
  static constexpr int positions_per_sample = R;
  static constexpr int moment_rows = 4, moment_width = values;  ///< of the predicted pixels, then of the targets
  using Sums = PixelSums;

  template <class T, int B>
  using Samples = View<const T, B, M::sample_size>;

  template <class T>
  struct Branch {
    typename Enc::template FrontEnd<T> front;
    typename Network::template Parameters<T> decoder;
  };
  /// Everything a step reads or, as gradients, writes.
  template <class T>
  struct Weights {
    Branch<T> branch;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
  };

  template <class T, int B, int G = 1>
  struct Workspace {
    View<T, B, T_, D> local, dlocal;
    typename Enc::Local::template Tape<T, B> local_tape;
    typename Enc::template Memory<T, B, 1, V, true> encoder;
    typename Network::template Tape<T, B> decoder;
    View<T, B, S, D> dencoded;
    View<T, B, T_, values> targets;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("dlocal", w.dlocal...);
      f("local_tape", w.local_tape...);
      f("encoder", w.encoder...);
      f("decoder", w.decoder...);
      f("dencoded", w.dencoded...);
      f("targets", w.targets...);
    }
  };

  /// Indices of B samples. The order of the visible tokens is free: no number but roundings depends on it.
  template <int B, int G = 1>
  struct Indices {
    MaskIndices<Enc, Masking, true, B, 1> mask;
    View<int, B, E + T_> decoder_rows;  // the decoder's input as rows of its pool
    View<int, B, R> hidden_rows;        // hidden positions as rows of the decoder's output
    static constexpr void visit(auto&& f, auto&... i) {
      f("mask", i.mask...);
      f("decoder_rows", i.decoder_rows...);
      f("hidden_rows", i.hidden_rows...);
    }
    void draw(const Draws& draws) const {
      mask.draw(draws);
      complete_decoder();
    }
    /// Completes the indices once `mask.student.keep`, `mask.restore` and `mask.masked` are there.
    void complete() const {
      mask.complete();
      complete_decoder();
    }

   private:
    void complete_decoder() const {
      for (int b = 0; b < B; ++b) {
        for (int e = 0; e < E; ++e) decoder_rows[b][e] = b * S + e;
        for (int t = 0; t < T_; ++t) {
          const int place = mask.restore[b][t];
          decoder_rows[b][E + t] = place < V ? b * S + E + place : B * S;
        }
        for (int r = 0; r < R; ++r) hidden_rows[b][r] = b * (E + T_) + E + mask.masked[b][r];
      }
    }
  };

  static BranchOptions options() { return {.rates = encoder_rates<C, M>()}; }

  /// Forward on the masks of `index`: pixels of the hidden patches in w.decoder.prediction (B, R, values), normalised if
  /// the model `normalises` them. Returns the encoder's output (B, S, D).
  template <class Dev, class T, int B, class Observer = NoObserver>
  static View<const T, B, S, D> predict(const Pass<Dev, true>& pass, const Weights<const T>& p, Samples<T, B> samples,
                                        const Workspace<T, B>& w, const Indices<B>& index, Observer&& observe = {}) {
    Enc::tokens(pass.device, p.branch.front.local_encoder, samples, w.local, w.local_tape, nullptr);
    observe("patch_embed", 0, w.local.data, w.local.size);
    const View<const T, B, T_, D> local = w.local;
    const auto encoded =
        Enc::forward(pass, pass, p.branch.front, p.blocks, p.norm, local, index.mask.student, w.encoder,
                     [&](int i, const auto&, const auto& y) { observe("encoder_block", i, y.data, y.size); })
            .encoder;                                                                                // (B, S, D)
    observe("encoder", 0, encoded.data, encoded.size);
    Network::forward(pass, p.branch.decoder, encoded, index.decoder_rows.data, index.hidden_rows.data, w.decoder,
                     [&](int i, const auto& y) { observe("decoder_block", i, y.data, y.size); });
    return encoded;
  }

  /// Forward and backward of one chunk on the masks of `index`. Gradients of the summed loss divided by `sample_size`
  /// are accumulated; `moments` (4, values) receives sums and sums of squares of predictions, then of targets.
  /// `observe(name, i, pointer, count)` sees intermediate values.
  template <class Dev, class T, int B, class Observer>
  static PixelSums step(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<T>& gradient,
                        Samples<T, B> samples, double sample_size, const Workspace<T, B>& w, const Indices<B>& index,
                        double* moments, Observer&& observe) {
    auto& d = pass.device;
    const auto& student = index.mask.student;
    const auto encoded = predict(pass, p, samples, w, index, observe);
    if constexpr (normalises)
      device::normalised_patches<M::vision.in_chans, M::vision.input_size, M::vision.patch_size>(d, B, samples.data,
                                                                                                 w.targets.data);
    else
      device::pixel_patches<M::vision.in_chans, M::vision.input_size, M::vision.patch_size>(d, B, samples.data,
                                                                                            w.targets.data);
    observe("target", 0, w.targets.data, w.targets.size);
    const int* const hidden = index.mask.target_rows.data;
    const double sum = device::regression_loss<values>(d, B * R, w.decoder.prediction.data, w.targets.data, hidden, 0,
                                                       1 / (values * sample_size), w.decoder.dprediction.data);
    device::channel_moments<values>(d, B * R, w.decoder.prediction.data, nullptr, moments, moments + values);
    device::channel_moments<values>(d, B * R, w.targets.data, hidden, moments + 2 * values, moments + 3 * values);
    Network::backward(pass, p.branch.decoder, encoded, index.decoder_rows.data, index.hidden_rows.data, w.dencoded,
                      gradient.branch.decoder, w.decoder);
    Enc::backward(pass, p.branch.front, p.blocks, p.norm, student, w.dencoded, w.dlocal, gradient.branch.front,
                  gradient.blocks, gradient.norm, w.encoder);
    Enc::Local::backward(d, p.branch.front.local_encoder, samples, View<const T, B, T_, D>(w.dlocal),
                         gradient.branch.front.local_encoder, w.local_tape);
    return {sum / values, static_cast<double>(B * R)};
  }

  /// The same on masks drawn from the policy, as the trainer calls it; there is no teacher and no other view.
  template <class Dev, class T, int B, int G>
  static PixelSums step_by_masks(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>&,
                                 const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B>,
                                 const BranchOptions&, double sample_size, const Workspace<T, B, G>& w,
                                 const Indices<B, G>& index, double* moments, const int* = nullptr) {
    index.draw(pass.draws);
    return step(pass, student, gradient, samples, sample_size, w, index, moments, [](auto&&...) {});
  }

  /// The same as a GPU's trainer calls it: the masks of `index` are drawn; the sums come when the step has run.
  template <class Dev, class T, int B>
  static void step_drawn(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>&,
                         const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B>, const BranchOptions&,
                         double sample_size, const Workspace<T, B>& w, const Indices<B>& index, double* moments) {
    step(pass, student, gradient, samples, sample_size, w, index, moments, [](auto&&...) {});
  }
  static constexpr int loss_terms = 1;
  static PixelSums sums_of(const double* terms, const BranchOptions&, double sample_size) {
    return {terms[0] / values, sample_size};
  }
};

namespace detail {

/// The configuration that a masked autoencoder makes of the one that it is given.
constexpr Config mae_config(Config c) {
  c.layer_norm_first = c.pre_norm_mlp_residual = c.extra_token_positions = c.mae_init = true;
  c.clone_batch = 1;
  return c;
}

template <Config C, class Br>
struct MaeModel {
  static constexpr const char* system = "mae";
  static constexpr Config config = C;
  static constexpr int branches = 1;
  static constexpr bool has_teacher = false;
  template <int i>
  using BranchAt = MaeStep<C, Br>;
  using First = MaeStep<C, Br>;
  using Network = typename First::Network;

  /// The encoder under the reference's names; `Enc` may have other dropouts than the model's, and trained positions,
  /// which then do not decay.
  template <class Enc, class T>
  struct EncoderParameters {
    static constexpr bool tunes = Enc::trains_positions;
    View<T, 1, Enc::E, Enc::D> cls_token;
    typename Enc::template Positions<T> pos_embed;
    typename Enc::Local::template Parameters<T> patch_embed;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    typename Enc::template FrontEnd<T> front() const {
      typename Enc::template FrontEnd<T> front{};
      front.extra_tokens.tokens = cls_token;
      front.fixed_positional_encoder = pos_embed;
      front.local_encoder = patch_embed;
      return front;
    }
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"cls_token", init::normal(0.02), true, -1, !tunes}, p.cls_token...);
      f(Field{"pos_embed", init::fixed(), tunes, -1, !tunes}, p.pos_embed.positions...);
      f("patch_embed", p.patch_embed...);
      f("blocks", p.blocks...);
      f("norm", p.norm...);
    }
  };

  /// All parameters under the reference's names; fixed tables (positions) included.
  template <class T>
  struct Parameters {
    EncoderParameters<typename First::Enc, T> encoder;
    typename Network::template Parameters<T> decoder;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.encoder...);
      f("", p.decoder...);
    }
  };
  template <int i, class T>
  static typename First::template Weights<T> weights(const Parameters<T>& p) {
    return {{p.encoder.front(), p.decoder}, p.encoder.blocks, p.encoder.norm};
  }

  /// For fine-tuning positions are trained too; where the mean of the tokens passes a norm of its own, the encoder's is
  /// left out.
  static constexpr Config fine_tuning(bool pools_with_norm) {
    Config c = C;
    c.train_positions = true;
    c.final_norm = !pools_with_norm;
    return c;
  }
  /// What layer-wise learning rates count as the layer below the first block.
  static constexpr bool is_embedding(std::string_view name) {
    return name == "cls_token" || name == "pos_embed" || name.starts_with("patch_embed.");
  }

  static constexpr bool in_decoder(std::string_view name) {
    return name.starts_with("decoder_") || name == "mask_token";
  }
  static constexpr bool in_teacher(std::string_view) { return false; }
  static constexpr int branch_of(std::string_view) { return -1; }
  static constexpr bool receives_gradient(std::string_view, int = 0) { return true; }

  static constexpr std::size_t parameter_count = element_count<Parameters<float>>;
  static constexpr std::size_t encoder_parameter_count =
      elements_where<Parameters<float>>([](std::string_view name) { return !in_decoder(name); });
  static constexpr std::size_t teacher_parameter_count = 0;

  /// Floating-point operations of one training step per sample.
  template <int i = 0>
  static constexpr StepFlops step_flops = [] {
    using B = First;
    return StepFlops{.local = B::Enc::Local::flops_per_sample + B::Enc::Local::backward_flops_per_sample,
                     .student = 3 * B::Enc::flops(B::S),
                     .decoder = 3 * Network::flops_per_row};
  }();
  template <int i = 0>
  static constexpr double flops_per_sample = step_flops<i>.total();
  template <int B, int G = 1, int i = 0>
  static constexpr std::size_t workspace_size = buffer_size<typename First::template Workspace<float, B>>;

  /// Random initial weights, a function of the seed alone: linears Xavier-uniform, tokens N(0, 0.02^2).
  template <class T>
  static void initialise(T* buffer, std::uint64_t seed) {
    initialise_tensors<Parameters<T>>(buffer, seed, C.mae_init);
    const auto p = bind<Parameters<T>>(buffer);
    sincos_positions(First::M::grid, C.embed_dim, p.encoder.pos_embed.of_tokens());
    p.decoder.fill_positions();
  }

  static void describe(auto&& f) {
    f("model", C);
    f("modality", First::M::vision);
    f("masks", Br::Masking::config);
    f("decoder", Br::Decoder::config);
  }
};

}  // namespace detail

/// A masked autoencoder. `C` needs width, depth and heads; blocks are pre-norm whatever it says. Name it
/// (`struct Mine : MaskedAutoencoder<...> {}`): messages and symbols then say `Mine`.
template <Config C, class Br>
struct MaskedAutoencoder : detail::MaeModel<detail::mae_config(C), Br> {
  static_assert(check::HeadsDivideEmbedDim<C.num_heads, C.embed_dim>,
                "data2vec: Config::num_heads must divide Config::embed_dim");
  static_assert(requires { Br::Modality::patch_values; },
                "data2vec: a masked autoencoder needs a modality of patches (Vision)");
  static_assert(check::MultipleOf<C.embed_dim, 4>,
                "data2vec: fixed positions need a Config::embed_dim that is a multiple of 4");
};

}  // namespace data2vec::inline v0
