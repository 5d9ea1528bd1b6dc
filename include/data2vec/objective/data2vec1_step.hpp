// SPDX-License-Identifier: MIT
// One step of data2vec 1.0 on a chunk of samples: teacher, student with mask tokens, regression of the hidden positions,
// and back (Baevski et al., 2022, section 3).
#pragma once

#include <algorithm>

#include <data2vec/decoder/regression_head.hpp>
#include <data2vec/device/reduce.hpp>
#include <data2vec/masking/bert.hpp>
#include <data2vec/masking/policy.hpp>
#include <data2vec/model/encoder.hpp>
#include <data2vec/objective/step_options.hpp>
#include <data2vec/objective/targets.hpp>

namespace data2vec::inline v0 {

/// Sums of the loss over hidden positions.
struct RegressionSums {
  double regression = 0;
  double sample_size = 0;  ///< hidden positions

  RegressionSums& operator+=(const RegressionSums& other) {
    regression += other.regression;
    sample_size += other.sample_size;
    return *this;
  }
  double total() const { return regression; }
  /// Writes the terms into a report (training/step_report.hpp).
  void report(auto& to) const { to.loss = to.regression = regression / sample_size; }
};

template <Config C, class Br, Data2Vec1Config O>
struct Data2Vec1Step {
  using M = typename Br::Modality;
  using Masking = typename Br::Masking;
  using Enc = Encoder<C, M>;
  static constexpr bool vision = requires { M::patch_values; }, text = requires { M::vocab_size; };
  static constexpr int D = C.embed_dim, E = Enc::E, T_ = Enc::T_, V = T_, S = E + T_, masks = 1;
  /// Hidden positions of a sample, at most; fewer where the policy says so.
  static constexpr int R = [] {
    if constexpr (requires { Masking::most; }) return int{Masking::most};
    else return masked_tokens<Masking>;
  }();
  static constexpr bool padded = Enc::padded, exact = Enc::exact;
  /// Targets' norms over the tokens of a sample or a batch must leave padding out.
  static constexpr bool exact_targets =
      exact && (C.batch_norm_target_layer || C.instance_norm_target_layer || C.instance_norm_targets);
  static constexpr bool exact_on_device = text && !exact_targets;  ///< Padding::exact asks nothing of the host
  using Head = typename Br::Decoder::template Network<D>;
  using Sums = RegressionSums;
  static constexpr bool accumulates = true, positions_vary = padded || requires { Masking::most; };
  static constexpr int positions_per_sample = R, moment_rows = 4, moment_width = D;
  static constexpr int loss_terms = 1;
  /// Whether the teacher makes its tokens itself: of text, and in BEiT's variant of vision.
  static constexpr bool teacher_has_local = text || (vision && O.vision == VisionVariant::beit);
  // Names of their own: where padding precedes a double in C, clang misreads it at run time (not in constants).
  static constexpr double loss_beta = C.loss_beta;
  static constexpr double loss_scale = C.loss_scale > 0 ? C.loss_scale : 1 / init::square_root(D);

  template <class T, int B>
  using Samples = View<const SampleOf<M, T>, B, M::sample_size>;

  /// What stands in the place of hidden tokens; of text a token of the vocabulary does.
  template <class T>
  struct SequenceMask {
    View<T, D> token;
    static constexpr void visit(auto&& f, auto&... p) { f(Field{"", init::uniform(1)}, p.token...); }
  };
  template <class T>
  struct GridMask {
    View<T, 1, 1, D> token;
    static constexpr Init start = O.vision == VisionVariant::beit ? init::normal(0.02) : init::truncated_normal(1);
    static constexpr void visit(auto&& f, auto&... p) { f(Field{"", start}, p.token...); }
  };
  template <class T>
  using MaskToken = std::conditional_t<text, Nothing, std::conditional_t<vision, GridMask<T>, SequenceMask<T>>>;
  /// A layer that fairseq's vision model has and does not use.
  template <class T>
  using Unused = std::conditional_t<vision && O.vision == VisionVariant::fairseq,
                                    typename Linear<D, D, LinearInit::fan_in>::template Parameters<T>, Nothing>;

