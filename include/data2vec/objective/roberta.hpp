// SPDX-License-Identifier: MIT
// RoBERTa (Liu et al., "RoBERTa: A robustly optimized BERT pretraining approach", 2019) as a type: the encoder reads
// corrupted tokens, and a head over the vocabulary says what they were. There is no teacher.
//
//   struct Mine : MaskedLanguageModel<roberta_base, Text<roberta_tokens>, TokenMask<512, TokenMaskConfig{}>> {};
#pragma once

#include <cmath>
#include <cstdint>

#include <data2vec/decoder/lm_head.hpp>
#include <data2vec/masking/bert.hpp>
#include <data2vec/model/encoder.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/objective/counts.hpp>
#include <data2vec/objective/step_options.hpp>

namespace data2vec::inline v0 {

/// Sums over predicted positions.
struct MaskedLanguageSums {
  double loss = 0;         ///< cross entropies
  double correct = 0;      ///< positions whose most likely token is the right one
  double sample_size = 0;  ///< positions

  MaskedLanguageSums& operator+=(const MaskedLanguageSums& other) {
    loss += other.loss;
    correct += other.correct;
    sample_size += other.sample_size;
    return *this;
  }
  double total() const { return loss; }

  /// Writes the means into a report (training/step_report.hpp).
  void report(auto& to) const {
    to.loss = loss / sample_size;
    to.add_term("accuracy", correct / sample_size);
    to.add_term("perplexity", std::exp(loss / sample_size));
  }
};

/// The step of a masked language model over a modality of tokens, M = Text<...>. `tied`: the output layer's weights are
/// the embedding.
template <Config C, class ModalityType, class MaskingType, bool tied>
struct MaskedLanguageStep {
  using M = ModalityType;
  using Masking = MaskingType;
  using Enc = Encoder<C, M>;
  static constexpr int D = C.embed_dim, E = Enc::E, T_ = Enc::T_, V = T_, masks = 1, vocab = M::vocab_size;
  static constexpr std::int32_t mask_token = vocab - 1;  ///< <mask> is the last token, as in fairseq's dictionaries
  static constexpr int most = Masking::most;  ///< predicted positions of a sample, at most
  static constexpr bool padded = Enc::padded, exact = Enc::exact;
  static_assert(E == 0 && Enc::prenet_depth == 0 && !M::config.use_alibi_encoder,
                "data2vec: a masked language model has no extra tokens, prenet or ALiBi");
  static_assert(M::config.padding != Padding::reference,
                "data2vec: a masked language model needs Padding::exact, or Padding::none for texts that are full");
  using Head = LanguageModelHead<D, vocab, tied>;
  using Sums = MaskedLanguageSums;
  static constexpr int moment_rows = 0, moment_width = 1, positions_per_sample = most;
  static constexpr bool positions_vary = true, accumulates = true;
  static constexpr int loss_terms = 2;            ///< that a step leaves on a GPU: losses, right ones
  static constexpr bool exact_on_device = true;  ///< Padding::exact needs no work of the host between kernels

  template <class T, int B>
  using Samples = View<const std::int32_t, B, T_>;

  template <class T>
  struct Parameters {
    typename Enc::template FrontEnd<T> front;
    typename Head::template Parameters<T> head;
  };
  /// Everything a step reads or, as gradients, writes.
  template <class T>
  struct Weights {
    Parameters<T> branch;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
  };

  /// All values of a chunk of B samples.
  template <class T, int B, int = masks>
  struct Workspace {
    static constexpr int R = B * most;
    View<T, B, T_, D> local, dlocal, dencoded;
    typename Enc::Local::template Tape<T, B> local_tape;
    typename Enc::template Memory<T, B, 1, T_, true> encoder;
    View<T, R, D> hidden, dhidden;
    typename Head::template Tape<T, R> head;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("dlocal", w.dlocal...);
      f("dencoded", w.dencoded...);
      f("local_tape", w.local_tape...);
      f("encoder", w.encoder...);
      f("hidden", w.hidden...);
      f("dhidden", w.dhidden...);
      f("head", w.head...);
    }
  };

  /// What the encoder sees and what is predicted where.
  template <int B, int = masks>
  struct Indices {
    typename Enc::template Index<B, T_> encoder;
    View<std::int32_t, B, T_> seen;
    View<int, B * most> rows;             // of (B, T): the predicted positions of all samples, one behind the other
    View<std::int32_t, B * most> labels;  // their tokens
    static constexpr void visit(auto&& f, auto&... i) {
      f("encoder", i.encoder...);
      f("seen", i.seen...);
      f("rows", i.rows...);
      f("labels", i.labels...);
    }

    /// Which tokens of samples of these lengths (B) are no padding; null: all.
    void index_tokens(const int* lengths) const { Enc::Rows::index_all(encoder, lengths); }

