// SPDX-License-Identifier: MIT
// Relative positions from one grouped convolution with weight normalisation, and GELU (wav2vec 2.0, Baevski et al.,
// 2020, section 2); what comes out is added to the tokens.
#pragma once

#include <cmath>
#include <cstddef>

#include <data2vec/core/check.hpp>
#include <data2vec/core/parameter.hpp>
#include <data2vec/device/conv.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/gelu.hpp>
#include <data2vec/device/weight_norm.hpp>
#include <data2vec/layers/padding.hpp>

namespace data2vec::inline v0 {

/// A grouped convolution of T tokens of width D whose weights are normalised per tap; `padded`: tokens behind the valid
/// ones stay zero (the exact rule of padding).
template <int D, int T_, int groups, int kernel, bool padded = false>
struct WeightNormPositions {
  static_assert(check::GroupsDivideChannels<groups, D>,
                "data2vec: SpeechConfig::conv_pos_groups must divide Config::embed_dim");
  static constexpr ConvShape shape{D, D, groups, 1, kernel, 1, T_};
  static constexpr int weight_rows = D * (D / groups);

  static constexpr double flops_per_row = 2.0 * T_ * D * (D / groups) * kernel;

  template <class T>
  struct Parameters {
    View<T, D> bias;
    View<T, 1, 1, kernel> weight_g;
    View<T, D, D / groups, kernel> weight_v;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"0.bias", init::zeros()}, p.bias...);
      f(Field{"0.weight_g", init::fixed()}, p.weight_g...);
      f(Field{"0.weight_v", init::normal(init::square_root(4.0 / (kernel * D)))}, p.weight_v...);
    }
  };

  /// Sets weight_g to the norms of weight_v: the convolution then starts with the weights weight_v. On the host.
  template <class T>
  static void start(const Parameters<T>& p) {
    for (int k = 0; k < kernel; ++k) {
      double squares = 0;
      for (std::ptrdiff_t r = 0; r < weight_rows; ++r) {
        const auto v = static_cast<double>(p.weight_v.data[r * kernel + k]);
        squares += v * v;
      }
      p.weight_g.data[k] = static_cast<T>(std::sqrt(squares));
    }
  }

  /// What a pass without backward needs.
  template <class T, int N>
  struct Inference {
    View<T, D, D / groups, kernel> weight;
    View<T, kept_numbers<T>(kernel)> norms;
    View<T, N, T_, D> convolved, state;
    static constexpr void visit(auto&& f, auto&... t) {
      f("weight", t.weight...);
      f("norms", t.norms...);
      f("convolved", t.convolved...);
      f("state", t.state...);
    }
  };
  /// What backward needs.
  template <class T, int N>
  struct Tape {
    Inference<T, N> pass;
    View<T, D, D / groups, kernel> dweight;
    static constexpr void visit(auto&& f, auto&... t) {
      f("", t.pass...);
      f("dweight", t.dweight...);
    }
  };

  /// x (N, T, D) -> positions (N, T, D), which stand in the memory, a Tape or an Inference. `valid` (N) is read if
  /// `padded`: x must be zero behind the valid tokens, and so are the positions.
  template <Device Dev, class T, int N, template <class, int> class Memory>
  static View<T, N, T_, D> forward(Dev& d, const Parameters<const T>& p, View<const T, N, T_, D> x, const int* valid,
                                   const Memory<T, N>& memory) {
    const Inference<T, N>& m = pass_of(memory);
    device::weight_norm<weight_rows, kernel>(d, p.weight_v.data, p.weight_g.data, m.weight.data, m.norms.data);
    device::grouped_conv<shape>(d, N, x.data, m.weight.data, p.bias.data, m.convolved.data);      // (N, T, D)
    device::gelu(d, m.state.size, m.convolved.data, m.state.data);
    clear<N>(d, valid, m.state.data);
    return m.state;
  }

  /// dy (N, T, D) is destroyed; dx is overwritten; parameter gradients are accumulated.
  template <Device Dev, class T, int N>
  static void backward(Dev& d, const Parameters<const T>& p, View<const T, N, T_, D> x, const int* valid,
                       View<T, N, T_, D> dy, View<T, N, T_, D> dx, const Parameters<T>& gradient,
                       const Tape<T, N>& tape) {
    clear<N>(d, valid, dy.data);
    device::gelu_backward(d, dy.size, dy.data, tape.pass.convolved.data, dy.data);
    device::fill(d, tape.dweight.size, 0, tape.dweight.data);
    device::grouped_conv_weight_gradient<shape>(d, N, dy.data, x.data, tape.dweight.data, gradient.bias.data);
    device::weight_norm_backward<weight_rows, kernel>(d, tape.dweight.data, p.weight_v.data, p.weight_g.data,
                                                      tape.pass.norms.data, gradient.weight_v.data,
                                                      gradient.weight_g.data);
    device::grouped_conv_input_gradient<shape>(d, N, dy.data, tape.pass.weight.data, dx.data);
  }

 private:
  template <int N, class Dev, class T>
  static void clear(Dev& d, [[maybe_unused]] const int* valid, [[maybe_unused]] T* x) {
    if constexpr (padded) clear_padding<T_, D>(d, N, valid, x);
  }
  template <class T, int N>
  static const Inference<T, N>& pass_of(const Tape<T, N>& tape) { return tape.pass; }
  template <class T, int N>
  static const Inference<T, N>& pass_of(const Inference<T, N>& memory) { return memory; }
};

}  // namespace data2vec::inline v0
