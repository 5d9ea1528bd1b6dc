// SPDX-License-Identifier: MIT
// A linear layer, y = x W^T + b, with weights stored as (Out, In).
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/linear.hpp>

namespace data2vec::inline v0 {

/// How the weights of a linear layer start (biases: zero, or uniform too under `fan_in`). `Config::mae_init` replaces
/// all of them by Xavier-uniform weights and zero biases.
enum class LinearInit {
  bert,              ///< N(0, 0.02^2)
  fan_in,            ///< uniform within 1 / sqrt(In), weights and biases
  truncated_normal,  ///< deviation 0.02, cut at two units
  xavier,            ///< uniform within sqrt(6 / (In + Out))
};

template <int In_, int Out_, LinearInit how = LinearInit::bert>
struct Linear {
  static constexpr Init weight_init = init::of_linear(how == LinearInit::bert     ? init::normal(0.02)
                                                      : how == LinearInit::fan_in ? init::fan_in(In_)
                                                      : how == LinearInit::xavier ? init::xavier(In_, Out_)
                                                                                  : init::truncated_normal(0.02));
  static constexpr Init bias_init = init::of_linear(how == LinearInit::fan_in ? init::fan_in(In_) : init::zeros());

  template <class T>
  struct Parameters {
    View<T, Out_, In_> weight;
    View<T, Out_> bias;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"weight", weight_init}, p.weight...);
      f(Field{"bias", bias_init}, p.bias...);
    }
  };

  /// Multiply-adds of one row, times two.
  static constexpr double flops_per_row = 2.0 * In_ * Out_;

  /// x (rows, In) -> y (rows, Out).
  template <Device D, class T>
  static void forward(D& d, const Parameters<const T>& p, int rows, In<T> x, T* y) {
    device::linear<In_, Out_>(d, rows, x, p.weight.data, p.bias.data, y);
  }

  /// Parameter gradients are accumulated; dx is overwritten or accumulated, or left alone if null.
  template <Grad G = Grad::overwrite, Device D, class T>
  static void backward(D& d, const Parameters<const T>& p, int rows, In<T> x, In<T> dy, T* dx,
                       const Parameters<T>& gradient) {
    device::linear_weight_gradient<In_, Out_>(d, rows, dy, x, gradient.weight.data, gradient.bias.data);
    if (dx) device::linear_input_gradient<In_, Out_, G>(d, rows, dy, p.weight.data, dx);
  }
};

}  // namespace data2vec::inline v0