    /// Draws the masks of the samples of `draws`; returns the number of predicted positions.
    int draw(const Draws& draws, Samples<int, B> samples, const int* lengths, const TokenIds& ids) const {
      int count = 0;
      for (int b = 0; b < B; ++b) {
        Rng rng(draws.at(Site::masks, 0, 0).key(b));
        TokenAction actions[T_];
        int positions[most];
        const int valid = lengths ? lengths[b] : T_;
        const int predicted = Masking::sample(rng, valid, ids, samples[b].data, actions, seen[b].data, positions);
        for (int i = 0; i < predicted; ++i, ++count) {
          rows[count] = b * T_ + positions[i];
          labels[count] = samples[b][positions[i]];
        }
      }
      return count;
    }
  };

  static BranchOptions options() { return {.rates = encoder_rates<C, M>(), .loss = {}, .mask_noise_std = 0}; }

  /// Forward and backward of a chunk on what `index` says is seen and predicted (`count` positions). Gradients of the
  /// summed loss divided by `sample_size` are accumulated. `lengths` (B): tokens of each sample that are no padding;
  /// null: all.
  template <class Dev, class T, int B, class Observer = NoObserver>
  static Sums step(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<T>& gradient, int count,
                   double sample_size, const Workspace<T, B>& w, const Indices<B>& index, const int* lengths,
                   Observer&& observe = {}) {
    index.index_tokens(lengths);
    return learn(pass, p, gradient, count, sample_size, w, index, lengths, observe);
  }

  /// The same on masks drawn from the policy.
  template <class Dev, class T, int B, int G>
  static Sums step_by_masks(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<const T>&,
                            const Weights<T>& gradient, Samples<T, B> samples, Samples<T, B>,
                            const BranchOptions& options, double sample_size, const Workspace<T, B, G>& w,
                            const Indices<B, G>& index, double*, const int* lengths = nullptr) {
    const int count = index.draw(pass.draws, samples, lengths, token_ids(options));
    return step(pass, p, gradient, count, sample_size, w, index, padded ? lengths : nullptr);
  }

  /// What a GPU's trainer does on the host before a step: masks and indices. Positions that are not predicted have rows
  /// and labels of -1. Returns how many are.
  template <int B>
  static int draw(const Draws& draws, Samples<float, B> samples, const int* lengths, const BranchOptions& options,
                  const Indices<B>& index) {
    const int count = index.draw(draws, samples, lengths, token_ids(options));
    for (int i = count; i < B * most; ++i) index.rows[i] = index.labels[i] = -1;
    index.index_tokens(padded ? lengths : nullptr);
    return count;
  }
  /// The step on it, of as many positions as there may be; the sums come when it has run.
  template <class Dev, class T, int B>
  static void step_drawn(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<const T>&,
                         const Weights<T>& gradient, Samples<T, B>, Samples<T, B>, const BranchOptions&,
                         double sample_size, const Workspace<T, B>& w, const Indices<B>& index, double*) {
    learn(pass, p, gradient, B * most, sample_size, w, index, nullptr, NoObserver{});
  }
  static Sums sums_of(const double* terms, const BranchOptions&, double sample_size) {
    return {terms[0], terms[1], sample_size};
  }

 private:
  static TokenIds token_ids(const BranchOptions& options) {
    return {.mask = mask_token, .vocab_size = vocab,
            .begins_word = options.begins_word.empty() ? nullptr : options.begins_word.data()};
  }

  /// `step` on an index that is complete.
  template <class Dev, class T, int B, class Observer>
  static Sums learn(const Pass<Dev, true>& pass, const Weights<const T>& p, const Weights<T>& gradient, int count,
                    double sample_size, const Workspace<T, B>& w, const Indices<B>& index, const int* lengths,
                    Observer&& observe) {
    auto& d = pass.device;
    const auto& local = p.branch.front.local_encoder;
    const auto& dlocal = gradient.branch.front.local_encoder;
    const T* const table = local.embed_tokens.weight.data;
    const Samples<T, B> seen = index.seen;
    Enc::tokens(d, local, seen, w.local, w.local_tape, lengths);
    observe("embedding", 0, w.local.data, w.local.size);
    drop_tokens<M, B>(pass, w.local);
    const auto encoded = Enc::forward(
        pass, pass, p.branch.front, p.blocks, p.norm, View<const T, B, T_, D>(w.local), index.encoder, w.encoder,
        [&](int i, const auto&, const auto& output) { observe("layer", i, output.data, output.size); });
    observe("encoder", 0, encoded.encoder.data, encoded.encoder.size);
    device::gather_rows<D>(d, count, encoded.encoder.data, index.rows.data, w.hidden.data);        // (count, D)
    Head::forward(d, p.branch.head, table, count, w.hidden.data, w.head);
    observe("logits", 0, w.head.logits.data, static_cast<std::size_t>(count) * vocab);
    const ClassificationSums sums = Head::loss(d, count, index.labels.data, 1 / sample_size, w.head);

    Head::backward(d, p.branch.head, table, count, w.hidden.data, w.dhidden.data, gradient.branch.head,
                   dlocal.embed_tokens.weight.data, w.head);
    device::fill(d, w.dencoded.size, 0, w.dencoded.data);
    device::scatter_add_rows<D>(d, count, w.dhidden.data, index.rows.data, w.dencoded.data);       // (B, T, D)
    Enc::backward(pass, p.branch.front, p.blocks, p.norm, index.encoder, w.dencoded, w.dlocal, gradient.branch.front,
                  gradient.blocks, gradient.norm, w.encoder);
    drop_tokens<M, B>(pass, w.dlocal);
    Enc::Local::backward(d, local, seen, View<const T, B, T_, D>(w.dlocal), dlocal, w.local_tape);
    return {sums.loss, sums.correct, static_cast<double>(count)};
  }
};

