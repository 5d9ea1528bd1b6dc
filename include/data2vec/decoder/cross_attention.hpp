// SPDX-License-Identifier: MIT
// A decoder whose queries are the positions of the hidden tokens and whose keys and values are the visible tokens: no
// noise, no work on visible positions. As the reference runs it: post-norm, eight heads, MLP ratio 4, epsilon 1e-5, and
// no residual around the first block's attention.
#pragma once

#include <data2vec/decoder/decoder.hpp>

namespace data2vec::inline v0 {

template <DecoderConfig C>
struct CrossAttentionDecoder {
  static constexpr DecoderConfig config = C;
  static constexpr bool sees_all = false;
  static constexpr int num_heads = 8;

  template <DecoderShape S>
  struct Network {
    static constexpr int D = S.dim, V = S.visible, R = S.masked, dim = C.decoder_dim, layers = C.decoder_layers;
    static constexpr int head_dim = dim / num_heads;
    // Queries and keys form one sequence: R queries, then V keys. Hidden keys make it cross-attention.
    static constexpr int joint = R + V;
    static constexpr double eps = 1e-5;
    static_assert(check::HeadsDivideEmbedDim<num_heads, dim>,
                  "data2vec: the cross-attention decoder has 8 heads, which must divide DecoderConfig::decoder_dim");
    using InputProjection = Linear<D, dim>;
    using Query = Linear<dim, dim>;
    using KeyValue = Linear<D, 2 * dim>;
    using Output = Linear<dim, dim>;
    using Norm = LayerNorm<dim>;
    using Mlp = FeedForward<dim, 4 * dim>;
    using Projection = Linear<dim, D>;
    static constexpr double flops_per_row =
        R * (InputProjection::flops_per_row + Projection::flops_per_row) +
        layers * (R * (Query::flops_per_row + Output::flops_per_row) + V * KeyValue::flops_per_row +
                  4.0 * R * V * dim + Mlp::flops(R));
    /// The queries start as positions, which need no gradient.
    static constexpr double backward_flops_per_row = 2 * flops_per_row - R * InputProjection::flops_per_row;

    template <class T>
    struct CrossAttention {
      typename Query::template Parameters<T> q_proj;
      typename KeyValue::template Parameters<T> kv_proj;
      typename Output::template Parameters<T> proj;
      static constexpr void visit(auto&& f, auto&... p) {
        f("q_proj", p.q_proj...);
        f("kv_proj", p.kv_proj...);
        f("proj", p.proj...);
      }
    };
    template <class T>
    struct BlockParameters {
      typename Norm::template Parameters<T> norm1;
      CrossAttention<T> attn;
      typename Norm::template Parameters<T> norm2;
      typename Mlp::template Parameters<T> mlp;
      static constexpr void visit(auto&& f, auto&... p) {
        f("norm1", p.norm1...);
        f("attn", p.attn...);
        f("norm2", p.norm2...);
        f("mlp", p.mlp...);
      }
    };
    template <class T>
    struct Parameters {
      typename InputProjection::template Parameters<T> input_proj;
      std::array<BlockParameters<T>, static_cast<std::size_t>(layers)> blocks;
      typename Projection::template Parameters<T> proj;
      static constexpr void visit(auto&& f, auto&... p) {
        f("input_proj", p.input_proj...);
        f("blocks", p.blocks...);
        f("proj", p.proj...);
      }
    };

