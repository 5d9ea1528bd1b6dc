// SPDX-License-Identifier: MIT
// A transformer decoder over all tokens, as in masked autoencoders (He et al., 2022): linear in, blocks, linear out.
// As the reference runs it: eight heads, the encoder's order of norms and MLP ratio, no norm around the stack.
#pragma once

#include <data2vec/decoder/decoder.hpp>

namespace data2vec::inline v0 {

template <DecoderConfig C>
struct TransformerDecoder {
  static constexpr DecoderConfig config = C;
  static constexpr bool sees_all = true;
  static constexpr int num_heads = 8;

  template <DecoderShape S>
  struct Network {
    static constexpr int D = S.dim, T_ = S.tokens(), R = S.masked, dim = C.decoder_dim;
    static_assert(check::HeadsDivideEmbedDim<num_heads, dim>,
                  "data2vec: the transformer decoder has 8 heads, which must divide DecoderConfig::decoder_dim");
    // One head where the condition above fails: then it is the only error.
    static constexpr BlockConfig block{.dim = dim, .num_heads = dim % num_heads == 0 ? num_heads : 1,
                                       .mlp_dim = static_cast<int>(dim * S.mlp_ratio), .norm_eps = S.norm_eps,
                                       .norm_affine = S.norm_affine, .order = S.order};
    using Blocks = Stack<block, C.decoder_layers>;
    using InputProjection = Linear<D, dim>;
    using Projection = Linear<dim, D>;
    static constexpr double flops_per_row =
        T_ * InputProjection::flops_per_row + Blocks::flops(T_) + R * Projection::flops_per_row;

    template <class T>
    struct Encoder {
      typename Blocks::template Parameters<T> blocks;
      static constexpr void visit(auto&& f, auto&... p) { f("blocks", p.blocks...); }
    };
    template <class T>
    struct Parameters {
      typename InputProjection::template Parameters<T> input_proj;
      Encoder<T> encoder;
      typename Projection::template Parameters<T> proj;
      static constexpr void visit(auto&& f, auto&... p) {
        f("input_proj", p.input_proj...);
        f("encoder", p.encoder...);
        f("proj", p.proj...);
      }
    };
    template <class T, int N>
    struct Tape {
      View<T, N, T_, dim> input;
      typename Blocks::template Tape<T, N, T_> blocks;
      typename Blocks::template Scratch<T, N, T_> scratch;
      View<T, N, R, dim> hidden, dhidden;
      View<T, N, T_, dim> dstate, dother;
      static constexpr void visit(auto&& f, auto&... t) {
        f("input", t.input...);
        f("blocks", t.blocks...);
        f("scratch", t.scratch...);
        f("hidden", t.hidden...);
        f("dhidden", t.dhidden...);
        f("dstate", t.dstate...);
        f("dother", t.dother...);
      }
    };

    template <class P, class T, int N>
    static void forward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                        View<T, N, R, D> prediction, const Tape<T, N>& tape) {
      auto& d = pass.device;
      NoBias bias;
      InputProjection::forward(d, p.input_proj, N * T_, in.tokens, tape.input.data);              // (N, T, dim)
      const auto state = Blocks::template forward<P, T, N, T_>(pass, p.encoder.blocks, {}, tape.input, tape.blocks,
                                                               tape.scratch, {}, bias, [](auto&&...) {});
      device::gather_rows<dim>(d, N * R, state.data, in.masked_rows, tape.hidden.data);
      Projection::forward(d, p.proj, N * R, tape.hidden.data, prediction.data);                   // (N, R, D)
    }

    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                         View<T, N, R, D> dprediction, View<T, N, T_, D> dtokens, const Parameters<T>& gradient,
                         const Tape<T, N>& tape) {
      auto& d = pass.device;
      NoBias bias;
      Projection::backward(d, p.proj, N * R, tape.hidden.data, dprediction.data, tape.dhidden.data, gradient.proj);
      device::fill(d, tape.dstate.size, 0, tape.dstate.data);
      device::scatter_add_rows<dim>(d, N * R, tape.dhidden.data, in.masked_rows, tape.dstate.data);
      const auto dinput = Blocks::template backward<P, T, N, T_>(pass, p.encoder.blocks, {}, tape.input, tape.dstate,
                                                                 tape.dother, gradient.encoder.blocks, tape.blocks,
                                                                 tape.scratch, {}, bias);
      InputProjection::backward(d, p.input_proj, N * T_, in.tokens, dinput.data, dtokens.data, gradient.input_proj);
    }
  };
};

}  // namespace data2vec::inline v0
