// SPDX-License-Identifier: MIT
// An encoder with a head for one answer per sample: the reference's fine-tuning of images, sentences and pairs of
// sentences. The decoder and the teacher are gone, the whole sample is seen, nothing is masked.
#pragma once

#include <cmath>

#include <data2vec/device/classify.hpp>
#include <data2vec/finetune/head.hpp>
#include <data2vec/model/encoder.hpp>

namespace data2vec::inline v0 {

struct ClassifierConfig {
  int num_classes = 1000;
  Pooling prediction_mode = Pooling::mean_pooling;
  bool use_fc_norm = true;   ///< a norm (epsilon 1e-6) between pooling and head
  bool drop_path = false;    ///< stochastic depth exists; its rates come with the pass
  HeadKind head = HeadKind::linear;
  bool regression = false;   ///< one number, with the squared error; num_classes is 1

  /// The reference's head for tasks on sentences and pairs of sentences: what the text's first token has become.
  static constexpr ClassifierConfig sentence(int num_classes) {
    return {.num_classes = num_classes, .prediction_mode = Pooling::cls_token, .use_fc_norm = false,
            .head = HeadKind::sentence};
  }
  static constexpr ClassifierConfig sentence_regression() {
    ClassifierConfig c = sentence(1);
    c.regression = true;
    return c;
  }
};

/// What stands before the encoder's names in a fine-tuned model: "model", as data2vec 2.0 has it, or what the model says.
template <class Model>
inline constexpr const char* encoder_prefix = [] {
  if constexpr (requires { Model::encoder_prefix; }) return Model::encoder_prefix;
  else return "model";
}();

namespace detail {
/// The encoder's configuration in fine-tuning, where a system has another one.
template <class Model>
constexpr Config fine_tuning_config(const ClassifierConfig& head) {
  if constexpr (requires { Model::fine_tuning(true); })
    return Model::fine_tuning(head.use_fc_norm && head.prediction_mode == Pooling::mean_pooling);
  else return Model::config;
}
}  // namespace detail

template <class Model, ClassifierConfig H>
struct Classifier {
  static constexpr ClassifierConfig head_config = H;
  static constexpr Config config = detail::fine_tuning_config<Model>(H);
  using M = typename Model::First::M;
  using Enc = Encoder<config, M, H.drop_path>;
  static constexpr int D = Enc::D, E = Enc::E, T_ = Enc::T_, S = E + T_, classes = H.num_classes;
  static constexpr int first_token =
      H.prediction_mode == Pooling::cls_token ? 0 : E;  // pooling leaves extra tokens out
  static constexpr bool regression = H.regression, padded = Enc::padded, has_cls_token = requires { M::vocab_size; };
  static_assert(regression || check::AtLeast<classes, 2>, "data2vec: ClassifierConfig::num_classes must be at least 2");
  static_assert(!regression || check::Equal<classes, 1>,
                "data2vec: ClassifierConfig::regression needs ClassifierConfig::num_classes of 1");
  static_assert(H.prediction_mode != Pooling::cls_token || has_cls_token || check::AtLeast<E, 1>,
                "data2vec: Pooling::cls_token needs ModalityConfig::num_extra_tokens of at least 1");
  using Head = data2vec::Head<H.head, D, classes>;
  using FcNorm = LayerNorm<D, true>;

  template <class T>
  using EncoderParameters = typename Model::template EncoderParameters<Enc, T>;
  template <class T, int B>
  using Samples = View<const SampleOf<M, T>, B, M::sample_size>;

  /// Under the reference's names: the model's prefix and the encoder's, "fc_norm", "head" (or the other head's name).
  template <class T>
  struct Parameters {
    EncoderParameters<T> model;
    std::conditional_t<H.use_fc_norm, typename FcNorm::template Parameters<T>, Nothing> fc_norm;
    typename Head::template Parameters<T> head;
    static constexpr void visit(auto&& f, auto&... p) {
      f(encoder_prefix<Model>, p.model...);
      f("fc_norm", p.fc_norm...);
      f(Head::name, p.head...);
    }
  };

  template <class T, int B, bool training = true>
  struct Workspace {
    View<T, B, T_, D> local, dlocal;
    typename Enc::Local::template Tape<T, B> local_tape;
    typename Enc::template Memory<T, B, 1, T_, training> encoder;
    View<T, B, D> pooled, normed, dpooled;
    View<T, B, kept_numbers<T>(2)> stats;
    View<T, B, classes> logits, dlogits;
    typename Head::template Tape<T, B> head;
    View<T, training ? B : 1, training ? S : 1, training ? D : 1> dencoded;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("dlocal", w.dlocal...);
      f("local_tape", w.local_tape...);
      f("encoder", w.encoder...);
      f("pooled", w.pooled...);
      f("normed", w.normed...);
      f("dpooled", w.dpooled...);
      f("stats", w.stats...);
      f("logits", w.logits...);
      f("dlogits", w.dlogits...);
      f("head", w.head...);
      f("dencoded", w.dencoded...);
    }
  };
  template <int B>
  using Index = typename Enc::template Index<B, T_>;

