// SPDX-License-Identifier: MIT
// wav2vec 2.0 (Baevski et al., "wav2vec 2.0: A framework for self-supervised learning of speech representations", 2020)
// as a type: the encoder reads frames some spans of which are hidden, and tells the quantised frame that was there from
// those of other places. There is no teacher.
//
//   struct Mine : Wav2Vec2<wav2vec2_base, Speech<waveforms>, SpanMask<Speech<waveforms>::tokens, masks>, contrast> {};
#pragma once

#include <data2vec/device/contrast.hpp>
#include <data2vec/device/reduce.hpp>
#include <data2vec/layers/quantiser.hpp>
#include <data2vec/modality/speech.hpp>
#include <data2vec/model/encoder.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/objective/contrast_indices.hpp>
#include <data2vec/objective/counts.hpp>
#include <data2vec/objective/step_options.hpp>

namespace data2vec::inline v0 {

/// Sums over hidden positions; each term of the loss contains its weight.
struct Wav2Vec2Sums {
  double contrastive = 0, diversity = 0, features_pen = 0;
  double correct = 0;                            ///< positions that are closest to their own frame
  double code_perplexity = 0, prob_perplexity = 0;  ///< of the chunks, times their positions
  double temperature = 0;                        ///< of the quantiser, times positions
  double sample_size = 0;                        ///< positions

  Wav2Vec2Sums& operator+=(const Wav2Vec2Sums& other) {
    contrastive += other.contrastive;
    diversity += other.diversity;
    features_pen += other.features_pen;
    correct += other.correct;
    code_perplexity += other.code_perplexity;
    prob_perplexity += other.prob_perplexity;
    temperature += other.temperature;
    sample_size += other.sample_size;
    return *this;
  }
  double total() const { return contrastive + diversity + features_pen; }

  /// Writes the means into a report (training/step_report.hpp).
  void report(auto& to) const {
    to.loss = total() / sample_size;
    to.add_term("contrastive", contrastive / sample_size);
    to.add_term("diversity", diversity / sample_size);
    to.add_term("features_pen", features_pen / sample_size);
    to.add_term("accuracy", correct / sample_size);
    to.add_term("code_perplexity", code_perplexity / sample_size);
    to.add_term("prob_perplexity", prob_perplexity / sample_size);
    to.add_term("temperature", temperature / sample_size);
  }
};

/// The step of wav2vec 2.0 over M = Speech<...>. Diversity and negatives of other utterances are those of a chunk, as
/// they are those of a device's batch in the reference.
template <Config C, class ModalityType, class MaskingType, Wav2Vec2Config W>
struct Wav2Vec2Step {
  using M = ModalityType;
  using Masking = MaskingType;
  using Enc = Encoder<C, M>;
  using Local = typename Enc::Local;
  static constexpr int D = C.embed_dim, E = Enc::E, T_ = Enc::T_, V = T_, masks = 1, width = Local::width;
  static constexpr int R = masked_tokens<Masking>;
  static constexpr int K = W.num_negatives + W.cross_sample_negatives + W.codebook_negatives;
  static constexpr bool padded = Enc::padded, exact = Enc::exact;
  static_assert(E == 0 && Enc::prenet_depth == 0 && !M::config.use_alibi_encoder,
                "data2vec: wav2vec 2.0 has no extra tokens, prenet or ALiBi");
  static_assert(!padded || PaddedMaskingPolicy<Masking>,
                "data2vec: padding needs a masking policy for shorter rows (masked_of, visible_of, sample)");
  static_assert(!padded || exact || Local::clears,
                "data2vec: Padding::reference needs SpeechConfig::clear_padding, or padding reaches the positions");
  static_assert(check::MultipleOf<W.vq_dim(), W.latent_groups>,
                "data2vec: Wav2Vec2Config::latent_groups must divide the width of a quantised vector");
  static_assert(check::AtLeast<K, 1>, "data2vec: Wav2Vec2Config needs at least 1 negative");
  static constexpr CodebookShape codebooks{W.latent_groups, W.latent_vars, W.vq_dim() / W.latent_groups};
  static constexpr int groups = W.latent_groups, final_dim = W.final_dim;
  using Quantiser = ProductQuantiser<width, codebooks>;
  using TargetProjection = Linear<codebooks.dim(), final_dim, LinearInit::fan_in>;
  using Projection = Linear<D, final_dim, LinearInit::fan_in>;
  using Sums = Wav2Vec2Sums;
  static constexpr int moment_rows = 0, moment_width = 1, positions_per_sample = R;
  static constexpr bool positions_vary = padded, accumulates = true;
  static constexpr int positions_of(int length) {
    if constexpr (padded) return Masking::masked_of(Enc::valid_tokens(length));
    else return R;
  }
  static constexpr bool drops_features = W.dropout_features > 0;

