// SPDX-License-Identifier: MIT
// The encoder of a branch: positions, extra tokens, prenet, shared blocks. One code runs the student on visible tokens,
// the teacher on all tokens, and feature extraction.
#pragma once

#include <data2vec/layers/position.hpp>
#include <data2vec/layers/stack.hpp>
#include <data2vec/modality/modality.hpp>
#include <data2vec/model/alibi.hpp>
#include <data2vec/model/relative_bias.hpp>
#include <data2vec/model/row_index.hpp>

namespace data2vec::inline v0 {

constexpr NormOrder norm_order(const Config& c) {
  return !c.layer_norm_first ? NormOrder::post : c.pre_norm_mlp_residual ? NormOrder::pre : NormOrder::pre_fairseq;
}

/// The blocks of a model, with stochastic depth if the stack's rates ask for it.
constexpr BlockConfig block_config(const Config& c, bool drop_path) {
  return {.dim = c.embed_dim, .num_heads = c.num_heads, .mlp_dim = c.mlp_dim(), .norm_eps = c.norm_eps,
          .norm_affine = c.norm_affine, .order = norm_order(c), .attention_dropout = c.attention_dropout > 0,
          .encoder_dropout = c.encoder_dropout > 0, .activation_dropout = c.activation_dropout > 0,
          .post_mlp_drop = c.post_mlp_drop > 0, .drop_path = drop_path,
          .names = c.block_names, .layer_scale = c.layer_scale};
}

namespace detail {

/// What a modality may leave out: `RelativePositions<D>`, positions computed from all tokens; a local encoder with
/// names of its own (`prefix`), one that applies `local_grad_mult` to a part of itself, and one that reads lengths.
template <class M, int D>
struct RelativePositionsOf {
  static constexpr bool used = false;
  struct Layer {
    static constexpr double flops_per_row = 0;
    template <class T>
    using Parameters = Nothing;
    template <class T, int N>
    using Tape = Nothing;
    template <class T, int N>
    using Inference = Nothing;
  };
};
template <class M, int D>
  requires requires { typename M::template RelativePositions<D>; }
struct RelativePositionsOf<M, D> {
  static constexpr bool used = true;
  using Layer = typename M::template RelativePositions<D>;
};
template <class Local>
inline constexpr const char* local_prefix = [] {
  if constexpr (requires { Local::prefix; }) return Local::prefix;
  else return "local_encoder";
}();
/// The norm in front of the prenet is there without a prenet too, unless the modality says `norm_needs_prenet`.
template <class M>
inline constexpr bool norm_needs_prenet = requires { M::norm_needs_prenet; };
template <class Local>
inline constexpr bool reads_lengths = requires { Local::reads_lengths; };
template <class Local>
inline constexpr bool applies_grad_mult = requires { Local::applies_grad_mult; };

}  // namespace detail

/// `always_drop_path` keeps stochastic depth in the code whatever the configuration says: for fine-tuning.
template <Config C, class M, bool always_drop_path = false>
struct Encoder {
  static constexpr int D = C.embed_dim, E = M::config.num_extra_tokens, T_ = M::grid.size();
  static constexpr int prenet_depth = M::config.prenet_depth;
  static constexpr double norm_eps = C.norm_eps;  // a name of its own: clang misreads C's doubles at run time
  static constexpr bool post_norm = !C.layer_norm_first;
  static constexpr bool ends_in_norm = !post_norm && C.final_norm;
  static constexpr bool context_norm = post_norm && (prenet_depth > 0 || !detail::norm_needs_prenet<M>);
  static constexpr bool drops_prenet_input = M::config.prenet_dropout > 0;
  static constexpr bool drops_input = C.dropout_input > 0;
  static constexpr bool padded = M::config.padding != Padding::none, exact = M::config.padding == Padding::exact;
  static constexpr bool trains_positions = M::fixed_positions && C.train_positions;
  static constexpr int extra_positions = C.extra_token_positions ? E : 0;
  using Local = typename M::template LocalEncoder<D>;
  static constexpr int full_length = M::sample_size;
  /// Tokens that the first `length` numbers of a sample give.
  static constexpr int valid_tokens(int length) {
    if constexpr (padded) return M::valid_tokens(length);
    else return T_;
  }
  static constexpr bool relative = detail::RelativePositionsOf<M, D>::used;
  using Relative = typename detail::RelativePositionsOf<M, D>::Layer;
  using Rows = RowIndexing<T_, E, relative, M::config.padding>;
  template <int N, int V>
  using Index = typename Rows::template Index<N, V>;
  template <class Rates>
  static constexpr bool drop_path(const Rates& r) {
    return always_drop_path || r.start_drop_path_rate > 0 || r.end_drop_path_rate > 0;
  }
  using Prenet = Stack<block_config(C, drop_path(M::config)), prenet_depth, (M::config.prenet_layerdrop > 0)>;
  using Blocks = Stack<block_config(C, drop_path(C)), C.depth, (C.layerdrop > 0)>;
  using Norm = LayerNorm<D, C.norm_affine>;
  using Bias = std::conditional_t<C.relative_position_bias, RelativeBias<M::grid, E, C.num_heads>,
                                  Alibi<M::config, M::grid, C.num_heads, prenet_depth + C.depth>>;

