// SPDX-License-Identifier: MIT
// A linear decoder: one layer at each hidden position. It mixes nothing, so what it can predict from is the position
// (`add_positions_masked` or `add_positions_all`) and what the input carries there. On noise alone it sends no gradient
// to the encoder: that comes from a CLS loss, or from hidden tokens shown all the same (`keep_masked_pct`).
#pragma once

#include <data2vec/decoder/decoder.hpp>

namespace data2vec::inline v0 {

template <DecoderConfig C>
struct LinearDecoder {
  static constexpr DecoderConfig config = C;
  static constexpr bool sees_all = true;

  template <DecoderShape S>
  struct Network {
    static constexpr int D = S.dim, T_ = S.tokens(), R = S.masked;
    using Projection = Linear<D, D, LinearInit::fan_in>;
    static constexpr double flops_per_row = R * Projection::flops_per_row;

    template <class T>
    struct Parameters {
      typename Projection::template Parameters<T> proj;
      static constexpr void visit(auto&& f, auto&... p) { f("proj", p.proj...); }
    };
    template <class T, int N>
    struct Tape {
      View<T, N, R, D> hidden, dhidden;
      static constexpr void visit(auto&& f, auto&... t) {
        f("hidden", t.hidden...);
        f("dhidden", t.dhidden...);
      }
    };

    template <class P, class T, int N>
    static void forward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                        View<T, N, R, D> prediction, const Tape<T, N>& tape) {
      device::gather_rows<D>(pass.device, N * R, in.tokens, in.masked_rows, tape.hidden.data);
      Projection::forward(pass.device, p.proj, N * R, tape.hidden.data, prediction.data);         // (N, R, D)
    }

    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                         View<T, N, R, D> dprediction, View<T, N, T_, D> dtokens, const Parameters<T>& gradient,
                         const Tape<T, N>& tape) {
      Projection::backward(pass.device, p.proj, N * R, tape.hidden.data, dprediction.data, tape.dhidden.data,
                           gradient.proj);
      device::fill(pass.device, dtokens.size, 0, dtokens.data);
      device::scatter_add_rows<D>(pass.device, N * R, tape.dhidden.data, in.masked_rows, dtokens.data);
    }
  };
};

}  // namespace data2vec::inline v0
