// SPDX-License-Identifier: MIT
// What turns one vector per sample into logits: a linear layer, or the head of RoBERTa for sentences (Liu et al., 2019;
// fairseq's `RobertaClassificationHead`).
#pragma once

#include <data2vec/device/classify.hpp>
#include <data2vec/layers/linear.hpp>

namespace data2vec::inline v0 {

enum class HeadKind {
  linear,    ///< one linear layer
  sentence,  ///< a linear layer of the model's width, tanh, a linear layer
};

/// x (rows, D) -> logits (rows, classes).
template <HeadKind kind, int D, int classes>
struct Head {
  static constexpr const char* name = "head";
  using Layer = Linear<D, classes, LinearInit::truncated_normal>;
  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  template <class T, int rows>
  struct Tape : Nothing {};

  template <Device Dev, class T, int rows>
  static void forward(Dev& d, const Parameters<const T>& p, const T* x, T* logits, const Tape<T, rows>&) {
    Layer::forward(d, p, rows, x, logits);
  }
  /// dx (rows, D) is overwritten, parameter gradients are accumulated.
  template <Device Dev, class T, int rows>
  static void backward(Dev& d, const Parameters<const T>& p, const T* x, const T* dlogits, T* dx,
                       const Parameters<T>& gradient, const Tape<T, rows>&) {
    Layer::backward(d, p, rows, x, dlogits, dx, gradient);
  }
};

template <int D, int classes>
struct Head<HeadKind::sentence, D, classes> {
  static constexpr const char* name = "classification_heads.sentence_classification_head";
  using Dense = Linear<D, D, LinearInit::fan_in>;
  using Output = Linear<D, classes, LinearInit::fan_in>;
  template <class T>
  struct Parameters {
    typename Dense::template Parameters<T> dense;
    typename Output::template Parameters<T> out_proj;
    static constexpr void visit(auto&& f, auto&... p) {
      f("dense", p.dense...);
      f("out_proj", p.out_proj...);
    }
  };
  template <class T, int rows>
  struct Tape {
    View<T, rows, D> hidden, dhidden;
    static constexpr void visit(auto&& f, auto&... t) {
      f("hidden", t.hidden...);
      f("dhidden", t.dhidden...);
    }
  };

  template <Device Dev, class T, int rows>
  static void forward(Dev& d, const Parameters<const T>& p, const T* x, T* logits, const Tape<T, rows>& tape) {
    Dense::forward(d, p.dense, rows, x, tape.hidden.data);
    device::tanh(d, tape.hidden.size, tape.hidden.data, tape.hidden.data);                         // (rows, D)
    Output::forward(d, p.out_proj, rows, tape.hidden.data, logits);
  }
  template <Device Dev, class T, int rows>
  static void backward(Dev& d, const Parameters<const T>& p, const T* x, const T* dlogits, T* dx,
                       const Parameters<T>& gradient, const Tape<T, rows>& tape) {
    Output::backward(d, p.out_proj, rows, tape.hidden.data, dlogits, tape.dhidden.data, gradient.out_proj);
    device::tanh_backward(d, tape.hidden.size, tape.dhidden.data, tape.hidden.data, tape.dhidden.data);
    Dense::backward(d, p.dense, rows, x, tape.dhidden.data, dx, gradient.dense);
  }
};

}  // namespace data2vec::inline v0