  template <class T, int B>
  using Samples = View<const T, B, M::sample_size>;

  template <class T>
  struct Parameters {
    typename Enc::template FrontEnd<T> front;
    View<T, D> mask_emb;
    typename Quantiser::template Parameters<T> quantizer;
    typename TargetProjection::template Parameters<T> project_q;
    typename Projection::template Parameters<T> final_proj;
  };
  /// Everything a step reads or, as gradients, writes.
  template <class T>
  struct Weights {
    Parameters<T> branch;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
  };

  /// All values of a chunk of B samples. Targets: those of the hidden positions, then random ones.
  template <class T, int B, int = masks>
  struct Workspace {
    static constexpr int most = B * R, pool = most * (1 + W.codebook_negatives);
    View<T, B, T_, D> local, dlocal, dencoded;
    typename Local::template Tape<T, B> local_tape;
    typename Enc::template Memory<T, B, 1, T_, true> encoder;
    View<T, B, T_, width> dnormed;
    View<T, most, D> hidden, dhidden;
    View<T, most, final_dim> prediction, dprediction;
    View<T, most, width> features, dfeatures;
    View<T, most, codebooks.codes()> noise;
    typename Quantiser::template Tape<T, most> quantizer;
    View<T, pool, codebooks.dim()> quantized, dquantized;
    View<T, pool, final_dim> targets, dtargets;
    View<T, most, 1 + K> logits;
    View<T, most + pool> scratch;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("dlocal", w.dlocal...);
      f("dencoded", w.dencoded...);
      f("local_tape", w.local_tape...);
      f("encoder", w.encoder...);
      f("dnormed", w.dnormed...);
      f("hidden", w.hidden...);
      f("dhidden", w.dhidden...);
      f("prediction", w.prediction...);
      f("dprediction", w.dprediction...);
      f("features", w.features...);
      f("dfeatures", w.dfeatures...);
      f("noise", w.noise...);
      f("quantizer", w.quantizer...);
      f("quantized", w.quantized...);
      f("dquantized", w.dquantized...);
      f("targets", w.targets...);
      f("dtargets", w.dtargets...);
      f("logits", w.logits...);
      f("scratch", w.scratch...);
    }
  };

  template <int B, int = masks>
  using Indices = ContrastIndices<Enc, Masking, W, B>;

  static BranchOptions options() {
    constexpr Wav2Vec2Config w = W;
    return {.rates = encoder_rates<C, M>(), .loss = {}, .mask_noise_std = 0,
            .contrast = {w.logit_temp, w.latent_temp, w.diversity_weight, w.features_pen_weight, w.dropout_features}};
  }

