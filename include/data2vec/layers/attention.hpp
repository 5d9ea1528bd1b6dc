// SPDX-License-Identifier: MIT
// Multi-head self-attention (Vaswani et al., 2017): qkv, softmax attention, output projection.
#pragma once

#include <data2vec/core/check.hpp>
#include <data2vec/device/attention.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/layers/dropout.hpp>
#include <data2vec/layers/linear.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// `attention_dropout` and `encoder_dropout` say which dropouts exist; their rates come with the pass.
template <int dim, int heads, bool attention_dropout = false, bool encoder_dropout = false,
          BlockNames names = BlockNames::vit>
struct SelfAttention {
  static_assert(check::HeadsDivideEmbedDim<heads, dim>, "data2vec: Config::num_heads must divide Config::embed_dim");
  static constexpr int head_dim = dim / heads;
  using Qkv = Linear<dim, 3 * dim>;
  using Projection = Linear<dim, dim>;

  /// Queries, keys and values under a name each. In memory they lie as in one layer.
  template <class T>
  struct SeparateQkv {
    View<T, dim, dim> query, key, value;
    View<T, dim> query_bias, key_bias, value_bias;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"q_proj.weight", Qkv::weight_init}, p.query...);
      f(Field{"k_proj.weight", Qkv::weight_init, true, 0}, p.key...);
      f(Field{"v_proj.weight", Qkv::weight_init, true, 0}, p.value...);
      f(Field{"q_proj.bias", Qkv::bias_init}, p.query_bias...);
      f(Field{"k_proj.bias", Qkv::bias_init, true, 0}, p.key_bias...);
      f(Field{"v_proj.bias", Qkv::bias_init, true, 0}, p.value_bias...);
    }
    typename Qkv::template Parameters<T> fused() const { return {{query.data}, {query_bias.data}}; }
  };
  template <class T>
  struct FusedQkv {
    typename Qkv::template Parameters<T> layer;
    static constexpr void visit(auto&& f, auto&... p) { f("qkv", p.layer...); }
    typename Qkv::template Parameters<T> fused() const { return layer; }
  };
  /// Keys have no bias: the zeros in its place are in no state dict.
  template <class T>
  struct QkvWithoutKeyBias {
    View<T, 3 * dim, dim> weight;
    View<T, dim> query_bias, value_bias;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"qkv.weight", Qkv::weight_init}, p.weight...);
      f(Field{"q_bias", Qkv::bias_init}, p.query_bias...);
      f(Field{"v_bias", Qkv::bias_init, true, dim}, p.value_bias...);
    }
    typename Qkv::template Parameters<T> fused() const { return {{weight.data}, {query_bias.data}}; }
  };
  static constexpr bool separate = names == BlockNames::fairseq;
  static constexpr bool key_bias = names != BlockNames::beit && names != BlockNames::beit_sequential;

  template <class T>
  struct Parameters {
    std::conditional_t<separate, SeparateQkv<T>, std::conditional_t<key_bias, FusedQkv<T>, QkvWithoutKeyBias<T>>> qkv;
    typename Projection::template Parameters<T> proj;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.qkv...);
      f(separate ? "out_proj" : "proj", p.proj...);
    }
  };

  /// Kept from forward to backward.
  template <class T, int N, int S>
  struct Tape {
    View<T, N, S, 3 * dim> qkv;
    View<T, N, heads, S, attention_kept<T>(S)> probabilities;
    View<T, N, S, dim> mixed;  // concatenated heads
    static constexpr void visit(auto&& f, auto&... t) {
      f("qkv", t.qkv...);
      f("probabilities", t.probabilities...);
      f("mixed", t.mixed...);
    }
  };

  /// FLOPs of one sequence: products with weights, and the two with queries, keys and values.
  static constexpr double flops(int sequence) {
    return sequence * (Qkv::flops_per_row + Projection::flops_per_row) + 4.0 * sequence * sequence * dim;
  }

  template <class P>
  static DropoutDraws probability_draws(const P& pass, int layer) {
    return pass.draws.at(Site::attention_dropout, static_cast<std::uint32_t>(layer), pass.rates.attention_dropout);
  }

  /// x (N, S, dim) -> y (N, S, dim). `layer` tells the draws of stacked blocks apart.
  template <class P, class T, int N, int S>
  static void forward(const P& pass, const Parameters<const T>& p, int layer, View<const T, N, S, dim> x,
                      View<T, N, S, dim> y, const Tape<T, N, S>& tape, AttentionExtras<T> extras) {
    auto& d = pass.device;
    constexpr bool drops = P::training && attention_dropout;
    if constexpr (drops) extras.dropout = probability_draws(pass, layer);
    Qkv::forward(d, p.qkv.fused(), N * S, x.data, tape.qkv.data);                             // (N, S, 3, H, Dh)
    device::attention<heads, head_dim, drops>(d, N, S, tape.qkv.data, extras, tape.probabilities.data,
                                              tape.mixed.data);                               // (N, S, H, Dh)
    Projection::forward(d, p.proj, N * S, tape.mixed.data, y.data);                           // (N, S, D)
    if constexpr (P::training && encoder_dropout)
      device::dropout(d, N, S * dim,
                      pass.draws.at(Site::encoder_dropout, static_cast<std::uint32_t>(layer),
                                    pass.rates.encoder_dropout),
                      y.data, y.data);
  }

  /// dy is destroyed; dx is overwritten or accumulated; parameter gradients are accumulated. dqkv and dmixed are
  /// scratch; dbias (N, H, S, S) receives the gradient of the bias, unless null.
  template <Grad G, class P, class T, int N, int S>
  static void backward(const P& pass, const Parameters<const T>& p, int layer, View<const T, N, S, dim> x,
                       View<T, N, S, dim> dy, View<T, N, S, dim> dx, const Parameters<T>& gradient,
                       const Tape<T, N, S>& tape, AttentionExtras<T> extras, T* dbias, View<T, N, S, 3 * dim> dqkv,
                       View<T, N, S, dim> dmixed) {
    auto& d = pass.device;
    constexpr bool drops = P::training && attention_dropout;
    if constexpr (drops) extras.dropout = probability_draws(pass, layer);
    if constexpr (P::training && encoder_dropout)
      device::dropout(d, N, S * dim,
                      pass.draws.at(Site::encoder_dropout, static_cast<std::uint32_t>(layer),
                                    pass.rates.encoder_dropout),
                      dy.data, dy.data);
    Projection::backward(d, p.proj, N * S, tape.mixed.data, dy.data, dmixed.data, gradient.proj);
    device::attention_backward<heads, head_dim, drops>(d, N, S, dmixed.data, tape.qkv.data, tape.probabilities.data,
                                                       extras, dqkv.data, dbias);
    if constexpr (key_bias) {
      Qkv::template backward<G>(d, p.qkv.fused(), N * S, x.data, dqkv.data, dx.data, gradient.qkv.fused());
    } else {
      T* const dbiases = tape.qkv.data;  // read no more
      device::fill(d, 3 * std::size_t{dim}, 0, dbiases);
      Qkv::template backward<G>(d, p.qkv.fused(), N * S, x.data, dqkv.data, dx.data,
                                {{gradient.qkv.weight.data}, {dbiases}});
      const auto add = [&](T* to, const T* from) { device::add(d, std::size_t{dim}, to, from, to); };
      add(gradient.qkv.query_bias.data, dbiases);
      add(gradient.qkv.value_bias.data, dbiases + 2 * dim);
    }
  }
};

}  // namespace data2vec::inline v0