  template <class T>
  struct BranchWeights {
    typename Enc::template FrontEnd<T> front;
    MaskToken<T> mask;
    typename Head::template Parameters<T> head;
  };
  /// Everything a step reads or, as gradients, writes.
  template <class T>
  struct Weights {
    BranchWeights<T> branch;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
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
  template <class T, int B>
  struct StudentMemory {
    typename Enc::template Memory<T, B, 1, T_, true> encoder;
    View<T, B * R, D> hidden, dhidden, prediction, dprediction;
    typename Head::template Tape<T, B * R> head;
    View<T, B, S, D> dencoded;
    static constexpr void visit(auto&& f, auto&... m) {
      f("encoder", m.encoder...);
      f("hidden", m.hidden...);
      f("dhidden", m.dhidden...);
      f("prediction", m.prediction...);
      f("dprediction", m.dprediction...);
      f("head", m.head...);
      f("dencoded", m.dencoded...);
    }
  };
  /// All values of a chunk of B samples. Teacher and student use the same memory one after the other.
  template <class T, int B, int = masks>
  struct Workspace {
    View<T, B, T_, D> local, teacher_local, layer, targets, dlocal;
    typename Enc::Local::template Tape<T, B> local_tape;
    Overlay<T, TeacherMemory<T, B>, StudentMemory<T, B>> passes;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("teacher_local", w.teacher_local...);
      f("layer", w.layer...);
      f("targets", w.targets...);
      f("dlocal", w.dlocal...);
      f("local_tape", w.local_tape...);
      f("passes", w.passes...);
    }
  };

  /// Which positions are hidden, and of text what student and teacher read.
  template <int B, int = masks>
  struct Indices {
    typename Enc::template Index<B, T_> rows, teacher;
    View<int, B> valid;               // tokens of each sample that are no padding
    View<int, B * R> hidden, outputs;  // hidden positions of all samples, one behind the other: rows of (B, T), (B, S)
    View<int, B * R> predictions;      // 0, 1, ...; as `hidden` and `outputs` -1 behind the last hidden position
    View<int, B * T_> kept;            // of (B, T): the row itself, -1 where the student reads a mask token or zeros
    View<int, B * T_> mask_tokens;     // 0 where it reads a mask token, -1 elsewhere
    View<int, B * T_> taught;          // the row itself, -1 where the teacher reads zeros
    View<std::int32_t, text ? B : 1, text ? T_ : 1> seen, original;
    static constexpr void visit(auto&& f, auto&... i) {
      f("rows", i.rows...);
      f("teacher", i.teacher...);
      f("valid", i.valid...);
      f("hidden", i.hidden...);
      f("outputs", i.outputs...);
      f("predictions", i.predictions...);
      f("kept", i.kept...);
      f("mask_tokens", i.mask_tokens...);
      f("taught", i.taught...);
      f("seen", i.seen...);
      f("original", i.original...);
    }

    void set_lengths(const int* lengths) const {
      for (int b = 0; b < B; ++b) valid[b] = padded && lengths ? Enc::valid_tokens(lengths[b]) : T_;
    }
    /// Notes position `t` of sample `b` as hidden number `n`.
    void hide(int n, int b, int t) const {
      hidden[n] = b * T_ + t;
      outputs[n] = b * S + E + t;
    }