  /// Forward and backward of a chunk on the masks and negatives of `index`. Gradients of the summed loss divided by
  /// `sample_size` are accumulated. `temperature` is the quantiser's; w.noise holds its Gumbel noise. `lengths` (B):
  /// numbers of each sample that are no padding; null: all.
  template <class Dev, class T, int B, class Observer = NoObserver>
  static Sums step(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<T>& gradient,
                   Samples<T, B> samples, const ContrastOptions& options, double temperature, double sample_size,
                   const Workspace<T, B>& w, const Indices<B>& index, const int* lengths, Observer&& observe = {}) {
    auto& d = pass.device;
    const auto& branch = p.branch;
    const int n = index.count(), random = n * W.codebook_negatives;
    if (n == 0) return {};  // samples too short to hide anything
    int valid[B];
    for (int b = 0; b < B; ++b) valid[b] = lengths ? Enc::valid_tokens(lengths[b]) : T_;
    Enc::Rows::index_all(index.encoder, padded ? valid : nullptr);
    Enc::tokens(d, branch.front.local_encoder, samples, w.local, w.local_tape, lengths);
    const auto& frames = std::get<Local::layers - 1>(w.local_tape.layer.item).activated;           // (B, T, width)
    observe("conv_features", 0, frames.data, frames.size);
    observe("features_norm", 0, w.local_tape.normed.data, w.local_tape.normed.size);
    observe("features_proj", 0, w.local.data, w.local.size);

    // Targets: the frames that are hidden below, quantised.
    device::gather_rows<width>(d, n, w.local_tape.normed.data, index.rows.data, w.features.data);  // (n, width)
    drop_features<B>(pass, index, options.dropout_features, w.features.data);
    Quantiser::forward(d, branch.quantizer, n, w.features.data, w.noise.data, temperature, index.codes.data,
                       w.quantized.data, w.quantizer);
    device::look_up_codes<codebooks>(d, random, index.codes[n].data, branch.quantizer.vars.data, w.quantized[n].data);
    TargetProjection::forward(d, branch.project_q, n + random, w.quantized.data, w.targets.data);  // (n + random, F)
    double usage[codebooks.codes()];
    const CodebookPerplexities perplexities = Quantiser::perplexities(d, n, usage, w.quantizer);
    observe("gumbel_soft", 0, w.quantizer.soft.data, static_cast<std::size_t>(n) * codebooks.codes());
    observe("quantized", 0, w.quantized.data, static_cast<std::size_t>(n) * codebooks.dim());
    observe("target", 0, w.targets.data, static_cast<std::size_t>(n) * final_dim);

    // Predictions: the encoder's output where frames are hidden.
    drop_tokens<M, B>(pass, w.local);
    for (int i = 0; i < n; ++i) device::copy(d, std::size_t{D}, branch.mask_emb.data, hidden_token(w.local, index, i));
    const auto encoded = Enc::forward(pass, pass, branch.front, p.blocks, p.norm, View<const T, B, T_, D>(w.local),
                                      index.encoder, w.encoder, [&](int i, const auto& ffn, const auto& output) {
                                        observe("layer_ffn", i, ffn.data, ffn.size);
                                        observe("layer", i, output.data, output.size);
                                      });
    observe("encoder", 0, encoded.encoder.data, encoded.encoder.size);
    device::gather_rows<D>(d, n, encoded.encoder.data, index.rows.data, w.hidden.data);            // (n, D)
    Projection::forward(d, branch.final_proj, n, w.hidden.data, w.prediction.data);
    observe("prediction", 0, w.prediction.data, static_cast<std::size_t>(n) * final_dim);

    index.leave_out_equal();
    const ContrastSums contrast = device::contrast<final_dim>(
        d, n, n + random, K, static_cast<const T*>(w.prediction.data), w.targets.data, index.candidates.data,
        options.logit_temp, 1 / sample_size, w.logits.data, w.dprediction.data, w.dtargets.data, w.scratch.data);
    observe("logits", 0, w.logits.data, static_cast<std::size_t>(n) * (1 + K));
    Sums sums{.contrastive = contrast.loss, .correct = contrast.correct,
              .code_perplexity = n * perplexities.code, .prob_perplexity = n * perplexities.prob,
              .temperature = n * temperature, .sample_size = static_cast<double>(n)};
    double diversity = 0, penalty = 0;  // weights of the derivatives
    if constexpr (W.diversity_weight > 0) {
      constexpr double codes = codebooks.codes();
      sums.diversity = options.diversity_weight * (codes - perplexities.prob) / codes * n;
      diversity = -options.diversity_weight * n / codes / sample_size;
    }
    if constexpr (W.features_pen_weight > 0) {
      const double mean = device::sum_of_squares(d, frames.size, static_cast<const T*>(frames.data)) / frames.size;
      sums.features_pen = options.features_pen_weight * mean * n;
      penalty = 2 * options.features_pen_weight * n / static_cast<double>(frames.size) / sample_size;
    }

    const auto& g = gradient.branch;
    Projection::backward(d, branch.final_proj, n, w.hidden.data, w.dprediction.data, w.dhidden.data, g.final_proj);
    device::fill(d, w.dencoded.size, 0, w.dencoded.data);
    device::scatter_add_rows<D>(d, n, w.dhidden.data, index.rows.data, w.dencoded.data);           // (B, T, D)
    TargetProjection::backward(d, branch.project_q, n + random, w.quantized.data, w.dtargets.data, w.dquantized.data,
                               g.project_q);
    device::look_up_codes_backward<codebooks>(d, random, index.codes[n].data, w.dquantized[n].data,
                                              g.quantizer.vars.data);
    Quantiser::backward(d, branch.quantizer, n, w.features.data, w.dquantized.data, temperature, index.codes.data,
                        usage, diversity, w.dfeatures.data, g.quantizer, w.quantizer);
    drop_features<B>(pass, index, options.dropout_features, w.dfeatures.data);
    device::fill(d, w.dnormed.size, 0, w.dnormed.data);
    device::scatter_add_rows<width>(d, n, w.dfeatures.data, index.rows.data, w.dnormed.data);      // (B, T, width)
    Enc::backward(pass, branch.front, p.blocks, p.norm, index.encoder, w.dencoded, w.dlocal, g.front, gradient.blocks,
                  gradient.norm, w.encoder);
    for (int i = 0; i < n; ++i) {
      T* const token = hidden_token(w.dlocal, index, i);
      device::add(d, std::size_t{D}, g.mask_emb.data, token, g.mask_emb.data);
      device::fill(d, std::size_t{D}, 0, token);
    }
    drop_tokens<M, B>(pass, w.dlocal);
    Local::backward(d, branch.front.local_encoder, samples, View<const T, B, T_, D>(w.dlocal), g.front.local_encoder,
                    w.local_tape, lengths, {.normed = w.dnormed.data, .penalty = penalty});
    return sums;
  }