  /// Of a row of `sequence` tokens, forward; relative positions are computed from all tokens, whatever is visible.
  static constexpr double flops(int sequence) {
    return Prenet::flops(sequence) + Blocks::flops(sequence) + Relative::flops_per_row;
  }

  template <class T>
  struct ExtraTokens {
    View<T, 1, E, D> tokens;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"", init::normal(1, M::config.init_extra_token_zero ? 0 : -1)}, p.tokens...);
    }
  };
  template <class T>
  struct Positions {
    View<T, 1, extra_positions + T_, D> positions;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"positions", init::fixed(), C.train_positions}, p.positions...);
    }
    T* of_tokens() const { return positions.data + extra_positions * D; }  // (T, D)
  };
  template <class T>
  struct Context {
    std::conditional_t<context_norm, typename Norm::template Parameters<T>, Nothing> norm;
    typename Prenet::template Parameters<T> blocks;
    static constexpr void visit(auto&& f, auto&... p) {
      f("norm", p.norm...);
      f("blocks", p.blocks...);
    }
  };
  /// What belongs to the modality. `local` tells the local encoder from the rest: the teacher may share it.
  template <class T>
  struct FrontEnd {
    std::conditional_t<(E > 0), ExtraTokens<T>, Nothing> extra_tokens;
    typename Bias::template Parameters<T> alibi;
    typename Local::template Parameters<T> local_encoder;
    std::conditional_t<M::fixed_positions, Positions<T>, Nothing> fixed_positional_encoder;
    typename Relative::template Parameters<T> relative_positional_encoder;
    Context<T> context_encoder;
    static constexpr void visit(auto&& f, auto&... p) {
      f("extra_tokens", p.extra_tokens...);
      f("", p.alibi...);
      f(detail::local_prefix<Local>, p.local_encoder...);
      f("fixed_positional_encoder", p.fixed_positional_encoder...);
      f("relative_positional_encoder", p.relative_positional_encoder...);
      f("context_encoder", p.context_encoder...);
    }
  };
  template <class T>
  using FinalNorm = std::conditional_t<ends_in_norm, typename Norm::template Parameters<T>, Nothing>;
  template <class T>
  using Shared = typename Blocks::template Parameters<T>;

  /// Relative positions of a pass: the tokens that they are computed from, hidden ones zero.
  template <class T, int N, bool training>
  struct RelativeMemory {
    View<T, N, T_, D> source;
    std::conditional_t<training, typename Relative::template Tape<T, N>, typename Relative::template Inference<T, N>>
        positions;
    View<T, training ? N : 1, training ? T_ : 1, training ? D : 1> dpositions, dsource;
    static constexpr void visit(auto&& f, auto&... m) {
      f("source", m.source...);
      f("positions", m.positions...);
      f("dpositions", m.dpositions...);
      f("dsource", m.dsource...);
    }
  };

  /// Values of a pass over B samples with M masks each and V tokens kept in each row; with what backward needs if
  /// `training`.
  template <class T, int B, int Masks, int V, bool training>
  struct Memory {
    static constexpr int N = B * Masks, S = E + V;
    template <class Tape, class Inference>
    using Kept = std::conditional_t<training, Tape, Inference>;
    View<T, B * T_ + E, D> pool;  // tokens with positions, then the extra tokens
    std::conditional_t<relative, RelativeMemory<T, N, training>, Nothing> relative_positions;
    View<T, N, S, D> input, normed, output;
    View<T, N, S, kept_numbers<T>(2)> stats, output_stats;
    Kept<typename Prenet::template Tape<T, N, S>, typename Prenet::template Inference<T, N, S>> prenet;
    Kept<typename Blocks::template Tape<T, N, S>, typename Blocks::template Inference<T, N, S>> blocks;
    typename Blocks::template Scratch<T, N, S> scratch;
    typename Bias::template Memory<T, N, V> bias;
    View<T, training ? N : 1, training ? S : 1, training ? D : 1> dother;
    View<T, training ? B * T_ + E : 1, training ? D : 1> dpool;
    static constexpr void visit(auto&& f, auto&... m) {
      f("pool", m.pool...);
      f("relative_positions", m.relative_positions...);
      f("input", m.input...);
      f("normed", m.normed...);
      f("output", m.output...);
      f("stats", m.stats...);
      f("output_stats", m.output_stats...);
      f("prenet", m.prenet...);
      f("blocks", m.blocks...);
      f("scratch", m.scratch...);
      f("bias", m.bias...);
      f("dother", m.dother...);
      f("dpool", m.dpool...);
    }
  };

  template <class T, int N, int S>
  struct Output {
    View<const T, N, S, D> prenet, encoder;  ///< after the prenet; after the blocks and the final norm
  };

  static StackRates prenet_rates(const DropoutRates& r) {
    return {0, r.prenet_layerdrop, r.prenet_start_drop_path_rate, r.prenet_end_drop_path_rate};
  }
  static StackRates block_rates(const DropoutRates& r) {
    return {prenet_depth, r.layerdrop, r.start_drop_path_rate, r.end_drop_path_rate};
  }

  /// Samples -> tokens, by the local encoder; `lengths` (B) says how much of each sample is no padding, null: all.
  template <class Dev, class Samples, class T, int B>
  static void tokens(Dev& d, const typename Local::template Parameters<const T>& p, const Samples& samples,
                     View<T, B, T_, D> out, const typename Local::template Tape<T, B>& tape, const int* lengths) {
    if constexpr (detail::reads_lengths<Local>) Local::forward(d, p, samples, out, tape, lengths);
    else Local::forward(d, p, samples, out, tape);
  }

  /// Tokens of the local encoder (B, T, D) -> features of the rows (N, E + V, D). `tap(i, mlp_output, block_output)` is
  /// called after each shared block. What comes before the shared blocks runs under `early_pass`.
  template <class P0, class P, class T, int B, int Masks, int V, bool training, class Tap>
  static Output<T, B * Masks, E + V> forward(const P0& early_pass, const P& pass, const FrontEnd<const T>& front,
                                             const Shared<const T>& shared, const FinalNorm<const T>& norm,
                                             View<const T, B, T_, D> local, const Index<B * Masks, V>& index,
                                             const Memory<T, B, Masks, V, training>& m, Tap&& tap) {
    constexpr int N = B * Masks, S = E + V;
    auto& d = pass.device;
    if constexpr (M::fixed_positions)
      device::add_repeated(d, B, T_ * D, local.data, front.fixed_positional_encoder.of_tokens(), m.pool.data);
    else device::copy(d, local.size, local.data, m.pool.data);                                    // (B, T, D)
    if constexpr (E > 0)
      device::copy(d, static_cast<std::size_t>(E) * D, front.extra_tokens.tokens.data, m.pool[B * T_].data);
    if constexpr (extra_positions > 0)
      device::add(d, static_cast<std::size_t>(E) * D, m.pool[B * T_].data,
                  front.fixed_positional_encoder.positions.data, m.pool[B * T_].data);
    device::gather_rows<D>(d, N * S, m.pool.data, index.rows.data, m.input.data);                 // (N, S, D)
    if constexpr (relative) {
      const auto& r = m.relative_positions;
      device::gather_rows<D>(d, N * T_, m.pool.data, index.positions.source.data, r.source.data); // (N, T, D)
      const auto positions =
          Relative::forward(d, front.relative_positional_encoder, View<const T, N, T_, D>(r.source), valid_of(index),
                            r.positions);
      device::gather_rows<D>(d, N * S, positions.data, index.positions.rows.data, m.normed.data);
      device::add(d, m.input.size, m.input.data, m.normed.data, m.input.data);
    }
    View<T, N, S, D> x = m.input;
    if constexpr (context_norm) {
      Norm::forward(d, front.context_encoder.norm, N * S, norm_eps, m.input.data, m.normed.data, m.stats.data);
      x = m.normed;
    }
    drop<drops_prenet_input, N, S>(early_pass, Site::prenet_dropout, early_pass.rates.prenet_dropout, x.data);
    auto bias = rows_bias<N, V>(d, front, m, index, static_cast<const FrontEnd<T>*>(nullptr));
    bias.gather();
    const auto early =
        Prenet::template forward<P0, T, N, S>(early_pass, front.context_encoder.blocks, prenet_rates(early_pass.rates),
                                              x, m.prenet, m.scratch, extras<T>(index), bias, [](auto&&...) {});
    // The prenet's output is no longer read by anything: dropout on it happens in place.
    drop<drops_input, N, S>(pass, Site::encoder_input_dropout, pass.rates.dropout_input, const_cast<T*>(early.data));
    bias.first = prenet_depth;
    auto y = Blocks::template forward<P, T, N, S>(pass, shared, block_rates(pass.rates), early, m.blocks, m.scratch,
                                                  extras<T>(index), bias, tap);
    if constexpr (ends_in_norm) {
      Norm::forward(d, norm, N * S, norm_eps, y.data, m.output.data, m.output_stats.data);
      y = m.output;
    }
    return {early, y};
  }

  /// dy (N, E + V, D), destroyed, is the gradient of the encoder's output. Parameter gradients are accumulated; dlocal
  /// (B, T, D) is added to if there is `more` than these rows' gradient in it, else overwritten.
  template <class P, class T, int B, int Masks, int V>
  static void backward(const P& pass, const FrontEnd<const T>& front, const Shared<const T>& shared,
                       const FinalNorm<const T>& norm, const Index<B * Masks, V>& index,
                       View<T, B * Masks, E + V, D> dy, View<T, B, T_, D> dlocal, const FrontEnd<T>& dfront,
                       const Shared<T>& dshared, const FinalNorm<T>& dnorm, const Memory<T, B, Masks, V, true>& m,
                       bool more = false) {
    constexpr int N = B * Masks, S = E + V;
    auto& d = pass.device;
    const View<const T, N, S, D> entry = context_norm ? m.normed : m.input;
    const View<const T, N, S, D> early = last_state(m.prenet, entry);
    if constexpr (ends_in_norm)
      Norm::backward(d, norm, N * S, last_state(m.blocks, early).data, m.output_stats.data, dy.data, dy.data, dnorm);
    auto bias = rows_bias<N, V>(d, front, m, index, &dfront);
    bias.gather();
    bias.first = prenet_depth;
    auto dx = Blocks::template backward<P, T, N, S>(pass, shared, block_rates(pass.rates), early, dy, m.dother, dshared,
                                                    m.blocks, m.scratch, extras<T>(index), bias);
    const auto other = [&] { return dx.data == dy.data ? m.dother : dy; };
    drop<drops_input, N, S>(pass, Site::encoder_input_dropout, pass.rates.dropout_input, dx.data);
    bias.first = 0;
    dx = Prenet::template backward<P, T, N, S>(pass, front.context_encoder.blocks, prenet_rates(pass.rates), entry, dx,
                                               other(), dfront.context_encoder.blocks, m.prenet, m.scratch,
                                               extras<T>(index), bias);
    bias.scatter();
    drop<drops_prenet_input, N, S>(pass, Site::prenet_dropout, pass.rates.prenet_dropout, dx.data);
    if constexpr (context_norm)
      Norm::backward(d, front.context_encoder.norm, N * S, m.input.data, m.stats.data, dx.data, dx.data,
                     dfront.context_encoder.norm);
    device::fill(d, m.dpool.size, 0, m.dpool.data);
    device::scatter_add_rows<D>(d, N * S, dx.data, index.rows.data, m.dpool.data);               // (B * T + E, D)
    if constexpr (relative) {
      const auto& r = m.relative_positions;
      device::fill(d, r.dpositions.size, 0, r.dpositions.data);
      device::scatter_add_rows<D>(d, N * S, dx.data, index.positions.rows.data, r.dpositions.data);
      Relative::backward(d, front.relative_positional_encoder, View<const T, N, T_, D>(r.source), valid_of(index),
                         r.dpositions, r.dsource, dfront.relative_positional_encoder, r.positions);
      device::scatter_add_rows<D>(d, N * T_, r.dsource.data, index.positions.source.data, m.dpool.data);
    }
    if constexpr (trains_positions) {
      const auto& dpositions = dfront.fixed_positional_encoder;
      for (int b = 0; b < B; ++b)
        device::add(d, static_cast<std::size_t>(T_) * D, dpositions.of_tokens(), m.dpool[b * T_].data,
                    dpositions.of_tokens());
      if constexpr (extra_positions > 0)
        device::add(d, static_cast<std::size_t>(E) * D, dpositions.positions.data, m.dpool[B * T_].data,
                    dpositions.positions.data);
    }
    if (more) device::add(d, dlocal.size, dlocal.data, m.dpool.data, dlocal.data);
    else device::copy(d, dlocal.size, m.dpool.data, dlocal.data);
    if constexpr (E > 0)
      device::add(d, static_cast<std::size_t>(E) * D, dfront.extra_tokens.tokens.data, m.dpool[B * T_].data,
                  dfront.extra_tokens.tokens.data);
  }

 private:
  /// Keys that padding hides.
  template <class T>
  static AttentionExtras<T> extras([[maybe_unused]] const auto& index) {
    if constexpr (padded) return {.key_hidden = index.padding.key_hidden()};
    else return {};
  }
  static const int* valid_of([[maybe_unused]] const auto& index) {
    if constexpr (padded) return index.padding.valid.data;
    else return nullptr;
  }
  template <int N, int V, class Dev, class T>
  static auto rows_bias(Dev& d, const FrontEnd<const T>& front, const auto& m, const Index<N, V>& index,
                        const FrontEnd<T>* gradient) {
    return typename Bias::template Rows<Dev, T, N, V>{d, front.alibi, m.bias, index.keep.data,
                                                      gradient ? &gradient->alibi : nullptr};
  }
  template <bool exists, int N, int S, class P, class T>
  static void drop(const P& pass, Site site, double rate, T* x) {
    if constexpr (P::training && exists) device::dropout(pass.device, N, S * D, pass.draws.at(site, 0, rate), x, x);
  }
  /// The output of a stack: its last state, or what went in if it has no blocks.
  template <class Tape, class X>
  static X last_state(const Tape& tape, X input) {
    if constexpr (std::tuple_size_v<decltype(tape.states)> > 0) return tape.states.back();
    else return input;
  }
};

}  // namespace data2vec::inline v0
