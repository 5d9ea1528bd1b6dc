// SPDX-License-Identifier: MIT
// One modality of a data2vec 2.0 model: its parameters, and the forward and backward of a chunk of samples through
// teacher, student, decoder and losses (Baevski et al., 2022, section 3).
#pragma once

#include <data2vec/device/patches.hpp>
#include <data2vec/device/reduce.hpp>
#include <data2vec/model/encoder.hpp>
#include <data2vec/objective/decode_step.hpp>
#include <data2vec/objective/mask_indices.hpp>
#include <data2vec/objective/step_options.hpp>
#include <data2vec/objective/targets.hpp>

namespace data2vec::inline v0 {

/// A branch under a configuration; that they fit is checked by the model (objective/data2vec2.hpp).
template <Config C, class Br>
struct BranchStep {
  using M = typename Br::Modality;
  using Masking = typename Br::Masking;
  using Dec = typename Br::Decoder;
  using SharedDec = typename Br::SharedDecoder;
  using Enc = Encoder<C, M>;
  static constexpr bool has_shared = !std::is_same_v<SharedDec, NoDecoder>;
  static constexpr int D = C.embed_dim, E = Enc::E, T_ = Enc::T_, masks = C.clone_batch;
  static constexpr int V = Masking::visible, R = masked_tokens<Masking>, filled = T_ - V;
  static constexpr bool padded = Enc::padded, exact = Enc::exact;
  static_assert(!has_shared || (Dec::sees_all && SharedDec::sees_all && C.recon_loss == 0),
                "data2vec: a shared decoder needs decoders that see all tokens, and Config::recon_loss of 0");
  static_assert(!exact || PaddedMaskingPolicy<Masking>,
                "data2vec: Padding::exact needs a masking policy for shorter rows (masked_of, visible_of, sample)");
  static_assert(!exact || requires { Dec::handles_padding; },
                "data2vec: Padding::exact needs a decoder that heeds padding (handles_padding)");
  static constexpr DecoderShape decoder_shape{
      D, M::grid, V, R, C.mlp_ratio, norm_order(C), C.norm_eps, C.norm_affine, exact};
  using Own = DecodeStep<Dec, decoder_shape, E>;
  using Network = typename Own::Network;
  using Common = DecodeStep<std::conditional_t<has_shared, SharedDec, Dec>, decoder_shape, E>;
  static constexpr bool has_cls = C.cls_loss > 0, has_recon = C.recon_loss > 0;
  static constexpr bool teacher_has_local = !C.ema_encoder_only && M::config.ema_local_encoder;
  static constexpr int moment_rows = has_shared ? 6 : 4;  ///< rows of D sums that a step adds to
  static constexpr int moment_width = D;
  /// The CLS term is not divided by the hidden positions: these must be known before, not after the micro-batches.
  static constexpr bool accumulates = !(exact && has_cls);
  static constexpr int positions_per_sample = masks * R;  ///< hidden positions of a full sample
  static constexpr bool positions_vary = exact;
  static int positions_of(int length) { return masks * Masking::masked_of(Enc::valid_tokens(length)); }
  // Names of their own: where padding precedes a double in C, clang misreads it at run time (not in constants).
  static constexpr double loss_beta = C.loss_beta;
  static constexpr double loss_scale = C.loss_scale > 0 ? C.loss_scale : 1 / init::square_root(D);

  template <class T, int B>
  using Samples = View<const SampleOf<M, T>, B, M::sample_size>;

