// SPDX-License-Identifier: MIT
// The decoder of masked autoencoders (He et al., 2022, section 3): narrow transformer blocks over all tokens, a learned
// token in the place of hidden ones, pixels out.
#pragma once

#include <data2vec/decoder/decoder.hpp>
#include <data2vec/layers/position.hpp>

namespace data2vec::inline v0 {

template <PixelDecoderConfig C>
struct PixelDecoder {
  static constexpr PixelDecoderConfig config = C;

  /// For rows of E extra and S.visible visible tokens out of the encoder; `values` pixels in a patch.
  template <DecoderShape S, int E, int values>
  struct Network {
    static constexpr int D = S.dim, T_ = S.tokens(), V = S.visible, R = S.masked, dim = C.decoder_embed_dim;
    static constexpr int length = E + T_;  ///< tokens of a row in the decoder
    static_assert(check::HeadsDivideEmbedDim<C.decoder_num_heads, dim>,
                  "data2vec: PixelDecoderConfig::decoder_num_heads must divide PixelDecoderConfig::decoder_embed_dim");
    static_assert(check::MultipleOf<dim, 4>,
                  "data2vec: PixelDecoderConfig::decoder_embed_dim must be a multiple of 4, for its fixed positions");
    static constexpr double norm_eps = S.norm_eps;  // a name of its own: clang misreads doubles of S at run time
    // One head where the condition above fails: then it is the only error.
    static constexpr BlockConfig block{.dim = dim, .num_heads = dim % C.decoder_num_heads == 0 ? C.decoder_num_heads : 1,
                                       .mlp_dim = static_cast<int>(dim * S.mlp_ratio), .norm_eps = S.norm_eps,
                                       .norm_affine = S.norm_affine, .order = S.order};
    using Blocks = Stack<block, C.decoder_depth>;
    using Embed = Linear<D, dim>;
    using Norm = LayerNorm<dim, S.norm_affine>;
    using Predict = Linear<dim, values>;
    static constexpr double flops_per_row =
        (E + V) * Embed::flops_per_row + Blocks::flops(length) + R * Predict::flops_per_row;

    template <class T>
    struct Parameters {
      typename Embed::template Parameters<T> decoder_embed;
      View<T, 1, 1, dim> mask_token;
      View<T, 1, length, dim> decoder_pos_embed;  // extra tokens first, theirs are zero
      typename Blocks::template Parameters<T> decoder_blocks;
      typename Norm::template Parameters<T> decoder_norm;
      typename Predict::template Parameters<T> decoder_pred;
      static constexpr void visit(auto&& f, auto&... p) {
        f("decoder_embed", p.decoder_embed...);
        f(Field{"mask_token", init::normal(0.02)}, p.mask_token...);
        f(Field{"decoder_pos_embed", init::fixed(), false}, p.decoder_pos_embed...);
        f("decoder_blocks", p.decoder_blocks...);
        f("decoder_norm", p.decoder_norm...);
        f("decoder_pred", p.decoder_pred...);
      }
      void fill_positions() const
        requires(!std::is_const_v<T>)
      {
        sincos_positions(S.grid, dim, decoder_pos_embed.data + E * dim);
      }
    };

    template <class T, int N>
    struct Tape {
      View<T, N*(E + V) + 1, dim> pool, dpool;  // embedded tokens, then the mask token
      View<T, N, length, dim> input;
      typename Blocks::template Tape<T, N, length> blocks;
      typename Blocks::template Scratch<T, N, length> scratch;
      View<T, N, R, dim> hidden, normed, dhidden;
      View<T, N, R, kept_numbers<T>(2)> stats;
      View<T, N, length, dim> dstate, dother;
      View<T, N, R, values> prediction, dprediction;
      static constexpr void visit(auto&& f, auto&... t) {
        f("pool", t.pool...);
        f("dpool", t.dpool...);
        f("input", t.input...);
        f("blocks", t.blocks...);
        f("scratch", t.scratch...);
        f("hidden", t.hidden...);
        f("normed", t.normed...);
        f("dhidden", t.dhidden...);
        f("stats", t.stats...);
        f("dstate", t.dstate...);
        f("dother", t.dother...);
        f("prediction", t.prediction...);
        f("dprediction", t.dprediction...);
      }
    };

    /// The encoder's output (N, E + V, D) -> pixels of the hidden patches, tape.prediction (N, R, values). `rows`
    /// (N, length) are rows of the pool, `hidden` (N, R) rows of (N, length). `tap(i, output)` follows each block.
    template <class P, class T, int N, class Tap>
    static void forward(const P& pass, const Parameters<const T>& p, View<const T, N, E + V, D> encoded,
                        const int* rows, const int* hidden, const Tape<T, N>& tape, Tap&& tap) {
      auto& d = pass.device;
      NoBias bias;
      Embed::forward(d, p.decoder_embed, N * (E + V), encoded.data, tape.pool.data);                 // (N, S, dim)
      device::copy(d, static_cast<std::size_t>(dim), p.mask_token.data, tape.pool[N * (E + V)].data);
      device::gather_rows<dim>(d, N * length, tape.pool.data, rows, tape.input.data);                // (N, E + T, dim)
      device::add_repeated(d, N, length * dim, tape.input.data, p.decoder_pos_embed.data, tape.input.data);
      const auto state = Blocks::template forward<P, T, N, length>(
          pass, p.decoder_blocks, {}, tape.input, tape.blocks, tape.scratch, {}, bias,
          [&](int i, const auto&, const auto& output) { tap(i, output); });
      device::gather_rows<dim>(d, N * R, state.data, hidden, tape.hidden.data);
      Norm::forward(d, p.decoder_norm, N * R, norm_eps, tape.hidden.data, tape.normed.data, tape.stats.data);
      Predict::forward(d, p.decoder_pred, N * R, tape.normed.data, tape.prediction.data);            // (N, R, values)
    }

    /// From tape.dprediction to the gradient of the encoder's output, overwritten.
    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, View<const T, N, E + V, D> encoded,
                         const int* rows, const int* hidden, View<T, N, E + V, D> dencoded,
                         const Parameters<T>& gradient, const Tape<T, N>& tape) {
      auto& d = pass.device;
      NoBias bias;
      Predict::backward(d, p.decoder_pred, N * R, tape.normed.data, tape.dprediction.data, tape.dhidden.data,
                        gradient.decoder_pred);
      Norm::backward(d, p.decoder_norm, N * R, tape.hidden.data, tape.stats.data, tape.dhidden.data, tape.dhidden.data,
                     gradient.decoder_norm);
      device::fill(d, tape.dstate.size, 0, tape.dstate.data);
      device::scatter_add_rows<dim>(d, N * R, tape.dhidden.data, hidden, tape.dstate.data);
      const auto dinput = Blocks::template backward<P, T, N, length>(pass, p.decoder_blocks, {}, tape.input, tape.dstate,
                                                                     tape.dother, gradient.decoder_blocks, tape.blocks,
                                                                     tape.scratch, {}, bias);
      device::fill(d, tape.dpool.size, 0, tape.dpool.data);
      device::scatter_add_rows<dim>(d, N * length, dinput.data, rows, tape.dpool.data);
      device::add(d, static_cast<std::size_t>(dim), gradient.mask_token.data, tape.dpool[N * (E + V)].data,
                  gradient.mask_token.data);
      Embed::backward(d, p.decoder_embed, N * (E + V), encoded.data, tape.dpool.data, dencoded.data,
                      gradient.decoder_embed);
    }
  };
};

}  // namespace data2vec::inline v0
