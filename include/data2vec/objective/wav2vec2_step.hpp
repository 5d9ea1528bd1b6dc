// SPDX-License-Identifier: MIT
// One step of wav2vec 2.0 on a chunk of samples: targets are quantised, the encoder reads frames some of which are
// hidden, each hidden frame is told from others, and back (Baevski et al., 2020, section 3.2).
#pragma once

#include <data2vec/device/contrast.hpp>
#include <data2vec/device/reduce.hpp>
#include <data2vec/layers/quantiser.hpp>
#include <data2vec/modality/speech.hpp>
#include <data2vec/model/encoder.hpp>
#include <data2vec/objective/contrast_indices.hpp>
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
  /// That a step leaves on a GPU: perplexities of codes and probabilities, losses, right ones, squares of the features.
  static constexpr int loss_terms = 4 + (W.features_pen_weight > 0);
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
    index.complete(lengths, temperature);
    Sums sums = learn(pass, p, gradient, samples, options, index.count(), sample_size, w, index, lengths, observe);
    sums.temperature = sums.sample_size * temperature;
    return sums;
  }

  /// The same on masks, negatives and noise that are drawn.
  template <class Dev, class T, int B, int G>
  static Sums step_by_masks(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<const T>&,
                            const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B>,
                            const BranchOptions& options, double sample_size, const Workspace<T, B, G>& w,
                            const Indices<B, G>& index, double*, const int* lengths = nullptr) {
    const int count = draw<B>(pass.draws, {}, lengths, options, index);
    draw_noise<B>(pass, index, w.noise);
    Sums sums = learn(pass, p, gradient, samples, options.contrast, count, sample_size, w, index,
                      padded ? lengths : nullptr, NoObserver{});
    sums.temperature = sums.sample_size * *index.temperature();
    return sums;
  }

  /// Masks, negatives, random codes and the temperature of a step, on the host. Returns the number of hidden frames.
  template <int B>
  static int draw(const Draws& draws, Samples<float, B>, const int* lengths, const BranchOptions& options,
                  const Indices<B>& index) {
    index.draw(draws, lengths);
    index.complete(lengths, options.contrast.latent_temp_at(draws.update));
    return index.count();
  }
  /// The step on them as a GPU's trainer calls it; the sums come when it has run.
  template <class Dev, class T, int B>
  static void step_drawn(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<const T>&,
                         const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B>, const BranchOptions& options,
                         double sample_size, const Workspace<T, B>& w, const Indices<B>& index, double*) {
    draw_noise<B>(pass, index, w.noise);
    learn(pass, p, gradient, samples, options.contrast, B * R, sample_size, w, index, nullptr, NoObserver{});
  }
  /// Of micro-batches of B samples.
  template <int B>
  static Sums sums_of(const double* terms, const BranchOptions& options, double sample_size, std::int64_t update) {
    const double batches = sample_size / (B * R);
    double squares = 0;
    if constexpr (W.features_pen_weight > 0) squares = terms[4] / batches / (double{B} * T_ * width);
    Sums sums = sums_of({terms[0] / batches, terms[1] / batches}, {terms[2], terms[3]}, squares, options.contrast,
                        sample_size);
    sums.temperature = sample_size * options.contrast.latent_temp_at(update);
    return sums;
  }

  /// `step` on an index that is complete, of n hidden frames.
  template <class Dev, class T, int B, class Observer>
  static Sums learn(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<T>& gradient,
                    Samples<T, B> samples, const ContrastOptions& options, int n, double sample_size,
                    const Workspace<T, B>& w, const Indices<B>& index, const int* lengths, Observer&& observe) {
    auto& d = pass.device;
    const auto& branch = p.branch;
    const int random = n * W.codebook_negatives;
    if (n == 0) return {};  // samples too short to hide anything
    Enc::tokens(d, branch.front.local_encoder, samples, w.local, w.local_tape, lengths);
    const auto& frames = std::get<Local::layers - 1>(w.local_tape.layer.item).activated;           // (B, T, width)
    observe("conv_features", 0, frames.data, frames.size);
    observe("features_norm", 0, w.local_tape.normed.data, w.local_tape.normed.size);
    observe("features_proj", 0, w.local.data, w.local.size);

    // Targets: the frames that are hidden below, quantised.
    device::gather_rows<width>(d, n, w.local_tape.normed.data, index.rows.data, w.features.data);  // (n, width)
    drop_features<B>(pass, index, options.dropout_features, w.features.data);
    Quantiser::forward(d, branch.quantizer, n, w.features.data, w.noise.data, index.temperature(),
                       index.codes.data, w.quantized.data, w.quantizer);
    device::look_up_codes<codebooks>(d, random, index.codes[n].data, branch.quantizer.vars.data, w.quantized[n].data);
    TargetProjection::forward(d, branch.project_q, n + random, w.quantized.data, w.targets.data);  // (n + random, F)
    const CodebookPerplexities perplexities = Quantiser::perplexities(d, n, w.quantizer);
    observe("gumbel_soft", 0, w.quantizer.soft.data, static_cast<std::size_t>(n) * codebooks.codes());
    observe("quantized", 0, w.quantized.data, static_cast<std::size_t>(n) * codebooks.dim());
    observe("target", 0, w.targets.data, static_cast<std::size_t>(n) * final_dim);

    // Predictions: the encoder's output where frames are hidden.
    drop_tokens<M, B>(pass, w.local);
    device::gather_rows<D>(d, B * T_, w.local.data, index.kept.data, w.local.data);
    device::gather_rows<D>(d, B * T_, branch.mask_emb.data, index.mask_tokens.data, w.dlocal.data);
    device::add(d, w.local.size, w.local.data, w.dlocal.data, w.local.data);
    const auto encoded = Enc::forward(pass, pass, branch.front, p.blocks, p.norm, View<const T, B, T_, D>(w.local),
                                      index.encoder, w.encoder, [&](int i, const auto& ffn, const auto& output) {
                                        observe("layer_ffn", i, ffn.data, ffn.size);
                                        observe("layer", i, output.data, output.size);
                                      });
    observe("encoder", 0, encoded.encoder.data, encoded.encoder.size);
    device::gather_rows<D>(d, n, encoded.encoder.data, index.rows.data, w.hidden.data);            // (n, D)
    Projection::forward(d, branch.final_proj, n, w.hidden.data, w.prediction.data);
    observe("prediction", 0, w.prediction.data, static_cast<std::size_t>(n) * final_dim);

    device::leave_out_equal(d, n, K, groups, index.codes.data, index.negatives.data, index.candidates.data);
    const ContrastSums contrast = device::contrast<final_dim>(
        d, n, n + random, K, static_cast<const T*>(w.prediction.data), w.targets.data, index.candidates.data,
        options.logit_temp, 1 / sample_size, w.logits.data, w.dprediction.data, w.dtargets.data, w.scratch.data);
    observe("logits", 0, w.logits.data, static_cast<std::size_t>(n) * (1 + K));
    double diversity = 0, squares = 0, penalty = 0;  // weights of derivatives; the mean of the features' squares
    if constexpr (W.diversity_weight > 0) diversity = -options.diversity_weight * n / codebooks.codes() / sample_size;
    if constexpr (W.features_pen_weight > 0) {
      squares = device::sum_of_squares(d, frames.size, static_cast<const T*>(frames.data)) / frames.size;
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
    Quantiser::backward(d, branch.quantizer, n, w.features.data, w.dquantized.data, index.temperature(),
                        index.codes.data, diversity, w.dfeatures.data, g.quantizer, w.quantizer);
    drop_features<B>(pass, index, options.dropout_features, w.dfeatures.data);
    device::fill(d, w.dnormed.size, 0, w.dnormed.data);
    device::scatter_add_rows<width>(d, n, w.dfeatures.data, index.rows.data, w.dnormed.data);      // (B, T, width)
    Enc::backward(pass, branch.front, p.blocks, p.norm, index.encoder, w.dencoded, w.dlocal, g.front, gradient.blocks,
                  gradient.norm, w.encoder);
    device::scatter_add_rows<D>(d, B * T_, w.dlocal.data, index.mask_tokens.data, g.mask_emb.data);
    device::gather_rows<D>(d, B * T_, w.dlocal.data, index.kept.data, w.dlocal.data);
    drop_tokens<M, B>(pass, w.dlocal);
    Local::backward(d, branch.front.local_encoder, samples, View<const T, B, T_, D>(w.dlocal), g.front.local_encoder,
                    w.local_tape, lengths, {.normed = w.dnormed.data, .penalty = penalty});
    return sums_of(perplexities, contrast, squares, options, n);
  }

 private:
  /// Of n hidden frames: mean perplexities, sums of the contrast, the mean of the features' squares.
  static Sums sums_of(const CodebookPerplexities& perplexities, const ContrastSums& contrast, double squares,
                      const ContrastOptions& options, double n) {
    Sums sums{.contrastive = contrast.loss, .correct = contrast.correct,
              .code_perplexity = n * perplexities.code, .prob_perplexity = n * perplexities.prob, .sample_size = n};
    constexpr double codes = codebooks.codes();
    if constexpr (W.diversity_weight > 0)
      sums.diversity = options.diversity_weight * (codes - perplexities.prob) / codes * n;
    if constexpr (W.features_pen_weight > 0) sums.features_pen = options.features_pen_weight * squares * n;
    return sums;
  }

  /// f(draws, samples, their first hidden frame, hidden frames of each): of all samples at once if each hides as many.
  template <int B, class F>
  static void each_sample(const Draws& draws, const Indices<B>& index, F&& f) {
    if constexpr (!padded) return f(draws, B, 0, R);
    else
      for (int b = 0; b < B; ++b) {
        Draws own = draws;
        own.sample_ids += b;
        f(own, 1, index.first[b], index.first[b + 1] - index.first[b]);
      }
  }
  template <int B, class P, class Noise>
  static void draw_noise(const P& pass, const Indices<B>& index, const Noise& noise) {
    each_sample<B>(pass.draws, index, [&](const Draws& draws, int samples, int first, int rows) {
      device::gumbel_noise(pass.device, samples, rows * codebooks.codes(), draws.at(Site::gumbel, 0, 0),
                           noise[first].data);
    });
  }
  /// Dropout of the rows (n, width) that are quantised, or of their gradient.
  template <int B, class P, class T>
  static void drop_features(const P& pass, const Indices<B>& index, double rate, T* x) {
    if constexpr (drops_features)
      each_sample<B>(pass.draws, index, [&](const Draws& draws, int samples, int first, int rows) {
        T* const own = x + static_cast<std::ptrdiff_t>(first) * width;
        device::dropout(pass.device, samples, rows * width, draws.at(Site::feature_dropout, 0, rate), own, own);
      });
  }
};

}  // namespace data2vec::inline v0