  /// The same on masks, negatives and noise that are drawn.
  template <class Dev, class T, int B, int G>
  static Sums step_by_masks(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<const T>&,
                            const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B>,
                            const BranchOptions& options, double sample_size, const Workspace<T, B, G>& w,
                            const Indices<B, G>& index, double*, const int* lengths = nullptr) {
    int valid[B];
    for (int b = 0; b < B; ++b) valid[b] = lengths ? Enc::valid_tokens(lengths[b]) : T_;
    index.draw(pass.draws, valid);
    each_sample<B>(pass, index, [&](const Draws& draws, int first, int rows) {
      device::gumbel_noise(pass.device, 1, rows * codebooks.codes(), draws.at(Site::gumbel, 0, 0), w.noise[first].data);
    });
    return step(pass, p, gradient, samples, options.contrast, options.contrast.latent_temp_at(pass.draws.update),
                sample_size, w, index, padded ? lengths : nullptr);
  }

 private:
  template <class T, int B>
  static T* hidden_token(View<T, B, T_, D> tokens, const Indices<B>& index, int i) {
    return tokens.data + static_cast<std::ptrdiff_t>(index.rows[i]) * D;
  }
  /// f(draws of a sample, its first hidden position, their number).
  template <int B, class P, class F>
  static void each_sample(const P& pass, const Indices<B>& index, F&& f) {
    for (int b = 0; b < B; ++b) {
      Draws own = pass.draws;
      own.sample_ids += b;
      f(own, index.first[b], index.first[b + 1] - index.first[b]);
    }
  }
  /// Dropout of the rows (n, width) that are quantised, or of their gradient.
  template <int B, class P, class T>
  static void drop_features(const P& pass, const Indices<B>& index, double rate, T* x) {
    if constexpr (drops_features)
      each_sample<B>(pass, index, [&](const Draws& draws, int first, int rows) {
        T* const own = x + static_cast<std::ptrdiff_t>(first) * width;
        device::dropout(pass.device, 1, rows * width, draws.at(Site::feature_dropout, 0, rate), own, own);
      });
  }
};

/// A wav2vec 2.0 model. Name it (`struct Mine : Wav2Vec2<...> {}`): messages and symbols then say `Mine`.
template <Config C, class ModalityType, class MaskingType, Wav2Vec2Config W>
struct Wav2Vec2 {
  static_assert(check::HeadsDivideEmbedDim<C.num_heads, C.embed_dim>,
                "data2vec: Config::num_heads must divide Config::embed_dim");
  static_assert(check::Equal<MaskingType::tokens, ModalityType::tokens>,
                "data2vec: the masking policy must be over as many tokens as the modality has");
  static constexpr const char *system = "wav2vec2", *recogniser_encoder = "w2v_encoder.w2v_model",
                              *recogniser_head = "w2v_encoder.proj";
  static constexpr Config config = C;
  static constexpr Wav2Vec2Config contrast = W;
  static constexpr bool has_teacher = false;
  static constexpr int branches = 1;
  using First = Wav2Vec2Step<C, ModalityType, MaskingType, W>;
  template <int>
  using BranchAt = First;

