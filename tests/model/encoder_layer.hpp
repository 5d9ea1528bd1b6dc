// SPDX-License-Identifier: MIT
// An encoder in the form that `check_gradients` takes: tokens of the local encoder in, features of the rows out.
#pragma once

#include <array>
#include <cmath>

#include <data2vec/model/encoder.hpp>

#include <tests/layers/adaptors.hpp>

namespace data2vec::testing {

/// A modality of nothing but tokens.
template <Grid cells, ModalityConfig C, bool positions = true>
struct Cells {
  static constexpr const char* name = "CELLS";
  static constexpr ModalityConfig config = C;
  static constexpr Grid grid = cells;
  static constexpr int sample_size = 1;
  static constexpr bool fixed_positions = positions;
  template <int D>
  struct LocalEncoder {
    template <class T>
    struct Parameters : Nothing {};
    template <class T, int B>
    struct Tape : Nothing {};
  };
};

/// B samples with `masks` rows each that keep V tokens: row n keeps n, n + 2, n + 4, ... modulo the number of tokens.
template <Config C, class M, int B, int masks, int V, bool training>
struct EncoderLayer {
  using Enc = Encoder<C, M>;
  static constexpr int D = Enc::D, T_ = Enc::T_, E = Enc::E, N = B * masks;
  static_assert(T_ % 2 == 1, "then steps of two visit every token");
  static constexpr int input_size = B * T_ * D, output_size = N * (E + V) * D;

  template <class T>
  struct Parameters {
    typename Enc::template FrontEnd<T> front;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    static constexpr void visit(auto&& f, auto&... p) {
      f("front", p.front...);
      f("blocks", p.blocks...);
      f("norm", p.norm...);
    }
  };
  template <class T>
  using Tape = typename Enc::template Memory<T, B, masks, V, true>;

  /// ALiBi scales below zero count as zero: they must be positive to have a gradient.
  static void fill_parameters(const Parameters<double>& p) {
    if constexpr (Enc::Bias::used)
      for (std::size_t i = 0; i < p.front.alibi.scale.size; ++i)
        p.front.alibi.scale.data[i] = 0.5 + std::fabs(p.front.alibi.scale.data[i]);
  }
  static auto index() {
    static std::array<int, static_cast<std::size_t>(N * V)> keep;
    static std::array<int, static_cast<std::size_t>(N * (E + V))> rows;
    const typename Enc::template Index<N, V> i{{keep.data()}, {rows.data()}, {}, {}};
    for (int n = 0; n < N; ++n)
      for (int v = 0; v < V; ++v) i.keep[n][v] = (n + 2 * v) % T_;
    Enc::Rows::index_rows(masks, i);
    return i;
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    const auto pass = fixed_pass<training>(d, masks);
    const auto out = Enc::forward(pass, pass, p.front, p.blocks, p.norm, View<const double, B, T_, D>{x}, index(), tape,
                                  [](auto&&...) {});
    device::copy(d, output_size, out.encoder.data, y);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double*, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    Enc::backward(fixed_pass<training>(d, masks), p.front, p.blocks, p.norm, index(), View<double, N, E + V, D>{dy},
                  View<double, B, T_, D>{dx}, gradient.front, gradient.blocks, gradient.norm, tape);
  }
};

}  // namespace data2vec::testing
