// SPDX-License-Identifier: MIT
// Layer normalisation over channels (Ba et al., 2016), with or without scale and shift.
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/norm.hpp>

namespace data2vec::inline v0 {

template <int C, bool affine = true>
struct LayerNorm {
  template <class T>
  struct Affine {
    View<T, C> weight, bias;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"weight", init::constant(1)}, p.weight...);
      f(Field{"bias", init::zeros()}, p.bias...);
    }
  };
  struct Plain : Nothing {};
  template <class T>
  using Parameters = std::conditional_t<affine, Affine<T>, Plain>;

  /// x, y (rows, C); stats (rows, 2) is what `backward` needs, or null. y may be x.
  template <Device D, class T>
  static void forward(D& d, const auto& p, int rows, double eps, In<T> x, T* y, Out<T> stats) {
    if constexpr (affine) device::layer_norm<C>(d, rows, x, p.weight.data, p.bias.data, eps, y, stats);
    else device::layer_norm<C>(d, rows, x, nullptr, nullptr, eps, y, stats);
  }

  /// sum = a + b, y its norm, all (rows, C).
  template <Device D, class T>
  static void forward_sum(D& d, const auto& p, int rows, double eps, In<T> a, In<T> b, T* sum, T* y, Out<T> stats) {
    if constexpr (affine)
      device::add_layer_norm<C>(d, rows, a, b, p.weight.data, p.bias.data, eps, sum, y, stats);
    else device::add_layer_norm<C>(d, rows, a, b, nullptr, nullptr, eps, sum, y, stats);
  }

  /// dx is overwritten and may be dy; parameter gradients are accumulated.
  template <Device D, class T>
  static void backward(D& d, const auto& p, int rows, In<T> x, In<T> stats, In<T> dy, T* dx, const auto& gradient) {
    if constexpr (affine)
      device::layer_norm_backward<C>(d, rows, dy, x, p.weight.data, stats, dx, gradient.weight.data,
                                     gradient.bias.data);
    else device::layer_norm_backward<C>(d, rows, dy, x, nullptr, stats, dx, nullptr, nullptr);
  }
};

}  // namespace data2vec::inline v0
