// SPDX-License-Identifier: MIT
// The transformer block in its three orders of norms, and a stack of blocks.
#pragma once

#include <data2vec/device/elementwise.hpp>
#include <data2vec/layers/attention.hpp>
#include <data2vec/layers/feed_forward.hpp>
#include <data2vec/layers/norm.hpp>

namespace data2vec::inline v0 {

enum class NormOrder {
  post,          ///< x = norm(x + branch(x)): all published data2vec models
  pre_fairseq,   ///< pre-norm as the reference runs it: the MLP has no residual, out = m + drop(m)
  pre,           ///< pre-norm with both residuals
};

/// The numbers that shape a block's code.
struct BlockConfig {
  int dim, num_heads, mlp_dim;
  double norm_eps = 1e-6;
  bool norm_affine = true;
  NormOrder order = NormOrder::post;
  // Which dropouts exist:
  bool attention_dropout = false, encoder_dropout = false, activation_dropout = false, post_mlp_drop = false;
  bool drop_path = false;
  BlockNames names = BlockNames::vit;
  double layer_scale = 0;  ///< initial factor per channel on both branches; 0: there is none
};

/// Dead between calls; one serves all blocks of these widths, whatever their dropouts. After a block's `forward`,
/// `branch` holds the MLP's output.
template <class T, int N, int S, int dim, int mlp_dim>
struct BlockScratch {
  View<T, N, S, dim> branch, dropped, mixed;
  View<T, N, S, mlp_dim> hidden, dhidden;
  View<T, N, S, 3 * dim> qkv;
  static constexpr void visit(auto&& f, auto&... s) {
    f("branch", s.branch...);
    f("dropped", s.dropped...);
    f("mixed", s.mixed...);
    f("hidden", s.hidden...);
    f("dhidden", s.dhidden...);
    f("qkv", s.qkv...);
  }
};

template <BlockConfig C>
struct Block {
  static constexpr int dim = C.dim;
  static constexpr double norm_eps = C.norm_eps;  // a name of its own: clang misreads C's doubles at run time
  static constexpr bool post_norm = C.order == NormOrder::post;
  using Attention = SelfAttention<dim, C.num_heads, C.attention_dropout, C.encoder_dropout, C.names>;
  using Mlp = FeedForward<dim, C.mlp_dim, C.activation_dropout>;
  using Norm = LayerNorm<dim, C.norm_affine>;

  static constexpr bool scales = C.layer_scale != 0;
  static_assert(!scales || C.order == NormOrder::pre,
                "data2vec: Config::layer_scale needs the corrected pre-norm block");