  /// What is classified: hard labels (B), or soft labels (B, classes); of a regression values (B). Rows with a negative
  /// hard label or a value that is NaN do not count.
  template <class T>
  struct Labels {
    const std::int32_t* hard = nullptr;
    const T* soft = nullptr;
    const T* values = nullptr;
    double smoothing = 0;  ///< of hard labels, in training
  };

  /// Samples (B, sample_size) -> logits (B, classes) in the workspace. Returns the encoder's output (B, E + T, D).
  /// `lengths` (B), with padding: elements of each sample that are none; null: all.
  template <class P, class T, int B, bool training>
  static View<const T, B, S, D> forward(const P& pass, const Parameters<const T>& p,
                                        Samples<T, B> samples, const Workspace<T, B, training>& w,
                                        const Index<B>& index, const int* lengths = nullptr) {
    auto& d = pass.device;
    int valid[B];
    for (int b = 0; b < B; ++b) valid[b] = lengths ? Enc::valid_tokens(lengths[b]) : T_;
    Enc::Rows::index_all(index, padded ? valid : nullptr);
    Enc::tokens(d, p.model.front().local_encoder, samples, w.local, w.local_tape, lengths);
    drop_tokens<M, B>(pass, w.local);
    const auto out = Enc::forward(pass, pass, p.model.front(), p.model.blocks, p.model.norm,
                                  View<const T, B, T_, D>(w.local), index, w.encoder, [](auto&&...) {});
    each_row<B>(valid, [&](int row, int rows, int tokens) {
      device::pool<H.prediction_mode, D>(d, rows, tokens, first_token, out.encoder[row].data, w.pooled[row].data);
    });                                                                                                 // (B, D)
    if constexpr (H.use_fc_norm)
      FcNorm::forward(d, p.fc_norm, B, 1e-6, w.pooled.data, w.normed.data, w.stats.data);
    Head::forward(d, p.head, head_input(w), w.logits.data, w.head);                                     // (B, classes)
    return out.encoder;
  }

  /// Forward, loss and the backward pass of fc_norm and head alone: with a frozen encoder. Their gradients, of the
  /// summed loss divided by `sample_size` (the batch), are accumulated; w.dpooled is the pooled vectors' (B, D).
  /// `losses`, unless null, receives the loss of each row (soft labels: of each row and class).
  template <class Dev, class T, int B>
  static ClassificationSums head_step(const Pass<Dev, true>& pass, const Parameters<const T>& p,
                                      const Parameters<T>& gradient, Samples<T, B> samples,
                                      const Labels<T>& labels, double sample_size, const Workspace<T, B>& w,
                                      const Index<B>& index, T* losses = nullptr, const int* lengths = nullptr) {
    forward(pass, p, samples, w, index, lengths);
    return head_backward(pass.device, p, gradient, labels, sample_size, w, losses);
  }

  /// Forward, loss and backward. Gradients and `losses` as for head_step.
  template <class Dev, class T, int B>
  static ClassificationSums step(const Pass<Dev, true>& pass, const Parameters<const T>& p,
                                 const Parameters<T>& gradient, Samples<T, B> samples,
                                 const Labels<T>& labels, double sample_size, const Workspace<T, B>& w,
                                 const Index<B>& index, T* losses = nullptr, const int* lengths = nullptr) {
    auto& d = pass.device;
    const auto encoded = forward(pass, p, samples, w, index, lengths);
    const ClassificationSums sums = head_backward(d, p, gradient, labels, sample_size, w, losses);
    int valid[B];
    for (int b = 0; b < B; ++b) valid[b] = lengths ? Enc::valid_tokens(lengths[b]) : T_;
    if constexpr (padded) device::fill(d, w.dencoded.size, 0, w.dencoded.data);
    each_row<B>(valid, [&](int row, int rows, int tokens) {
      device::pool_backward<H.prediction_mode, D>(d, rows, tokens, first_token, w.dpooled[row].data, encoded[row].data,
                                                  w.dencoded[row].data);
    });
    const auto front = gradient.model.front();
    Enc::backward(pass, p.model.front(), p.model.blocks, p.model.norm, index, w.dencoded, w.dlocal,
                  front, gradient.model.blocks, gradient.model.norm, w.encoder);
    drop_tokens<M, B>(pass, w.dlocal);
    const View<const T, B, T_, D> dlocal = w.dlocal;
    const auto local = p.model.front().local_encoder;
    if constexpr (detail::reads_lengths<typename Enc::Local>)
      Enc::Local::backward(d, local, samples, dlocal, front.local_encoder, w.local_tape, lengths);
    else Enc::Local::backward(d, local, samples, dlocal, front.local_encoder, w.local_tape);
    return sums;
  }

