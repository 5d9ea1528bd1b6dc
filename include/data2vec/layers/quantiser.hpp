// SPDX-License-Identifier: MIT
// The product quantiser of wav2vec 2.0 (Baevski et al., 2020, section 2): a linear layer scores the entries of each
// group, the best ones side by side are the quantised vector.
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/linear.hpp>
#include <data2vec/device/quantise.hpp>

namespace data2vec::inline v0 {

/// Vectors of `inputs` numbers -> vectors of S.dim().
template <int inputs, CodebookShape S>
struct ProductQuantiser {
  static constexpr CodebookShape shape = S;
  static constexpr int codes = S.codes(), dim = S.dim();

  template <class T>
  struct Scores {
    View<T, codes, inputs> weight;
    View<T, codes> bias;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"weight", init::normal(1)}, p.weight...);
      f(Field{"bias", init::zeros()}, p.bias...);
    }
  };
  /// The entries start uniform in [0, 1): whoever makes the model fills them.
  template <class T>
  struct Parameters {
    View<T, 1, codes, S.width> vars;
    Scores<T> weight_proj;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"vars", init::fixed()}, p.vars...);
      f("weight_proj", p.weight_proj...);
    }
  };

  /// Of up to `most` rows.
  template <class T, int most>
  struct Tape {
    View<T, most, codes> logits, soft, dlogits;
    View<T, codes, static_cast<int>(sizeof(double) / sizeof(T))> usage_memory;
    double* usage() const { return reinterpret_cast<double*>(usage_memory.data); }  // (G, V): mean use of the entries
    static constexpr void visit(auto&& f, auto&... t) {
      f("logits", t.logits...);
      f("soft", t.soft...);
      f("dlogits", t.dlogits...);
      f("usage", t.usage_memory...);
    }
  };

  static constexpr double flops_per_row = 2.0 * inputs * codes;

  /// x (rows, inputs) -> codes (rows, G) and q (rows, dim). `noise` (rows, G, V) may be null; `temperature` lies in
  /// memory of the device.
  template <Device Dev, class T, int most>
  static void forward(Dev& d, const Parameters<const T>& p, int rows, In<T> x, In<T> noise,
                      const double* temperature, int* chosen, T* q, const Tape<T, most>& tape) {
    device::linear<inputs, codes>(d, rows, x, p.weight_proj.weight.data, p.weight_proj.bias.data, tape.logits.data);
    device::choose_codes<S>(d, rows, static_cast<const T*>(tape.logits.data), noise, temperature, tape.soft.data,
                            chosen);
    device::look_up_codes<S>(d, rows, chosen, p.vars.data, q);                                    // (rows, dim)
  }

  /// How evenly the entries are used; the tape keeps what backward needs for its derivative.
  template <Device Dev, class T, int most>
  static CodebookPerplexities perplexities(Dev& d, int rows, const Tape<T, most>& tape) {
    return device::perplexities<S>(d, rows, static_cast<const T*>(tape.logits.data), tape.usage());
  }

  /// dq (rows, dim) and `weight` times the derivative of the perplexity of the softmax -> dx (rows, inputs),
  /// overwritten; parameter gradients are accumulated.
  template <Device Dev, class T, int most>
  static void backward(Dev& d, const Parameters<const T>& p, int rows, In<T> x, In<T> dq,
                       const double* temperature, const int* chosen, double weight, T* dx,
                       const Parameters<T>& gradient, const Tape<T, most>& tape) {
    device::look_up_codes_backward<S>(d, rows, chosen, dq, gradient.vars.data);
    device::choose_codes_backward<S>(d, rows, dq, p.vars.data, tape.soft.data, temperature, tape.dlogits.data);
    if (weight != 0) device::perplexity_backward<S>(d, rows, tape.logits.data, tape.usage(), weight, tape.dlogits.data);
    device::linear_weight_gradient<inputs, codes>(d, rows, tape.dlogits.data, x, gradient.weight_proj.weight.data,
                                                  gradient.weight_proj.bias.data);
    device::linear_input_gradient<inputs, codes>(d, rows, tape.dlogits.data, p.weight_proj.weight.data, dx);
  }
};

}  // namespace data2vec::inline v0