    template <class T, int N>
    struct BlockTape {
      View<T, N, joint, 3 * dim> qkv;
      View<T, N, num_heads, joint, attention_kept<T>(joint)> probabilities;
      View<T, N, R, dim> mixed, attended, mlp_input, summed, state;
      typename Mlp::template Tape<T, N, R> mlp;
      View<T, N, R, kept_numbers<T>(2)> stats1, stats2;
      static constexpr void visit(auto&& f, auto&... t) {
        f("qkv", t.qkv...);
        f("probabilities", t.probabilities...);
        f("mixed", t.mixed...);
        f("attended", t.attended...);
        f("mlp_input", t.mlp_input...);
        f("summed", t.summed...);
        f("state", t.state...);
        f("mlp", t.mlp...);
        f("stats1", t.stats1...);
        f("stats2", t.stats2...);
      }
    };
    template <class T, int N>
    struct Tape {
      View<T, N, R, D> queries;         // positions of the hidden tokens
      View<T, N, V, D> keys;            // visible tokens, with their positions if asked for
      View<T, N, R, dim> input;
      std::array<BlockTape<T, N>, static_cast<std::size_t>(layers)> blocks;
      View<T, N, joint, 3 * dim> dqkv;  // scratch from here on
      View<T, N, joint, dim> joint_mixed, djoint_mixed;
      View<T, N, R, dim> branch, dstate, dother, dquery;
      View<T, N, V, 2 * dim> key_value;
      View<T, N, R, 4 * dim> hidden, dhidden;
      static constexpr void visit(auto&& f, auto&... t) {
        f("queries", t.queries...);
        f("keys", t.keys...);
        f("input", t.input...);
        f("blocks", t.blocks...);
        f("dqkv", t.dqkv...);
        f("joint_mixed", t.joint_mixed...);
        f("djoint_mixed", t.djoint_mixed...);
        f("branch", t.branch...);
        f("dstate", t.dstate...);
        f("dother", t.dother...);
        f("dquery", t.dquery...);
        f("key_value", t.key_value...);
        f("hidden", t.hidden...);
        f("dhidden", t.dhidden...);
      }
    };

    template <class P, class T, int N>
    static void forward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                        View<T, N, R, D> prediction, const Tape<T, N>& tape) {
      auto& d = pass.device;
      device::gather_rows<D>(d, N * R, in.positions, in.masked, tape.queries.data);               // (N, R, D)
      if constexpr (C.add_positions_all) {
        device::gather_rows<D>(d, N * V, in.positions, in.visible, tape.keys.data);
        device::add(d, tape.keys.size, tape.keys.data, in.tokens, tape.keys.data);
      } else {
        device::copy(d, tape.keys.size, in.tokens, tape.keys.data);                               // (N, V, D)
      }
      InputProjection::forward(d, p.input_proj, N * R, tape.queries.data, tape.input.data);       // (N, R, dim)
      View<const T, N, R, dim> x = tape.input;
      for (std::size_t i = 0; i < layers; ++i) {
        const BlockTape<T, N>& t = tape.blocks[i];
        Query::forward(d, p.blocks[i].attn.q_proj, N * R, x.data, tape.branch.data);
        KeyValue::forward(d, p.blocks[i].attn.kv_proj, N * V, tape.keys.data, tape.key_value.data);
        join<N>(d, tape.branch.data, tape.key_value.data, t.qkv.data);
        with_hidden_queries<N>([&](const AttentionExtras<T>& extras) {
          device::attention<num_heads, head_dim, false>(d, N, joint, t.qkv.data, extras, t.probabilities.data,
                                                        tape.joint_mixed.data);
        });
        device::copy_strided(d, N, R * dim, tape.joint_mixed.data, joint * dim, t.mixed.data, R * dim);
        Output::forward(d, p.blocks[i].attn.proj, N * R, t.mixed.data, t.attended.data);
        if (i > 0) device::add(d, x.size, t.attended.data, x.data, t.attended.data);
        Norm::forward(d, p.blocks[i].norm1, N * R, eps, t.attended.data, t.mlp_input.data, t.stats1.data);
        Mlp::template forward<P, T, N, R>(pass, p.blocks[i].mlp, 0, t.mlp_input, tape.branch, t.mlp, tape.hidden);
        device::add(d, x.size, t.mlp_input.data, tape.branch.data, t.summed.data);
        Norm::forward(d, p.blocks[i].norm2, N * R, eps, t.summed.data, t.state.data, t.stats2.data);
        x = t.state;
      }
      Projection::forward(d, p.proj, N * R, x.data, prediction.data);                             // (N, R, D)
    }

    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>&,
                         View<T, N, R, D> dprediction, View<T, N, V, D> dtokens, const Parameters<T>& gradient,
                         const Tape<T, N>& tape) {
      auto& d = pass.device;
      device::fill(d, dtokens.size, 0, dtokens.data);
      View<const T, N, R, dim> last = layers > 0 ? tape.blocks[layers - 1].state : tape.input;
      Projection::backward(d, p.proj, N * R, last.data, dprediction.data, tape.dstate.data, gradient.proj);
      for (std::size_t i = layers; i-- > 0;) {
        const BlockTape<T, N>& t = tape.blocks[i];
        const auto& g = gradient.blocks[i];
        const T* x = i > 0 ? tape.blocks[i - 1].state.data : tape.input.data;
        Norm::backward(d, p.blocks[i].norm2, N * R, t.summed.data, t.stats2.data, tape.dstate.data, tape.dother.data,
                       g.norm2);
        device::copy(d, tape.branch.size, tape.dother.data, tape.branch.data);
        Mlp::template backward<Grad::accumulate, P, T, N, R>(pass, p.blocks[i].mlp, 0, t.mlp_input, tape.branch,
                                                             tape.dother, g.mlp, t.mlp, tape.hidden, tape.dhidden);
        Norm::backward(d, p.blocks[i].norm1, N * R, t.attended.data, t.stats1.data, tape.dother.data, tape.dother.data,
                       g.norm1);                                                                  // d(attended)
        Output::backward(d, p.blocks[i].attn.proj, N * R, t.mixed.data, tape.dother.data, tape.dquery.data,
                         g.attn.proj);
        device::fill(d, tape.djoint_mixed.size, 0, tape.djoint_mixed.data);
        device::copy_strided(d, N, R * dim, tape.dquery.data, R * dim, tape.djoint_mixed.data, joint * dim);
        with_hidden_queries<N>([&](const AttentionExtras<T>& extras) {
          device::attention_backward<num_heads, head_dim, false>(d, N, joint, tape.djoint_mixed.data, t.qkv.data,
                                                                 t.probabilities.data, extras, tape.dqkv.data, nullptr);
        });
        split<N>(d, tape.dqkv.data, tape.dquery.data, tape.key_value.data);
        KeyValue::template backward<Grad::accumulate>(d, p.blocks[i].attn.kv_proj, N * V, tape.keys.data,
                                                      tape.key_value.data, dtokens.data, g.attn.kv_proj);
        Query::backward(d, p.blocks[i].attn.q_proj, N * R, x, tape.dquery.data, tape.dstate.data, g.attn.q_proj);
        if (i > 0) device::add(d, tape.dstate.size, tape.dstate.data, tape.dother.data, tape.dstate.data);
      }
      InputProjection::backward(d, p.input_proj, N * R, tape.queries.data, tape.dstate.data, static_cast<T*>(nullptr),
                                gradient.input_proj);
    }

