// SPDX-License-Identifier: MIT
// The MLP of a transformer block: linear, GELU, linear.
#pragma once

#include <data2vec/device/gelu.hpp>
#include <data2vec/layers/dropout.hpp>
#include <data2vec/layers/linear.hpp>

namespace data2vec::inline v0 {

/// `activation_dropout` says whether there is dropout after GELU and after the second linear.
template <int dim, int hidden_dim, bool activation_dropout = false>
struct FeedForward {
  using First = Linear<dim, hidden_dim>;
  using Second = Linear<hidden_dim, dim>;

  template <class T>
  struct Parameters {
    typename First::template Parameters<T> fc1;
    typename Second::template Parameters<T> fc2;
    static constexpr void visit(auto&& f, auto&... p) {
      f("fc1", p.fc1...);
      f("fc2", p.fc2...);
    }
  };

  /// Kept from forward to backward. GELU is computed again there: cheaper than to keep its values.
  template <class T, int N, int S>
  struct Tape {
    View<T, N, S, hidden_dim> before_gelu;
    static constexpr void visit(auto&& f, auto&... t) { f("before_gelu", t.before_gelu...); }
  };

  static constexpr double flops(int sequence) { return sequence * (First::flops_per_row + Second::flops_per_row); }

  /// x (N, S, dim) -> y (N, S, dim); hidden is scratch.
  template <class P, class T, int N, int S>
  static void forward(const P& pass, const Parameters<const T>& p, int layer, View<const T, N, S, dim> x,
                      View<T, N, S, dim> y, const Tape<T, N, S>& tape, View<T, N, S, hidden_dim> hidden) {
    auto& d = pass.device;
    device::linear_gelu<dim, hidden_dim>(d, N * S, x.data, p.fc1.weight.data, p.fc1.bias.data, tape.before_gelu.data,
                                         hidden.data);                                        // (N, S, F)
    drop<hidden_dim, N, S>(pass, Site::activation_dropout, layer, hidden.data);
    Second::forward(d, p.fc2, N * S, hidden.data, y.data);                                    // (N, S, D)
    drop<dim, N, S>(pass, Site::activation_dropout_2, layer, y.data);
  }

  /// dy is destroyed; dx is overwritten or accumulated; parameter gradients are accumulated; hidden and dhidden are
  /// scratch.
  template <Grad G, class P, class T, int N, int S>
  static void backward(const P& pass, const Parameters<const T>& p, int layer, View<const T, N, S, dim> x,
                       View<T, N, S, dim> dy, View<T, N, S, dim> dx, const Parameters<T>& gradient,
                       const Tape<T, N, S>& tape, View<T, N, S, hidden_dim> hidden,
                       View<T, N, S, hidden_dim> dhidden) {
    auto& d = pass.device;
    drop<dim, N, S>(pass, Site::activation_dropout_2, layer, dy.data);
    device::linear_input_gradient<hidden_dim, dim>(d, N * S, dy.data, p.fc2.weight.data, dhidden.data);
    drop<hidden_dim, N, S>(pass, Site::activation_dropout, layer, dhidden.data);
    device::gelu_backward(d, dhidden.size, dhidden.data, tape.before_gelu.data, dhidden.data, hidden.data);
    drop<hidden_dim, N, S>(pass, Site::activation_dropout, layer, hidden.data);
    device::linear_weight_gradient<hidden_dim, dim>(d, N * S, dy.data, hidden.data, gradient.fc2.weight.data,
                                                    gradient.fc2.bias.data);
    First::template backward<G>(d, p.fc1, N * S, x.data, dhidden.data, dx.data, gradient.fc1);
  }

 private:
  template <int width, int N, int S, class P, class T>
  static void drop(const P& pass, Site site, int layer, T* x) {
    if constexpr (P::training && activation_dropout)
      device::dropout(pass.device, N, S * width,
                      pass.draws.at(site, static_cast<std::uint32_t>(layer), pass.rates.activation_dropout), x, x);
  }
};

}  // namespace data2vec::inline v0