  /// The loss of logits (rows, classes); `dlogits`, unless null, receives weight * its derivative.
  template <class Dev, class T>
  static ClassificationSums loss(Dev& d, int rows, const T* logits, const Labels<T>& labels, double weight, T* losses,
                                 T* dlogits) {
    if constexpr (regression)
      return {.loss = device::squared_error(d, rows, logits, labels.values, weight, losses, dlogits)};
    else
      return labels.soft ? device::soft_cross_entropy<classes>(d, rows, logits, labels.soft, weight, losses, dlogits)
                         : device::cross_entropy<classes>(d, rows, logits, labels.hard, labels.smoothing, weight, losses,
                                                          dlogits);
  }

 private:
  template <class Dev, class T, int B>
  static ClassificationSums head_backward(Dev& d, const Parameters<const T>& p, const Parameters<T>& gradient,
                                          const Labels<T>& labels, double sample_size, const Workspace<T, B>& w,
                                          T* losses) {
    const ClassificationSums sums = loss(d, B, w.logits.data, labels, 1 / sample_size, losses, w.dlogits.data);
    const T* const input = head_input(w);
    Head::backward(d, p.head, input, w.dlogits.data, w.dpooled.data, gradient.head, w.head);
    if constexpr (H.use_fc_norm)
      FcNorm::backward(d, p.fc_norm, B, w.pooled.data, w.stats.data, w.dpooled.data, w.dpooled.data, gradient.fc_norm);
    return sums;
  }

  /// f(row, rows, tokens in front of the padding): all rows at once, unless samples may be shorter.
  template <int B, class F>
  static void each_row(const int* valid, F&& f) {
    if constexpr (!padded) return f(0, B, S);
    else
      for (int b = 0; b < B; ++b) f(b, 1, E + valid[b]);
  }

  template <class W>
  static auto head_input(const W& w) {
    return H.use_fc_norm ? w.normed.data : w.pooled.data;
  }
};

/// Layer-wise learning-rate decay (Clark et al., 2020): with nb blocks, prenet first, block i (0-based) learns with
/// decay^(nb - i); what a system counts as embeddings with decay^(nb + 1); everything else, in data2vec 2.0 also the
/// patch embedding, with factor 1 as the reference has it.
template <class Model>
double layer_lr_scale(std::string_view name, double decay) {
  using Enc = typename Model::First::Enc;
  constexpr int blocks = Enc::prenet_depth + Model::config.depth;
  const auto index_after = [&](std::string_view part) {
    const std::size_t at = name.find(part);
    if (at == std::string_view::npos) return -1;
    int index = 0;
    for (std::size_t i = at + part.size(); i < name.size() && name[i] >= '0' && name[i] <= '9'; ++i)
      index = 10 * index + (name[i] - '0');
    return index;
  };
  if constexpr (requires { Model::is_embedding(name); }) {
    const std::string_view prefix = "model.";
    if (Model::is_embedding(name.starts_with(prefix) ? name.substr(prefix.size()) : name))
      return std::pow(decay, blocks + 1);
  }
  if (const int i = index_after("context_encoder.blocks."); i >= 0) return std::pow(decay, blocks - i);
  if (name.find("decoder.") != std::string_view::npos) return 1;
  for (const char* const part : {"blocks.", ".layers."})
    if (const int i = index_after(part); i >= 0) return std::pow(decay, blocks - Enc::prenet_depth - i);
  return 1;
}

/// Stochastic depth for fine-tuning: rates r = linspace(0, rate, depth) over the shared blocks' depth; the prenet goes
/// from r[0] to r[P - 1], the shared blocks from r[P] to r[depth - 1], each spread over its own blocks.
template <class Model>
DropoutRates with_drop_path(DropoutRates rates, double rate) {
  constexpr int depth = Model::config.depth, prenet = Model::First::Enc::prenet_depth;
  const auto r = [&](int i) { return spread_rate(0, rate, i, depth); };
  rates.prenet_start_drop_path_rate = r(0);
  rates.prenet_end_drop_path_rate = prenet > 0 ? r(prenet - 1) : 0;
  rates.start_drop_path_rate = r(prenet);
  rates.end_drop_path_rate = rate;
  return rates;
}

}  // namespace data2vec::inline v0