  template <class T>
  struct Parameters {
    typename Enc::template FrontEnd<T> front;
    typename Network::template Parameters<T> decoder;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.front...);
      f("decoder", p.decoder...);
    }
  };
  template <class T>
  struct ReconParameters {
    typename Linear<D, D, LinearInit::fan_in>::template Parameters<T> linear;
    static constexpr void visit(auto&& f, auto&... p) { f("", p.linear...); }
  };
  template <class T>
  using Recon = std::conditional_t<has_recon, ReconParameters<T>, Nothing>;
  template <class T>
  using SharedDecoder = std::conditional_t<has_shared, typename Common::Network::template Parameters<T>, Nothing>;

  /// Everything a step reads or, as gradients, writes.
  template <class T>
  struct Weights {
    Parameters<T> branch;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    Recon<T> recon_proj;
    SharedDecoder<T> shared_decoder = {};
  };

  template <class T, int B>
  struct TeacherMemory {
    typename Enc::Local::template Tape<T, B> local;
    typename Enc::template Memory<T, B, 1, T_, false> encoder;
    static constexpr void visit(auto&& f, auto&... m) {
      f("local", m.local...);
      f("encoder", m.encoder...);
    }
  };
  template <class T, int B, int G = masks>
  struct StudentMemory {
    static constexpr int N = B * G, S = E + V;
    typename Enc::template Memory<T, B, G, V, true> encoder;
    typename Own::template Pool<T, N> pool;
    typename Own::template Memory<T, N> decoder;
    std::conditional_t<has_shared, typename Common::template Memory<T, N>, Nothing> shared_decoder;
    View<T, N, S, D> dencoded;
    View<T, has_shared ? N : 1, has_shared ? S : 1, has_shared ? D : 1> dshared;
    View<T, N, D> cls, dcls;
    View<T, has_recon ? N : 1, has_recon ? R : 1, has_recon ? D : 1> pixels, dpixels;
    static constexpr void visit(auto&& f, auto&... m) {
      f("encoder", m.encoder...);
      f("pool", m.pool...);
      f("decoder", m.decoder...);
      f("shared_decoder", m.shared_decoder...);
      f("dencoded", m.dencoded...);
      f("dshared", m.dshared...);
      f("cls", m.cls...);
      f("dcls", m.dcls...);
      f("pixels", m.pixels...);
      f("dpixels", m.dpixels...);
    }
  };
  /// All values of a chunk of B samples, G masks of each at a time. Teacher and student use the same memory one after
  /// the other.
  template <class T, int B, int G = masks>
  struct Workspace {
    View<T, B, T_, D> local, teacher_local, layer, targets, dlocal;
    View<T, B, D> target_mean;
    View<T, has_recon ? B : 1, has_recon ? T_ : 1, has_recon ? D : 1> patches;
    typename Enc::Local::template Tape<T, B> local_tape;
    Overlay<T, TeacherMemory<T, B>, StudentMemory<T, B, G>> passes;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("teacher_local", w.teacher_local...);
      f("layer", w.layer...);
      f("targets", w.targets...);
      f("dlocal", w.dlocal...);
      f("target_mean", w.target_mean...);
      f("patches", w.patches...);
      f("local_tape", w.local_tape...);
      f("passes", w.passes...);
    }
  };

  template <int B, int G = masks>
  using Indices = MaskIndices<Enc, Masking, Dec::sees_all, B, G>;
  using Sums = LossSums;

  /// Rates, weights and noise as the configurations have them.
  static BranchOptions options() {
    BranchOptions o{encoder_rates<C, M>(), {C.d2v_loss, C.cls_loss, C.recon_loss}, M::config.mask_noise_std};
    o.rates.decoder_input_dropout = Dec::config.input_dropout;
    if constexpr (has_shared) o.rates.shared_decoder_input_dropout = SharedDec::config.input_dropout;
    return o;
  }

  static constexpr int teacher_layer_offset = 2048;  // keeps the draws of a training-mode front end apart

  /// Forward and backward of one chunk, all masks at once, on the masks of `index`. `samples` and `teacher_samples`
  /// (B, sample_size) may be the same; `noise` (N, T - V, D) is drawn if null; with a shared decoder it is
  /// (2, N, T - V, D), the shared decoder's first. Gradients of the summed loss divided by `sample_size` (that of the
  /// whole batch) are accumulated into `gradient`. `index` has the lengths of the samples, if there is padding.
  /// `moments` (moment_rows, D) receives sums and sums of squares per channel of predictions, of targets and of the
  /// shared decoder's predictions, if there is one, at hidden positions.
  template <class Dev, class T, int B, class Observer = NoObserver>
  static LossSums step(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>& teacher,
                       const Weights<T>& gradient, Samples<T, B> samples,
                       Samples<T, B> teacher_samples, const T* noise, double noise_deviation,
                       const LossWeights& weights, double sample_size, const Workspace<T, B>& w,
                       const Indices<B>& index, double* moments, Observer&& observe = {}) {
    teach(pass, student, teacher, samples, teacher_samples, w, index, observe);
    const LossSums sums = learn(pass, student, gradient, samples, noise, noise_deviation, weights, sample_size, w,
                                index, false, moments, observe);
    learn_local(pass, student, gradient, samples, w, lengths(index));
    return sums;
  }

  /// The same on masks drawn from the policy, G masks of every sample at a time: one teacher, memory for G masks.
  /// `sample_lengths` (B), for modalities with padding: how much of each sample is none; null: all of it.
  template <class Dev, class T, int B, int G>
  static LossSums step_by_masks(const Pass<Dev, true>& pass, const Weights<const T>& student,
                                const Weights<const T>& teacher, const Weights<T>& gradient,
                                Samples<T, B> samples, Samples<T, B> teacher_samples, const BranchOptions& options,
                                double sample_size, const Workspace<T, B, G>& w, const Indices<B, G>& index,
                                double* moments, const int* sample_lengths = nullptr) {
    static_assert(masks % G == 0);
    index.set_lengths(sample_lengths);
    Pass<Dev, true> group = pass;
    group.draws.masks = G;
    LossSums sums;
    for (int first = 0; first < masks; first += G) {
      group.draws.first_mask = first;
      index.draw(group.draws);
      if (first == 0) teach(pass, student, teacher, samples, teacher_samples, w, index, NoObserver{});
      sums += learn(group, student, gradient, samples, static_cast<const T*>(nullptr), options.mask_noise_std,
                    options.loss, sample_size, w, index, first > 0, moments, NoObserver{});
    }
    learn_local(pass, student, gradient, samples, w, lengths(index));
    return sums;
  }

  /// The same as a GPU's trainer calls it: on all masks of `index`, which are drawn; the sums come when the step has run.
  template <class Dev, class T, int B>
  static void step_drawn(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>& teacher,
                         const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B> teacher_samples,
                         const BranchOptions& options, double sample_size, const Workspace<T, B>& w,
                         const Indices<B>& index, double* moments) {
    step(pass, student, teacher, gradient, samples, teacher_samples, static_cast<const T*>(nullptr),
         options.mask_noise_std, options.loss, sample_size, w, index, moments);
  }
  static constexpr int loss_terms = 1 + has_shared + has_recon + has_cls;
  /// The sums over `sample_size` hidden positions, from those that the losses of a step returned one after the other.
  static LossSums sums_of(const double* terms, const BranchOptions& options, double sample_size) {
    LossSums sums;
    if constexpr (has_shared) sums.shared = options.loss.d2v_loss * loss_scale * *terms++;
    sums.regression = options.loss.d2v_loss * loss_scale * *terms++;
    if constexpr (has_recon) sums.recon = options.loss.recon_loss * loss_scale * *terms++;
    if constexpr (has_cls) sums.cls = options.loss.cls_loss * loss_scale * *terms++;
    sums.sample_size = sample_size;
    return sums;
  }

 private:
  /// Tokens of the samples and the targets of all positions, both (B, T, D).
  template <class Dev, class T, int B, int G, class Observer>
  static void teach(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>& teacher,
                    Samples<T, B> samples, Samples<T, B> teacher_samples,
                    const Workspace<T, B, G>& w, const Indices<B, G>& index, Observer&& observe) {
    Enc::tokens(pass.device, student.branch.front.local_encoder, samples, w.local, w.local_tape, lengths(index));
    drop_tokens<M, B>(pass, w.local);
    observe("local_features", 0, w.local.data, w.local.size);
    make_targets(pass, student, teacher, teacher_samples, w, index, observe);
  }

  /// Forward and backward of the student on G masks of each sample, down to the gradient of the tokens, which is added
  /// to w.dlocal if there is `more` than the first such group.
  template <class Dev, class T, int B, int G, class Observer>
  static LossSums learn(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<T>& gradient,
                        Samples<T, B> samples, const T* noise, double noise_deviation,
                        const LossWeights& weights, double sample_size, const Workspace<T, B, G>& w,
                        const Indices<B, G>& index, bool more, double* moments, Observer&& observe) {
    constexpr int N = B * G;
    auto& d = pass.device;
    const double scale = loss_scale;
    const auto m = w.passes.template as<StudentMemory<T, B, G>>();
    const auto encoded = Enc::forward(pass, pass, student.branch.front, student.blocks, student.norm,
                                      View<const T, B, T_, D>(w.local), index.student, m.encoder, [](auto&&...) {});
    observe("prenet", 0, encoded.prenet.data, encoded.prenet.size);
    observe("encoder", 0, encoded.encoder.data, encoded.encoder.size);
    device::copy(d, encoded.encoder.size, encoded.encoder.data, m.pool.data);
    const double weight = weights.d2v_loss * scale / sample_size;
    LossSums sums;
    sums.sample_size = index.hidden();
    DecodeOptions<T> common{pass.rates.shared_decoder_input_dropout, 1, positions(student), noise, noise_deviation};
    DecodeOptions<T> own{pass.rates.decoder_input_dropout, 0, positions(student), noise, noise_deviation};
    if constexpr (has_shared) {
      const auto& memory = m.shared_decoder;
      if (noise) own.noise += static_cast<std::ptrdiff_t>(N) * filled * D;
      Common::template forward<Pass<Dev, true>, T, N>(pass, student.shared_decoder, common, m.pool, memory, index);
      observe("prediction", 0, memory.prediction.data, memory.prediction.size);
      sums.shared = weights.d2v_loss * scale *
                    Common::template loss<Dev, T, N>(d, memory, w.targets.data, loss_beta, weight, moments + 4 * D,
                                                     index);
    }
    Own::template forward<Pass<Dev, true>, T, N>(pass, student.branch.decoder, own, m.pool, m.decoder, index);
    observe("prediction", has_shared ? 1 : 0, m.decoder.prediction.data, m.decoder.prediction.size);
    sums.regression = weights.d2v_loss * scale *
                      Own::template loss<Dev, T, N>(d, m.decoder, w.targets.data, loss_beta, weight, moments, index);
    for (int n = 0; n < N; n += exact ? 1 : N)
      device::channel_moments<D>(d, exact ? index.hidden(n) : N * R, w.targets.data, index.target_rows[n].data,
                                 moments + 2 * D, moments + 3 * D);
    if constexpr (has_recon)
      sums.recon = reconstruct<B, G>(pass, student, gradient, samples, weights, sample_size, w, m, index);
    if constexpr (has_cls) {
      mean_targets<B>(d, w, index);
      device::gather_rows<D>(d, N, m.pool.data, index.cls_rows.data, m.cls.data);                 // (N, D)
      sums.cls = weights.cls_loss * scale *
                 device::regression_loss<D>(d, N, m.cls.data, w.target_mean.data, index.samples.data, loss_beta,
                                            weights.cls_loss * scale, m.dcls.data);
    }

    Own::template backward<Pass<Dev, true>, T, N>(pass, student.branch.decoder, own, gradient.branch.decoder, m.pool,
                                                  m.decoder, index, m.dencoded.data);
    if constexpr (has_cls) device::scatter_add_rows<D>(d, N, m.dcls.data, index.cls_rows.data, m.dencoded.data);
    Own::drop_input(pass, own, N, m.dencoded.data);
    if constexpr (has_shared) {
      Common::template backward<Pass<Dev, true>, T, N>(pass, student.shared_decoder, common, gradient.shared_decoder,
                                                       m.pool, m.shared_decoder, index, m.dshared.data);
      device::add(d, m.dencoded.size, m.dencoded.data, m.dshared.data, m.dencoded.data);
      Common::drop_input(pass, common, N, m.dencoded.data);
    }
    Enc::backward(pass, student.branch.front, student.blocks, student.norm, index.student, m.dencoded, w.dlocal,
                  gradient.branch.front, gradient.blocks, gradient.norm, m.encoder, more);
    return sums;
  }

  /// The end of the backward: the local encoder, once for all masks.
  template <class P, class T, int B, int G>
  static void learn_local(const P& pass, const Weights<const T>& student, const Weights<T>& gradient,
                          Samples<T, B> samples, const Workspace<T, B, G>& w,
                          [[maybe_unused]] const int* sample_lengths) {
    drop_tokens<M, B>(pass, w.dlocal);
    const View<const T, B, T_, D> dlocal = w.dlocal;
    if constexpr (detail::reads_lengths<typename Enc::Local>) {
      Enc::Local::backward(pass.device, student.branch.front.local_encoder, samples, dlocal,
                           gradient.branch.front.local_encoder, w.local_tape, sample_lengths);
    } else if constexpr (detail::applies_grad_mult<typename Enc::Local>) {
      Enc::Local::backward(pass.device, student.branch.front.local_encoder, samples, dlocal,
                           gradient.branch.front.local_encoder, w.local_tape);
    } else if constexpr (M::config.local_grad_mult > 0) {
      if constexpr (M::config.local_grad_mult != 1)
        device::scale(pass.device, w.dlocal.size, M::config.local_grad_mult, w.dlocal.data);
      Enc::Local::backward(pass.device, student.branch.front.local_encoder, samples, dlocal,
                           gradient.branch.front.local_encoder, w.local_tape);
    }
  }

  /// Lengths of the samples and their tokens that are no padding; null where there is none.
  template <class I>
  static const int* lengths(const I& index) {
    if constexpr (padded) return index.padding.lengths.data;
    else return nullptr;
  }
  template <class I>
  static const int* valid(const I& index) {
    if constexpr (padded) return index.padding.valid.data;
    else return nullptr;
  }

  template <class Dev, class T, int B, int G, class Observer>
  static void make_targets(const Pass<Dev, true>& pass, const Weights<const T>& student,
                           const Weights<const T>& teacher, Samples<T, B> samples,
                           const Workspace<T, B, G>& w, const Indices<B, G>& index, Observer&& observe) {
    auto& d = pass.device;
    using Layers = Targets<C, B, T_, E, exact>;
    const auto m = w.passes.template as<TeacherMemory<T, B>>();
    const Pass<Dev, false> evaluate{d};
    View<const T, B, T_, D> local = w.local;
    if constexpr (teacher_has_local) {
      Enc::tokens(d, teacher.branch.front.local_encoder, samples, w.teacher_local, m.local, lengths(index));
      local = w.teacher_local;
    }
    Layers::start(d, w.targets);
    const auto tap = [&](int layer, const auto& mlp_output, const auto& block_output) {
      if (!Layers::takes(layer)) return;
      Layers::add(d, C.end_of_block_targets ? block_output : mlp_output, w.layer, w.targets, valid(index));
    };
    const auto observed = [&](int layer, const auto& mlp_output, const auto& block_output) {
      const auto& result = C.end_of_block_targets ? block_output : mlp_output;
      observe("layer_results", layer, result.data, result.size);
      tap(layer, mlp_output, block_output);
    };
    if constexpr (C.ema_encoder_only) {
      // The student's own front end, in training mode, feeds the teacher's blocks (the reference's rule).
      Pass<Dev, true> early = pass;
      early.draws.masks = 1;
      early.draws.first_layer += teacher_layer_offset;
      const auto out = Enc::forward(early, evaluate, student.branch.front, teacher.blocks, teacher.norm, local,
                                    index.teacher, m.encoder, observed);
      observe("teacher_input", 0, out.prenet.data, out.prenet.size);
    } else {
      const auto out = Enc::forward(evaluate, evaluate, teacher.branch.front, teacher.blocks, teacher.norm, local,
                                    index.teacher, m.encoder, observed);
      observe("teacher_input", 0, out.prenet.data, out.prenet.size);
    }
    Layers::finish(d, w.targets, valid(index));
    observe("targets", 0, w.targets.data, w.targets.size);
  }

  /// Fixed positions (T, D), or null.
  template <class T>
  static const T* positions(const Weights<const T>& student) {
    if constexpr (M::fixed_positions) return student.branch.front.fixed_positional_encoder.of_tokens();
    else return nullptr;
  }

  /// Mean over the tokens of each sample's targets: (B, D), the target of the CLS token.
  template <int B, class Dev>
  static void mean_targets(Dev& d, const auto& w, const auto& index) {
    for (int b = 0; b < B; b += exact ? 1 : B)
      device::mean_rows<D>(d, exact ? 1 : B, exact ? index.valid(b) : T_, w.targets[b].data, w.target_mean[b].data);
  }

  /// Pixel reconstruction from the decoder's output; its gradient is added to that of the prediction.
  template <int B, int G, class P, class T>
  static double reconstruct(const P& pass, const Weights<const T>& student, const Weights<T>& gradient,
                            Samples<T, B> samples, const LossWeights& weights, double sample_size,
                            const Workspace<T, B, G>& w, const StudentMemory<T, B, G>& m, const Indices<B, G>& index) {
    constexpr int N = B * G;
    using Projection = Linear<D, D, LinearInit::fan_in>;
    auto& d = pass.device;
    device::normalised_patches<M::vision.in_chans, M::vision.input_size, M::vision.patch_size>(d, B, samples.data,
                                                                                               w.patches.data);
    Projection::forward(d, student.recon_proj.linear, N * R, m.decoder.prediction.data, m.pixels.data);   // (N, R, D)
    const double sum = device::regression_loss<D>(d, N * R, m.pixels.data, w.patches.data, index.target_rows.data,
                                                  loss_beta, weights.recon_loss * loss_scale / sample_size,
                                                  m.dpixels.data);
    Projection::template backward<Grad::accumulate>(d, student.recon_proj.linear, N * R, m.decoder.prediction.data,
                                                    m.dpixels.data, m.decoder.dprediction.data,
                                                    gradient.recon_proj.linear);
    return weights.recon_loss * loss_scale * sum;
  }
};

}  // namespace data2vec::inline v0
