// SPDX-License-Identifier: MIT
// The head of masked language models (BERT, Devlin et al., 2019; fairseq's `RobertaLMHead`): a linear layer, GELU, a
// norm, and a product with the vectors of all tokens, which usually are those that the encoder's tokens came from.
#pragma once

#include <type_traits>

#include <data2vec/device/classify.hpp>
#include <data2vec/device/gelu.hpp>
#include <data2vec/layers/linear.hpp>
#include <data2vec/layers/norm.hpp>

namespace data2vec::inline v0 {

/// Vectors of width D -> logits of `vocab` tokens, of so many rows as are asked for. `tied`: the output layer's weights
/// are the embedding table, which comes with each call and gets a gradient from both sides.
template <int D, int vocab, bool tied = true>
struct LanguageModelHead {
  static constexpr double eps = 1e-5;
  using Dense = Linear<D, D>;
  using Norm = LayerNorm<D>;

  template <class T>
  struct OutputWeight {
    View<T, vocab, D> weight;
    static constexpr void visit(auto&& f, auto&... p) { f(Field{"weight", init::normal(0.02)}, p.weight...); }
  };
  template <class T>
  struct Parameters {
    std::conditional_t<tied, Nothing, OutputWeight<T>> output;
    View<T, vocab> bias;
    typename Dense::template Parameters<T> dense;
    typename Norm::template Parameters<T> layer_norm;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.output...);
      f(Field{"bias", init::zeros()}, p.bias...);
      f("dense", p.dense...);
      f("layer_norm", p.layer_norm...);
    }
  };

  /// Of up to `most` rows. The logits are overwritten by their gradient.
  template <class T, int most>
  struct Tape {
    View<T, most, D> dense, activated, normed, dnormed;
    View<T, most, kept_numbers<T>(2)> stats;
    View<T, most, vocab> logits;
    static constexpr void visit(auto&& f, auto&... t) {
      f("dense", t.dense...);
      f("activated", t.activated...);
      f("normed", t.normed...);
      f("dnormed", t.dnormed...);
      f("stats", t.stats...);
      f("logits", t.logits...);
    }
  };

  static constexpr double flops_per_row = Dense::flops_per_row + 2.0 * D * vocab;

  /// x (rows, D) -> tape.logits (rows, vocab). `table` (vocab, D) is read if the weights are tied.
  template <Device Dev, class T, int most>
  static void forward(Dev& d, const Parameters<const T>& p, [[maybe_unused]] In<T> table, int rows, In<T> x,
                      const Tape<T, most>& tape) {
    Dense::forward(d, p.dense, rows, x, tape.dense.data);
    device::gelu(d, elements(rows), tape.dense.data, tape.activated.data);
    Norm::forward(d, p.layer_norm, rows, eps, tape.activated.data, tape.normed.data, tape.stats.data);
    device::linear<D, vocab>(d, rows, tape.normed.data, weight(p, table), p.bias.data, tape.logits.data);
  }

  /// Cross entropy with `labels` (rows), summed over rows; leaves `weight` times its gradient in tape.logits.
  template <Device Dev, class T, int most>
  static ClassificationSums loss(Dev& d, int rows, const std::int32_t* labels, double weight,
                                 const Tape<T, most>& tape) {
    return device::cross_entropy<vocab>(d, rows, static_cast<const T*>(tape.logits.data), labels, 0, weight,
                                        static_cast<T*>(nullptr), tape.logits.data);
  }

  /// The gradient in tape.logits -> dx (rows, D), overwritten. Parameter gradients are accumulated, that of tied
  /// weights into `dtable` (vocab, D).
  template <Device Dev, class T, int most>
  static void backward(Dev& d, const Parameters<const T>& p, [[maybe_unused]] In<T> table, int rows, In<T> x, T* dx,
                       const Parameters<T>& gradient, [[maybe_unused]] T* dtable, const Tape<T, most>& tape) {
    T* dweight = dtable;
    if constexpr (!tied) dweight = gradient.output.weight.data;
    const T* const dlogits = tape.logits.data;
    device::linear_weight_gradient<D, vocab>(d, rows, dlogits, tape.normed.data, dweight, gradient.bias.data);
    device::linear_input_gradient<D, vocab>(d, rows, dlogits, weight(p, table), tape.dnormed.data);
    Norm::backward(d, p.layer_norm, rows, tape.activated.data, tape.stats.data, tape.dnormed.data, tape.dnormed.data,
                   gradient.layer_norm);
    device::gelu_backward(d, elements(rows), tape.dnormed.data, tape.dense.data, tape.dnormed.data);
    Dense::backward(d, p.dense, rows, x, tape.dnormed.data, dx, gradient.dense);
  }

 private:
  static constexpr std::size_t elements(int rows) { return static_cast<std::size_t>(rows) * D; }
  template <class T>
  static const T* weight([[maybe_unused]] const Parameters<const T>& p, const T* table) {
    if constexpr (tied) return table;
    else return p.output.weight.data;
  }
};

}  // namespace data2vec::inline v0