    /// Completes the index once lengths, `count` hidden positions and, of text, `original` are there.
    void complete(int count) const {
      const int* const tokens = padded ? valid.data : nullptr;
      Enc::Rows::index_all(rows, tokens);
      Enc::Rows::index_all(teacher, tokens);
      for (int i = 0; i < B * T_; ++i) {
        kept.data[i] = taught.data[i] = i % T_ < valid[i / T_] ? i : -1;
        mask_tokens.data[i] = -1;
        if constexpr (text && O.masked_only_teacher && padded)
          if (original.data[i] == M::text.pad) {
            teacher.padding.key_hidden()[i] = true;
            taught.data[i] = -1;
          }
      }
      for (int i = 0; i < B * R; ++i) predictions.data[i] = i < count ? i : -1;
      for (int i = count; i < B * R; ++i) hidden.data[i] = outputs.data[i] = -1;
      if constexpr (!text)
        for (int i = 0; i < count; ++i) kept.data[hidden[i]] = -1, mask_tokens.data[hidden[i]] = 0;
    }

    /// Draws the masks of samples; of text from what they read. Returns the number of hidden positions.
    int draw(const Draws& draws, Samples<float, B> samples, const TokenIds& ids) const {
      int count = 0;
      for (int b = 0; b < B; ++b) {
        Rng rng(draws.at(Site::masks, 0, 0).key(b));
        if constexpr (text) {
          TokenAction actions[T_];
          int positions[R];
          const int drawn = Masking::sample(rng, valid[b], ids, samples[b].data, actions, seen[b].data, positions);
          for (int i = 0; i < drawn; ++i)
            if (actions[positions[i]] == TokenAction::mask) hide(count++, b, positions[i]);
        } else {
          data2vec::Mask<T_> mask;
          if constexpr (exact && PaddedMaskingPolicy<Masking>) Masking::sample(rng, mask, valid[b]);
          else Masking::sample(rng, mask);
          for (int t = 0; t < valid[b]; ++t)
            if (mask.hidden[t]) hide(count++, b, t);
        }
      }
      if constexpr (text) copy_original(samples, count);
      return count;
    }

    /// What the teacher of text reads: everything, or under O.masked_only_teacher the hidden tokens alone.
    void copy_original(Samples<float, B> samples, int count) const {
      if constexpr (text) {
        std::copy_n(samples.data, original.size, original.data);
        if constexpr (O.masked_only_teacher) {
          std::fill_n(original.data, original.size, std::int32_t{M::text.pad});
          for (int i = 0; i < count; ++i) original.data[hidden[i]] = samples.data[hidden[i]];
        }
      }
    }
  };

  static BranchOptions options() { return {.rates = encoder_rates<C, M>(), .loss = {.d2v_loss = C.d2v_loss}}; }

  /// Forward and backward of a chunk with `count` hidden positions in `index` (its lengths, `hidden`, `outputs` and, of
  /// text, `seen` and `original` are there). `samples` and `teacher_samples` (B, sample_size) may be the same; of text
  /// neither is read. Gradients of the summed loss divided by `sample_size` are accumulated; `moments` (4, D) receives
  /// sums and sums of squares of predictions, then of targets.
  template <class Dev, class T, int B, class Observer>
  static Sums step(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>& teacher,
                   const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B> teacher_samples, int count,
                   double d2v_loss, double sample_size, const Workspace<T, B>& w, const Indices<B>& index,
                   double* moments, const int* lengths, Observer&& observe) {
    index.complete(count);
    return learn(pass, student, teacher, gradient, samples, teacher_samples, count, d2v_loss, sample_size, w, index,
                 moments, lengths, observe);
  }

  /// The same on masks drawn from the policy, as the trainer calls it.
  template <class Dev, class T, int B, int G>
  static Sums step_by_masks(const Pass<Dev, true>& pass, const Weights<const T>& student,
                            const Weights<const T>& teacher, const Weights<T>& gradient, Samples<T, B> samples,
                            Samples<T, B> teacher_samples, const BranchOptions& options, double sample_size,
                            const Workspace<T, B, G>& w, const Indices<B, G>& index, double* moments,
                            const int* lengths = nullptr) {
    const int count = draw<B>(pass.draws, samples, lengths, options, index);
    return learn(pass, student, teacher, gradient, samples, teacher_samples, count, options.loss.d2v_loss, sample_size,
                 w, index, moments, padded ? lengths : nullptr, [](auto&&...) {});
  }