   private:
    /// query (N, R, dim) and key_value (N, V, 2, dim) -> qkv (N, R + V, 3, dim); what neither fills is zero.
    template <int N, class Dev, class T>
    static void join(Dev& d, const T* query, const T* key_value, T* qkv) {
      device::fill(d, static_cast<std::size_t>(N) * joint * 3 * dim, 0, qkv);
      for (int n = 0; n < N; ++n) {
        T* row = qkv + static_cast<std::ptrdiff_t>(n) * joint * 3 * dim;
        device::copy_strided(d, R, dim, query + static_cast<std::ptrdiff_t>(n) * R * dim, dim, row, 3 * dim);
        device::copy_strided(d, V, 2 * dim, key_value + static_cast<std::ptrdiff_t>(n) * V * 2 * dim, 2 * dim,
                             row + R * 3 * dim + dim, 3 * dim);
      }
    }
    /// The reverse of `join`, for gradients.
    template <int N, class Dev, class T>
    static void split(Dev& d, const T* dqkv, T* dquery, T* dkey_value) {
      for (int n = 0; n < N; ++n) {
        const T* row = dqkv + static_cast<std::ptrdiff_t>(n) * joint * 3 * dim;
        device::copy_strided(d, R, dim, row, 3 * dim, dquery + static_cast<std::ptrdiff_t>(n) * R * dim, dim);
        device::copy_strided(d, V, 2 * dim, row + R * 3 * dim + dim, 3 * dim,
                             dkey_value + static_cast<std::ptrdiff_t>(n) * V * 2 * dim, 2 * dim);
      }
    }
    /// Calls `f` with extras that hide the keys of the first R positions of all N rows.
    template <int N>
    static void with_hidden_queries(auto&& f) {
      static constexpr auto hidden = [] {
        std::array<bool, static_cast<std::size_t>(N) * joint> mask{};
        for (int n = 0; n < N; ++n)
          for (int i = 0; i < R; ++i) mask[static_cast<std::size_t>(n * joint + i)] = true;
        return mask;
      }();
      f({.key_hidden = hidden.data()});
    }
  };
};

}  // namespace data2vec::inline v0