  static constexpr void describe(auto&& f) {
    f("model", config);
    f("speech", ModalityType::speech);
    f("masks", MaskingType::config);
    f("contrast", contrast);
  }

  /// The encoder alone, under the reference's names, with what stands for hidden frames.
  template <class Enc, class T>
  struct EncoderParameters {
    View<T, C.embed_dim> mask_emb;
    typename Enc::template FrontEnd<T> front_end;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    const typename Enc::template FrontEnd<T>& front() const { return front_end; }
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"mask_emb", init::fixed()}, p.mask_emb...);
      f("feature_extractor.conv_layers", p.front_end.local_encoder.conv_layers...);
      f("layer_norm", p.front_end.local_encoder.norm...);
      f("post_extract_proj", p.front_end.local_encoder.projection...);
      f("encoder.pos_conv", p.front_end.relative_positional_encoder...);
      f("encoder.layers", p.blocks...);
      f("encoder.layer_norm", p.front_end.context_encoder.norm...);
      f("encoder.layer_norm", p.norm...);
    }
  };
  /// All parameters.
  template <class T>
  struct Parameters {
    EncoderParameters<typename First::Enc, T> encoder;
    typename First::Quantiser::template Parameters<T> quantizer;
    typename First::TargetProjection::template Parameters<T> project_q;
    typename First::Projection::template Parameters<T> final_proj;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.encoder...);
      f("quantizer", p.quantizer...);
      f("project_q", p.project_q...);
      f("final_proj", p.final_proj...);
    }
  };
  template <int, class T>
  static typename First::template Weights<T> weights(const Parameters<T>& p) {
    return {{p.encoder.front_end, p.encoder.mask_emb, p.quantizer, p.project_q, p.final_proj}, p.encoder.blocks,
            p.encoder.norm};
  }

  static constexpr bool in_decoder(std::string_view name) {
    return name.starts_with("quantizer.") || name.starts_with("project_q.") || name.starts_with("final_proj.");
  }
  static constexpr bool in_teacher(std::string_view) { return false; }
  static constexpr int branch_of(std::string_view) { return -1; }
  static constexpr bool receives_gradient(std::string_view name, int = 0) {
    return ModalityType::config.local_grad_mult != 0 || !name.starts_with("feature_extractor.");
  }

  static constexpr std::size_t parameter_count = element_count<Parameters<float>>;
  static constexpr std::size_t encoder_parameter_count =
      detail::elements_where<Parameters<float>>([](std::string_view name) { return !in_decoder(name); });
  static constexpr std::size_t teacher_parameter_count = 0;

  /// Floating-point operations of one training step per sample; what the quantiser and the contrast take is the decoder's.
  template <int = 0>
  static constexpr StepFlops step_flops = [] {
    using S = First;
    return StepFlops{.local = S::Local::flops_per_sample +
                              (S::M::config.local_grad_mult > 0 ? S::Local::backward_flops_per_sample : 0),
                     .student = 3 * S::Enc::flops(S::T_),
                     .decoder = 3 * S::R * (S::Projection::flops_per_row + S::Quantiser::flops_per_row +
                                            (1 + W.codebook_negatives) * S::TargetProjection::flops_per_row +
                                            2.0 * (1 + S::K) * W.final_dim)};
  }();
  template <int = 0>
  static constexpr double flops_per_sample = step_flops<0>.total();
  template <int B, int G = 1, int = 0>
  static constexpr std::size_t workspace_size = buffer_size<typename First::template Workspace<float, B>>;

  /// Random initial weights, a function of the seed alone. `buffer` holds buffer_size<Parameters<T>> elements.
  template <class T>
  static void initialise(T* buffer, std::uint64_t seed) {
    initialise_tensors<Parameters<T>>(buffer, seed, C.mae_init);
    std::uint32_t row = 0;
    for (const TensorInfo& info : tensor_table<Parameters<T>>) {
      Rng rng({.seed = seed, .sample = row++, .site = Site::initialise});
      if (info.name.view() != "mask_emb" && info.name.view() != "quantizer.vars") continue;
      for (std::size_t i = 0; i < info.size; ++i) buffer[info.offset + i] = static_cast<T>(rng.uniform());
    }
    const auto positions = bind<Parameters<T>>(buffer).encoder.front_end.relative_positional_encoder;
    if constexpr (requires { First::Enc::Relative::start(positions); }) First::Enc::Relative::start(positions);
  }
};

}  // namespace data2vec::inline v0