  /// Masks and the whole index of samples, on the host. Returns the number of hidden positions.
  template <int B>
  static int draw(const Draws& draws, Samples<float, B> samples, const int* lengths, const BranchOptions&,
                  const Indices<B>& index) {
    index.set_lengths(lengths);
    TokenIds ids;
    if constexpr (text) ids = {.mask = M::vocab_size - 1, .vocab_size = M::vocab_size};
    const int count = index.draw(draws, samples, ids);
    index.complete(count);
    return count;
  }
  /// The step as a GPU's trainer calls it, of as many positions as there may be; the sums come when it has run.
  template <class Dev, class T, int B>
  static void step_drawn(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>& teacher,
                         const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B> teacher_samples,
                         const BranchOptions& options, double sample_size, const Workspace<T, B>& w,
                         const Indices<B>& index, double* moments) {
    learn(pass, student, teacher, gradient, samples, teacher_samples, B * R, options.loss.d2v_loss, sample_size, w,
          index, moments, nullptr, [](auto&&...) {});
  }
  static Sums sums_of(const double* terms, const BranchOptions& options, double sample_size) {
    return {options.loss.d2v_loss * loss_scale * terms[0], sample_size};
  }

 private:
  /// `step` on an index that is complete.
  template <class Dev, class T, int B, class Observer>
  static Sums learn(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>& teacher,
                    const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B> teacher_samples, int count,
                    double d2v_loss, double sample_size, const Workspace<T, B>& w, const Indices<B>& index,
                    double* moments, const int* lengths, Observer&& observe) {
    auto& d = pass.device;
    const auto& front = student.branch.front;
    if constexpr (text) samples = index.seen;
    Enc::tokens(d, front.local_encoder, samples, w.local, w.local_tape, lengths);
    observe("local", 0, w.local.data, w.local.size);
    drop_tokens<M, B>(pass, w.local);
    teach(pass, student, teacher, teacher_samples, w, index, lengths, observe);

    const auto m = w.passes.template as<StudentMemory<T, B>>();
    if constexpr (!text || padded) device::gather_rows<D>(d, B * T_, w.local.data, index.kept.data, w.local.data);
    if constexpr (!text) {
      device::gather_rows<D>(d, B * T_, student.branch.mask.token.data, index.mask_tokens.data, w.dlocal.data);
      device::add(d, w.local.size, w.local.data, w.dlocal.data, w.local.data);
    }
    const auto encoded =
        Enc::forward(pass, pass, front, student.blocks, student.norm, View<const T, B, T_, D>(w.local), index.rows,
                     m.encoder, [&](int i, const auto& mlp, const auto& y) {
                       observe("layer_ffn", i, mlp.data, mlp.size);
                       observe("layer", i, y.data, y.size);
                     })
            .encoder;                                                                               // (B, S, D)
    observe("encoder", 0, encoded.data, encoded.size);
    const double scale = d2v_loss * loss_scale;
    device::gather_rows<D>(d, count, encoded.data, index.outputs.data, m.hidden.data);             // (count, D)
    Head::forward(d, student.branch.head, count, m.hidden.data, m.prediction.data, m.head);
    const auto size = static_cast<std::size_t>(count) * D;
    observe("prediction", 0, m.prediction.data, size);
    const double sum = device::regression_loss<D>(d, count, m.prediction.data, w.targets.data, index.hidden.data,
                                                  loss_beta, scale / sample_size, m.dprediction.data);
    device::channel_moments<D>(d, count, m.prediction.data, index.predictions.data, moments, moments + D);
    device::channel_moments<D>(d, count, w.targets.data, index.hidden.data, moments + 2 * D, moments + 3 * D);

    Head::backward(d, student.branch.head, count, m.hidden.data, m.dprediction.data, m.dhidden.data,
                   gradient.branch.head, m.head);
    device::fill(d, m.dencoded.size, 0, m.dencoded.data);
    device::scatter_add_rows<D>(d, count, m.dhidden.data, index.outputs.data, m.dencoded.data);
    Enc::backward(pass, front, student.blocks, student.norm, index.rows, m.dencoded, w.dlocal, gradient.branch.front,
                  gradient.blocks, gradient.norm, m.encoder);
    learn_local(pass, student, gradient, samples, w, index, lengths);
    return {scale * sum, static_cast<double>(count)};
  }