/// A masked language model. Name it (`struct Mine : MaskedLanguageModel<...> {}`): messages and symbols then say `Mine`.
template <Config C, class ModalityType, class MaskingType, bool tied = true>
struct MaskedLanguageModel {
  static_assert(check::HeadsDivideEmbedDim<C.num_heads, C.embed_dim>,
                "data2vec: Config::num_heads must divide Config::embed_dim");
  static_assert(check::Equal<MaskingType::tokens, ModalityType::tokens>,
                "data2vec: the masking policy must be over as many tokens as the modality has");
  static constexpr const char *system = "roberta", *encoder_prefix = "";
  static constexpr Config config = C;
  static constexpr bool has_teacher = false;
  static constexpr int branches = 1;
  using First = MaskedLanguageStep<C, ModalityType, MaskingType, tied>;
  template <int i>
  using BranchAt = MaskedLanguageStep<C, ModalityType, MaskingType, tied>;  // not by First's name: nvcc mixes them up

  static constexpr void describe(auto&& f) {
    f("model", config);
    f("modality", ModalityType::text);
    f("masks", MaskingType::config);
  }

  /// The encoder alone, under the reference's names.
  template <class Enc, class T>
  struct EncoderParameters {
    typename Enc::template FrontEnd<T> front_end;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    const typename Enc::template FrontEnd<T>& front() const { return front_end; }
    static constexpr void visit(auto&& f, auto&... p) {
      f("encoder.sentence_encoder", p.front_end.local_encoder...);
      f("encoder.sentence_encoder.layers", p.blocks...);
      f("encoder.sentence_encoder.layer_norm", p.norm...);
    }
  };
  /// All parameters.
  template <class T>
  struct Parameters {
    EncoderParameters<typename First::Enc, T> encoder;
    typename First::Head::template Parameters<T> lm_head;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.encoder...);
      f("encoder.lm_head", p.lm_head...);
    }
  };
  template <int, class T>
  static typename First::template Weights<T> weights(const Parameters<T>& p) {
    return {{p.encoder.front_end, p.lm_head}, p.encoder.blocks, p.encoder.norm};
  }

  static constexpr bool in_decoder(std::string_view name) { return name.starts_with("encoder.lm_head."); }
  /// What files of the reference hold besides: a version, and the heads of fine-tuned models.
  static constexpr bool passes_over(std::string_view name) {
    return name == "encoder.sentence_encoder.version" || name.starts_with("classification_heads.");
  }
  static constexpr bool in_teacher(std::string_view) { return false; }
  static constexpr int branch_of(std::string_view) { return -1; }
  static constexpr bool receives_gradient(std::string_view, int = 0) { return true; }

  static constexpr std::size_t parameter_count = element_count<Parameters<float>>;
  static constexpr std::size_t encoder_parameter_count =
      detail::elements_where<Parameters<float>>([](std::string_view name) { return !in_decoder(name); });
  static constexpr std::size_t teacher_parameter_count = 0;

  /// Floating-point operations of one training step per sample.
  template <int = 0>
  static constexpr StepFlops step_flops{.student = 3 * First::Enc::flops(First::T_),
                                        .decoder = 3 * First::most * First::Head::flops_per_row};
  template <int = 0>
  static constexpr double flops_per_sample = step_flops<0>.total();
  template <int B, int G = 1, int = 0>
  static constexpr std::size_t workspace_size = buffer_size<typename First::template Workspace<float, B>>;

  /// Random initial weights, a function of the seed alone. `buffer` holds buffer_size<Parameters<T>> elements.
  template <class T>
  static void initialise(T* buffer, std::uint64_t seed) {
    initialise_tensors<Parameters<T>>(buffer, seed, C.mae_init);
  }
};

}  // namespace data2vec::inline v0
