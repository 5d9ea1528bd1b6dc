// SPDX-License-Identifier: MIT
// An encoder with a classification head: the reference's fine-tuning of images. The decoder and the teacher are gone,
// the whole sample is seen, nothing is masked.
#pragma once

#include <cmath>

#include <data2vec/device/classify.hpp>
#include <data2vec/model/encoder.hpp>

namespace data2vec::inline v0 {

struct ClassifierConfig {
  int num_classes = 1000;
  Pooling prediction_mode = Pooling::mean_pooling;
  bool use_fc_norm = true;   ///< a norm (epsilon 1e-6) between pooling and head
  bool drop_path = false;    ///< stochastic depth exists; its rates come with the pass
};

template <class Model, ClassifierConfig H>
struct Classifier {
  static constexpr ClassifierConfig head_config = H;
  static constexpr Config config = Model::config;
  using M = typename Model::First::M;
  using Enc = Encoder<config, M, H.drop_path>;
  static constexpr int D = Enc::D, E = Enc::E, T_ = Enc::T_, S = E + T_, classes = H.num_classes;
  static constexpr int first_token =
      H.prediction_mode == Pooling::cls_token ? 0 : E;  // pooling leaves extra tokens out
  static_assert(check::AtLeast<classes, 2>, "data2vec: ClassifierConfig::num_classes must be at least 2");
  static_assert(H.prediction_mode != Pooling::cls_token || check::AtLeast<E, 1>,
                "data2vec: Pooling::cls_token needs ModalityConfig::num_extra_tokens of at least 1");
  using Head = Linear<D, classes, LinearInit::truncated_normal>;
  using FcNorm = LayerNorm<D, true>;

  template <class T>
  struct Modality {
    typename Enc::template FrontEnd<T> front;
    static constexpr void visit(auto&& f, auto&... p) { f(M::name, p.front...); }
  };
  template <class T>
  struct EncoderParameters {
    Modality<T> modality_encoders;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    static constexpr void visit(auto&& f, auto&... p) {
      f("modality_encoders", p.modality_encoders...);
      f("blocks", p.blocks...);
      f("norm", p.norm...);
    }
  };
  /// Under the reference's names: "model." and the encoder's, "fc_norm", "head".
  template <class T>
  struct Parameters {
    EncoderParameters<T> model;
    std::conditional_t<H.use_fc_norm, typename FcNorm::template Parameters<T>, Nothing> fc_norm;
    typename Head::template Parameters<T> head;
    static constexpr void visit(auto&& f, auto&... p) {
      f("model", p.model...);
      f("fc_norm", p.fc_norm...);
      f("head", p.head...);
    }
  };

  template <class T, int B, bool training = true>
  struct Workspace {
    View<T, B, T_, D> local, dlocal;
    typename Enc::Local::template Tape<T, B> local_tape;
    typename Enc::template Memory<T, B, 1, T_, training> encoder;
    View<T, B, D> pooled, normed, dpooled;
    View<T, B, 2> stats;
    View<T, B, classes> logits, dlogits;
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
      f("dencoded", w.dencoded...);
    }
  };
  template <int B>
  using Index = typename Enc::template Index<B, T_>;

  /// What is classified: hard labels (B), or soft labels (B, classes). Rows with a negative hard label do not count.
  template <class T>
  struct Labels {
    const std::int32_t* hard = nullptr;
    const T* soft = nullptr;
    double smoothing = 0;  ///< of hard labels, in training
  };

  /// Samples (B, sample_size) -> logits (B, classes) in the workspace. Returns the encoder's output (B, E + T, D).
  template <class P, class T, int B, bool training>
  static View<const T, B, S, D> forward(const P& pass, const Parameters<const T>& p,
                                        View<const T, B, M::sample_size> samples, const Workspace<T, B, training>& w,
                                        const Index<B>& index) {
    auto& d = pass.device;
    Enc::index_all(index);
    Enc::Local::forward(d, p.model.modality_encoders.front.local_encoder, samples, w.local, w.local_tape);
    const auto out = Enc::forward(pass, pass, p.model.modality_encoders.front, p.model.blocks, p.model.norm,
                                  View<const T, B, T_, D>(w.local), index, w.encoder, [](auto&&...) {});
    device::pool<H.prediction_mode, D>(d, B, S, first_token, out.encoder.data, w.pooled.data);          // (B, D)
    if constexpr (H.use_fc_norm)
      FcNorm::forward(d, p.fc_norm, B, 1e-6, w.pooled.data, w.normed.data, w.stats.data);
    Head::forward(d, p.head, B, head_input(w), w.logits.data);                                          // (B, classes)
    return out.encoder;
  }

  /// Forward, loss and backward. Gradients of the summed loss divided by `sample_size` (the batch) are accumulated.
  /// `losses`, unless null, receives the loss of each row (soft labels: of each row and class).
  template <class Dev, class T, int B>
  static ClassificationSums step(const Pass<Dev, true>& pass, const Parameters<const T>& p,
                                 const Parameters<T>& gradient, View<const T, B, M::sample_size> samples,
                                 const Labels<T>& labels, double sample_size, const Workspace<T, B>& w,
                                 const Index<B>& index, T* losses = nullptr) {
    auto& d = pass.device;
    const auto encoded = forward(pass, p, samples, w, index);
    const ClassificationSums sums = loss(d, B, w.logits.data, labels, 1 / sample_size, losses, w.dlogits.data);
    Head::backward(d, p.head, B, head_input(w), w.dlogits.data, w.dpooled.data, gradient.head);
    if constexpr (H.use_fc_norm)
      FcNorm::backward(d, p.fc_norm, B, w.pooled.data, w.stats.data, w.dpooled.data, w.dpooled.data, gradient.fc_norm);
    device::pool_backward<H.prediction_mode, D>(d, B, S, first_token, w.dpooled.data, encoded.data, w.dencoded.data);
    const auto& front = gradient.model.modality_encoders.front;
    Enc::backward(pass, p.model.modality_encoders.front, p.model.blocks, p.model.norm, index, w.dencoded, w.dlocal,
                  front, gradient.model.blocks, gradient.model.norm, w.encoder);
    Enc::Local::backward(d, p.model.modality_encoders.front.local_encoder, samples, View<const T, B, T_, D>(w.dlocal),
                         front.local_encoder, w.local_tape);
    return sums;
  }

  /// The loss of logits (rows, classes); `dlogits`, unless null, receives weight * its derivative.
  template <class Dev, class T>
  static ClassificationSums loss(Dev& d, int rows, const T* logits, const Labels<T>& labels, double weight, T* losses,
                                 T* dlogits) {
    return labels.soft ? device::soft_cross_entropy<classes>(d, rows, logits, labels.soft, weight, losses, dlogits)
                       : device::cross_entropy<classes>(d, rows, logits, labels.hard, labels.smoothing, weight, losses,
                                                        dlogits);
  }

 private:
  template <class W>
  static auto head_input(const W& w) {
    return H.use_fc_norm ? w.normed.data : w.pooled.data;
  }
};

/// Layer-wise learning-rate decay (Clark et al., 2020): with nb blocks, prenet first, block i (0-based) learns with
/// decay^(nb - i); everything else, also the patch embedding, with factor 1 as the reference has it.
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
  if (const int i = index_after("context_encoder.blocks."); i >= 0) return std::pow(decay, blocks - i);
  if (name.find("decoder.") != std::string_view::npos) return 1;
  if (const int i = index_after("blocks."); i >= 0) return std::pow(decay, blocks - Enc::prenet_depth - i);
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