  /// Targets of all positions, (B, T, D).
  template <class Dev, class T, int B, class Observer>
  static void teach(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>& teacher,
                    Samples<T, B> samples, const Workspace<T, B>& w, const Indices<B>& index, const int* lengths,
                    Observer&& observe) {
    auto& d = pass.device;
    using Layers = Targets<C, B, T_, E, exact_targets>;
    const auto m = w.passes.template as<TeacherMemory<T, B>>();
    const Pass<Dev, false> evaluate{d};
    auto front = teacher.branch.front;
    if constexpr (teacher_has_local) {
      if constexpr (text) samples = index.original;
      Enc::tokens(d, front.local_encoder, samples, w.teacher_local, m.local, lengths);
    } else {
      if constexpr (vision) front.extra_tokens = student.branch.front.extra_tokens;
      device::copy(d, w.local.size, w.local.data, w.teacher_local.data);
    }
    if constexpr (padded)
      device::gather_rows<D>(d, B * T_, w.teacher_local.data, index.taught.data, w.teacher_local.data);
    Layers::start(d, w.targets);
    const auto out = Enc::forward(evaluate, evaluate, front, teacher.blocks, teacher.norm,
                                  View<const T, B, T_, D>(w.teacher_local), index.teacher, m.encoder,
                                  [&](int layer, const auto& mlp, const auto& y) {
                                    const auto& result = C.end_of_block_targets ? y : mlp;
                                    observe("teacher_layer", layer, result.data, result.size);
                                    if (layer == C.depth - 1) observe("teacher_encoder", 0, y.data, y.size);
                                    if (Layers::takes(layer))
                                      Layers::add(d, result, w.layer, w.targets, padded ? index.valid.data : nullptr);
                                  });
    static_cast<void>(out);
    Layers::finish(d, w.targets, padded ? index.valid.data : nullptr);
    observe("targets", 0, w.targets.data, w.targets.size);
  }

  /// The end of the backward: mask tokens take the gradient of the places where they stood, the local encoder the rest.
  template <class P, class T, int B>
  static void learn_local(const P& pass, const Weights<const T>& student, const Weights<T>& gradient,
                          Samples<T, B> samples, const Workspace<T, B>& w, const Indices<B>& index,
                          [[maybe_unused]] const int* lengths) {
    auto& d = pass.device;
    if constexpr (!text)
      device::scatter_add_rows<D>(d, B * T_, w.dlocal.data, index.mask_tokens.data, gradient.branch.mask.token.data);
    if constexpr (!text || padded) device::gather_rows<D>(d, B * T_, w.dlocal.data, index.kept.data, w.dlocal.data);
    drop_tokens<M, B>(pass, w.dlocal);
    const View<const T, B, T_, D> dlocal = w.dlocal;
    const auto& local = student.branch.front.local_encoder;
    if constexpr (detail::reads_lengths<typename Enc::Local>)
      Enc::Local::backward(d, local, samples, dlocal, gradient.branch.front.local_encoder, w.local_tape, lengths);
    else Enc::Local::backward(d, local, samples, dlocal, gradient.branch.front.local_encoder, w.local_tape);
  }
};

}  // namespace data2vec::inline v0