  /// Factors per channel (Touvron et al., 2021, "layer scale").
  template <class T>
  struct LayerScale {
    static constexpr double start = C.layer_scale;
    View<T, dim> gamma_1, gamma_2;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"gamma_1", init::constant(start)}, p.gamma_1...);
      f(Field{"gamma_2", init::constant(start)}, p.gamma_2...);
    }
  };
  /// The branches before they are scaled.
  template <class T, int N, int S>
  struct Unscaled {
    View<T, N, S, dim> attention, mlp;
    static constexpr void visit(auto&& f, auto&... t) {
      f("attention", t.attention...);
      f("mlp", t.mlp...);
    }
  };

  template <class T>
  struct Parameters {
    std::conditional_t<scales, LayerScale<T>, Nothing> scale;
    typename Norm::template Parameters<T> norm1;
    typename Attention::template Parameters<T> attn;
    typename Norm::template Parameters<T> norm2;
    typename Mlp::template Parameters<T> mlp;
    static constexpr void visit(auto&& f, auto&... p) {
      constexpr bool fairseq = C.names == BlockNames::fairseq;
      f(fairseq ? "self_attn_layer_norm" : "norm1", p.norm1...);
      f(fairseq ? "self_attn" : "attn", p.attn...);
      f(fairseq ? "final_layer_norm" : "norm2", p.norm2...);
      if constexpr (C.names == BlockNames::beit_sequential) {
        f("mlp.0", p.mlp.fc1...);
        f("mlp.2", p.mlp.fc2...);
      } else {
        f(fairseq ? "" : "mlp", p.mlp...);
      }
      f("", p.scale...);
    }
  };

  /// Kept from forward to backward. (The input is kept by whoever calls.)
  template <class T, int N, int S>
  struct Tape {
    std::conditional_t<post_norm, View<T, 1>, View<T, N, S, dim>> attention_input;  // pre-norm: norm1(x)
    typename Attention::template Tape<T, N, S> attn;
    View<T, N, S, dim> attended;   // x + attention branch
    View<T, N, S, dim> mlp_input;  // norm1(attended), or norm2(attended) if pre-norm
    typename Mlp::template Tape<T, N, S> mlp;
    std::conditional_t<post_norm, View<T, N, S, dim>, View<T, 1>> summed;  // post-norm: mlp_input + MLP branch
    View<T, N, S, kept_numbers<T>(2)> stats1, stats2;
    std::conditional_t<scales, Unscaled<T, N, S>, Nothing> unscaled;
    static constexpr void visit(auto&& f, auto&... t) {
      f("unscaled", t.unscaled...);
      f("attention_input", t.attention_input...);
      f("attn", t.attn...);
      f("attended", t.attended...);
      f("mlp_input", t.mlp_input...);
      f("mlp", t.mlp...);
      f("summed", t.summed...);
      f("stats1", t.stats1...);
      f("stats2", t.stats2...);
    }
  };

  template <class T, int N, int S>
  using Scratch = BlockScratch<T, N, S, dim, C.mlp_dim>;

  static constexpr double flops(int sequence) { return Attention::flops(sequence) + Mlp::flops(sequence); }

  /// x (N, S, dim) -> y (N, S, dim). Returns the layer result before residual and norm: the MLP's output, in scratch.
  template <class P, class T, int N, int S>
  static View<const T, N, S, dim> forward(const P& pass, const Parameters<const T>& p, int layer, double drop_path_rate,
                                          View<const T, N, S, dim> x, View<T, N, S, dim> y, const Tape<T, N, S>& tape,
                                          const Scratch<T, N, S>& scratch, const AttentionExtras<T>& extras) {
    auto& d = pass.device;
    constexpr int rows = N * S;
    constexpr std::size_t size = x.size;
    if constexpr (post_norm) {
      Attention::template forward<P, T, N, S>(pass, p.attn, layer, x, scratch.branch, tape.attn, extras);
      path(pass, Site::drop_path_attention, layer, drop_path_rate, N, S, scratch.branch.data, scratch.branch.data);
      Norm::forward_sum(d, p.norm1, rows, norm_eps, x.data, scratch.branch.data, tape.attended.data,
                        tape.mlp_input.data, tape.stats1.data);
    } else {
      Norm::forward(d, p.norm1, rows, norm_eps, x.data, tape.attention_input.data, tape.stats1.data);
      Attention::template forward<P, T, N, S>(pass, p.attn, layer, tape.attention_input, scratch.branch, tape.attn,
                                              extras);
      if constexpr (scales) {
        device::copy(d, size, scratch.branch.data, tape.unscaled.attention.data);
        device::scale_channels<dim>(d, rows, scratch.branch.data, p.scale.gamma_1.data, scratch.branch.data);
      }
      path(pass, Site::drop_path_attention, layer, drop_path_rate, N, S, scratch.branch.data, scratch.branch.data);
      Norm::forward_sum(d, p.norm2, rows, norm_eps, x.data, scratch.branch.data, tape.attended.data,
                        tape.mlp_input.data, tape.stats2.data);
    }
    Mlp::template forward<P, T, N, S>(pass, p.mlp, layer, tape.mlp_input, scratch.branch, tape.mlp,
                                            scratch.hidden);
    if constexpr (scales) {
      device::copy(d, size, scratch.branch.data, tape.unscaled.mlp.data);
      device::scale_channels<dim>(d, rows, scratch.branch.data, p.scale.gamma_2.data, scratch.branch.data);
    }
    const T* branch = scratch.branch.data;
    if constexpr (P::training && (C.post_mlp_drop || C.drop_path)) {
      const auto post =
          pass.draws.at(Site::post_mlp_dropout, static_cast<std::uint32_t>(layer), pass.rates.post_mlp_drop);
      if constexpr (C.post_mlp_drop) device::dropout(d, N, S * dim, post, branch, scratch.dropped.data);
      else device::copy(d, size, branch, scratch.dropped.data);
      path(pass, Site::drop_path_mlp, layer, drop_path_rate, N, S, scratch.dropped.data, scratch.dropped.data);
      branch = scratch.dropped.data;
    }
    if constexpr (C.order == NormOrder::post) {
      Norm::forward_sum(d, p.norm2, rows, norm_eps, tape.mlp_input.data, branch, tape.summed.data, y.data,
                        tape.stats2.data);
    } else if constexpr (C.order == NormOrder::pre_fairseq) {
      device::add(d, size, scratch.branch.data, branch, y.data);
    } else {
      device::add(d, size, tape.attended.data, branch, y.data);
    }
    return scratch.branch;
  }

  /// dy is destroyed, dx overwritten (it may not be dy), parameter gradients accumulated; dbias (N, H, S, S) receives
  /// the gradient of the attention bias, unless null.
  template <class P, class T, int N, int S>
  static void backward(const P& pass, const Parameters<const T>& p, int layer, double drop_path_rate,
                       View<const T, N, S, dim> x, View<T, N, S, dim> dy, View<T, N, S, dim> dx,
                       const Parameters<T>& gradient, const Tape<T, N, S>& tape, const Scratch<T, N, S>& scratch,
                       const AttentionExtras<T>& extras, T* dbias) {
    auto& d = pass.device;
    constexpr int rows = N * S;
    constexpr std::size_t size = x.size;
    // d(branch of the MLP) into scratch.branch, what flows around it into dx. Without dropout they are the same, and the
    // MLP's backward reads the former to the end before it adds to the latter.
    constexpr bool altered = P::training && (C.drop_path || C.post_mlp_drop || C.activation_dropout);
    View<T, N, S, dim> dbranch = scratch.branch;
    if constexpr (C.order == NormOrder::post) {
      Norm::backward(d, p.norm2, rows, tape.summed.data, tape.stats2.data, dy.data, dx.data, gradient.norm2);
      if constexpr (altered) device::copy(d, size, dx.data, scratch.branch.data);
      else dbranch = dx;
    } else {
      device::copy(d, size, dy.data, scratch.branch.data);
    }
    path(pass, Site::drop_path_mlp, layer, drop_path_rate, N, S, scratch.branch.data, scratch.branch.data);
    if constexpr (P::training && C.post_mlp_drop)
      device::dropout(d, N, S * dim,
                      pass.draws.at(Site::post_mlp_dropout, static_cast<std::uint32_t>(layer),
                                    pass.rates.post_mlp_drop),
                      scratch.branch.data, scratch.branch.data);
    if constexpr (C.order == NormOrder::pre_fairseq)
      device::add(d, size, scratch.branch.data, dy.data, scratch.branch.data);
    if constexpr (scales)
      unscale(d, p.scale.gamma_2, tape.unscaled.mlp, scratch.branch, gradient.scale.gamma_2);
    if constexpr (C.order == NormOrder::post) {
      Mlp::template backward<Grad::accumulate, P, T, N, S>(pass, p.mlp, layer, tape.mlp_input, dbranch, dx,
                                                           gradient.mlp, tape.mlp, scratch.hidden,
                                                           scratch.dhidden);
      Norm::backward(d, p.norm1, rows, tape.attended.data, tape.stats1.data, dx.data, dx.data, gradient.norm1);
    } else {
      Mlp::template backward<Grad::overwrite, P, T, N, S>(pass, p.mlp, layer, tape.mlp_input, scratch.branch, dx,
                                                          gradient.mlp, tape.mlp, scratch.hidden,
                                                           scratch.dhidden);
      Norm::backward(d, p.norm2, rows, tape.attended.data, tape.stats2.data, dx.data, dx.data, gradient.norm2);
      if constexpr (C.order == NormOrder::pre) device::add(d, size, dx.data, dy.data, dx.data);
    }
    // dx is now d(attended): it flows into the attention branch and around it.
    dbranch = scratch.branch;
    if constexpr (post_norm && !(P::training && (C.drop_path || C.encoder_dropout))) dbranch = dx;
    else device::copy(d, size, dx.data, scratch.branch.data);
    path(pass, Site::drop_path_attention, layer, drop_path_rate, N, S, scratch.branch.data, scratch.branch.data);
    if constexpr (scales)
      unscale(d, p.scale.gamma_1, tape.unscaled.attention, scratch.branch, gradient.scale.gamma_1);
    if constexpr (post_norm) {
      Attention::template backward<Grad::accumulate, P, T, N, S>(pass, p.attn, layer, x, dbranch, dx,
                                                                 gradient.attn, tape.attn, extras, dbias, scratch.qkv,
                                                                 scratch.mixed);
    } else {
      Attention::template backward<Grad::overwrite, P, T, N, S>(pass, p.attn, layer, tape.attention_input,
                                                                scratch.branch, scratch.dropped, gradient.attn,
                                                                tape.attn, extras, dbias, scratch.qkv, scratch.mixed);
      Norm::backward(d, p.norm1, rows, x.data, tape.stats1.data, scratch.dropped.data, scratch.dropped.data,
                     gradient.norm1);
      device::add(d, size, dx.data, scratch.dropped.data, dx.data);
    }
  }

 private:
  /// Backward of y = gamma x: dy becomes dx.
  template <class Dev, class T, int N, int S>
  static void unscale(Dev& d, View<const T, dim> gamma, View<T, N, S, dim> x, View<T, N, S, dim> dy,
                      View<T, dim> dgamma) {
    device::channel_dots<dim>(d, N * S, dy.data, x.data, dgamma.data);
    device::scale_channels<dim>(d, N * S, dy.data, gamma.data, dy.data);
  }
  template <class P, class T>
  static void path(const P& pass, Site site, int layer, double rate, int rows, int sequence, const T* x, T* y) {
    if constexpr (P::training && C.drop_path)
      device::drop_path(pass.device, rows, sequence * dim,
                        pass.draws.at(site, static_cast<std::uint32_t>(layer), rate), x, y);
  }
};

}  // namespace data2vec::inline v0
