// SPDX-License-Identifier: MIT
// The convolutional decoder for images (data2vec 2.0, section 3.3): grouped convolutions on the grid of tokens, then one
// linear layer at the hidden positions.
#pragma once

#include <data2vec/decoder/conv_stack.hpp>

namespace data2vec::inline v0 {

template <DecoderConfig C>
struct Conv2dDecoder {
  static constexpr DecoderConfig config = C;
  static constexpr bool sees_all = true;

  template <DecoderShape S>
  struct Network {
    static constexpr int D = S.dim, T_ = S.tokens(), R = S.masked;
    using Stack = ConvStack<C, S, true>;
    using Projection = Linear<C.decoder_dim, D, LinearInit::fan_in>;

    template <class T>
    struct Parameters {
      typename Stack::template Parameters<T> blocks;
      typename Projection::template Parameters<T> proj;
      static constexpr void visit(auto&& f, auto&... p) {
        f("blocks", p.blocks...);
        f("proj", p.proj...);
      }
    };
    template <class T, int N>
    using Tape = typename Stack::template Tape<T, N>;

    static constexpr double flops_per_row = Stack::flops_per_row + R * Projection::flops_per_row;

    template <class P, class T, int N>
    static void forward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                        View<T, N, R, D> prediction, const Tape<T, N>& tape) {
      auto& d = pass.device;
      Stack::forward(d, p.blocks, in, tape);
      Projection::forward(d, p.proj, N * R, tape.hidden.data, prediction.data);                   // (N, R, D)
    }

    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                         View<T, N, R, D> dprediction, View<T, N, T_, D> dtokens, const Parameters<T>& gradient,
                         const Tape<T, N>& tape) {
      auto& d = pass.device;
      Projection::backward(d, p.proj, N * R, tape.hidden.data, dprediction.data, tape.dhidden.data, gradient.proj);
      Stack::backward(d, p.blocks, in, dtokens, gradient.blocks, tape);
    }
  };
};

}  // namespace data2vec::inline v0
