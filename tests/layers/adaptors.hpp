// SPDX-License-Identifier: MIT
// Library layers in the form that `check_gradients` takes: fixed numbers of rows, dropouts at fixed draws.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cstdint>

#include <data2vec/decoder/decoder.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/layers/check_gradients.hpp>
#include <data2vec/layers/stack.hpp>

namespace data2vec::testing {

template <class Layer>
void expect_gradients(const GradientOptions& options = {}) {
  const GradientReport report = check_gradients<Layer, Cpu>(options);
  INFO(report.text());
  CHECK(report.passed);
}

inline constexpr std::array<std::uint32_t, 8> sample_ids{3, 141, 59, 26, 535, 8, 97, 93};

/// Rates at which some of a few elements are dropped and some are kept.
inline constexpr DropoutRates some_rates{.encoder_dropout = 0.2,
                                         .post_mlp_drop = 0.25,
                                         .attention_dropout = 0.3,
                                         .activation_dropout = 0.15,
                                         .dropout_input = 0.1,
                                         .layerdrop = 0.4,
                                         .start_drop_path_rate = 0.2,
                                         .end_drop_path_rate = 0.5,
                                         .prenet_dropout = 0.2,
                                         .prenet_layerdrop = 0.3,
                                         .prenet_start_drop_path_rate = 0.3,
                                         .prenet_end_drop_path_rate = 0.1,
                                         .decoder_input_dropout = 0.2,
                                         .shared_decoder_input_dropout = 0.3,
                                         .embedding_dropout = 0.25};

template <bool training>
Pass<Cpu, training> fixed_pass(Cpu& d, int masks = 1, const DropoutRates& rates = some_rates) {
  return {d, {.seed = 7, .update = 3, .sample_ids = sample_ids.data(), .masks = masks}, rates};
}

template <class T>
using NoTape = Nothing;

/// y = x W^T + b; with a residual, y = x W^T + b + x, whose gradient is accumulated onto that of the residual.
template <int In_, int Out_, int rows, bool residual = false>
struct LinearLayer {
  using Layer = Linear<In_, Out_>;
  static constexpr int input_size = rows * In_, output_size = rows * Out_;
  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  template <class T>
  using Tape = NoTape<T>;

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y, const Nothing&) {
    Layer::forward(d, p, rows, x, y);
    if constexpr (residual) device::add(d, output_size, y, x, y);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Nothing&) {
    if constexpr (residual) {
      device::copy(d, input_size, dy, dx);
      Layer::template backward<Grad::accumulate>(d, p, rows, x, dy, dx, gradient);
    } else {
      Layer::backward(d, p, rows, x, dy, dx, gradient);
    }
  }
};

template <int C, int rows, bool affine, bool in_place>
struct NormLayer {
  using Layer = LayerNorm<C, affine>;
  static constexpr double eps = 1e-5;
  static constexpr int input_size = rows * C, output_size = rows * C;
  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  template <class T>
  struct Tape {
    View<T, rows, 2> stats;
    static constexpr void visit(auto&& f, auto&... t) { f("stats", t.stats...); }
  };

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    if constexpr (in_place) device::copy(d, input_size, x, y);
    Layer::forward(d, p, rows, eps, in_place ? y : x, y, tape.stats.data);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    if constexpr (in_place) device::copy(d, input_size, dy, dx);
    Layer::backward(d, p, rows, x, tape.stats.data, in_place ? dx : dy, dx, gradient);
  }
};

/// What attention is checked with.
struct AttentionSetting {
  bool training = false, attention_dropout = false, encoder_dropout = false;
  bool bias = false;    ///< a bias (N, H, S, S) as a parameter
  bool hidden = false;  ///< hidden keys: some of the first row, all of the second
  bool residual = false;
};

template <int dim, int heads, int N, int S, AttentionSetting A>
struct AttentionLayer {
  using Layer = SelfAttention<dim, heads, A.attention_dropout, A.encoder_dropout>;
  static constexpr int input_size = N * S * dim, output_size = input_size;
  static constexpr auto hidden = [] {
    std::array<bool, static_cast<std::size_t>(N) * S> keys{};
    for (int i = 0; i < N * S; ++i) keys[static_cast<std::size_t>(i)] = i / S == 1 || i % 4 == 2;
    return keys;
  }();

  template <class T>
  struct Bias {
    View<T, N, heads, S, S> values;
    static constexpr void visit(auto&& f, auto&... p) { f("", p.values...); }
  };
  template <class T>
  struct Parameters {
    typename Layer::template Parameters<T> attn;
    std::conditional_t<A.bias, Bias<T>, Nothing> bias;
    static constexpr void visit(auto&& f, auto&... p) {
      f("attn", p.attn...);
      f("bias", p.bias...);
    }
  };
  template <class T>
  struct Tape {
    typename Layer::template Tape<T, N, S> attn;
    View<T, N, heads, S, S> dbias;
    View<T, N, S, 3 * dim> dqkv;
    View<T, N, S, dim> dmixed;
    static constexpr void visit(auto&& f, auto&... t) {
      f("attn", t.attn...);
      f("dbias", t.dbias...);
      f("dqkv", t.dqkv...);
      f("dmixed", t.dmixed...);
    }
  };

  static AttentionExtras<double> extras(const Parameters<const double>& p) {
    AttentionExtras<double> e;
    if constexpr (A.bias) e.bias = p.bias.values.data;
    if constexpr (A.hidden) e.key_hidden = hidden.data();
    return e;
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    Layer::forward(fixed_pass<A.training>(d), p.attn, 2, View<const double, N, S, dim>{x}, View<double, N, S, dim>{y},
                   tape.attn, extras(p));
    if constexpr (A.residual) device::add(d, output_size, x, y, y);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    if constexpr (A.residual) device::copy(d, input_size, dy, dx);
    Layer::template backward<A.residual ? Grad::accumulate : Grad::overwrite>(
        fixed_pass<A.training>(d), p.attn, 2, View<const double, N, S, dim>{x}, View<double, N, S, dim>{dy},
        View<double, N, S, dim>{dx}, gradient.attn, tape.attn, extras(p), A.bias ? tape.dbias.data : nullptr, tape.dqkv,
        tape.dmixed);
    if constexpr (A.bias)
      device::add(d, tape.dbias.size, tape.dbias.data, gradient.bias.values.data, gradient.bias.values.data);
  }
};

template <int dim, int hidden_dim, int N, int S, bool training, bool dropout>
struct FeedForwardLayer {
  using Layer = FeedForward<dim, hidden_dim, dropout>;
  static constexpr int input_size = N * S * dim, output_size = input_size;
  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  template <class T>
  struct Tape {
    typename Layer::template Tape<T, N, S> mlp;
    View<T, N, S, hidden_dim> hidden, dhidden;
    static constexpr void visit(auto&& f, auto&... t) {
      f("mlp", t.mlp...);
      f("hidden", t.hidden...);
      f("dhidden", t.dhidden...);
    }
  };

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    Layer::forward(fixed_pass<training>(d), p, 1, View<const double, N, S, dim>{x}, View<double, N, S, dim>{y},
                   tape.mlp, tape.hidden);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    Layer::template backward<Grad::overwrite>(fixed_pass<training>(d), p, 1, View<const double, N, S, dim>{x},
                                              View<double, N, S, dim>{dy}, View<double, N, S, dim>{dx}, gradient,
                                              tape.mlp, tape.hidden, tape.dhidden);
  }
};

template <BlockConfig C, int N, int S, bool training>
struct BlockLayer {
  using Layer = Block<C>;
  static constexpr int dim = C.dim, input_size = N * S * dim, output_size = input_size, layer = 1;
  static constexpr double drop_path_rate = 0.4;
  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  template <class T>
  struct Tape {
    typename Layer::template Tape<T, N, S> block;
    typename Layer::template Scratch<T, N, S> scratch;
    static constexpr void visit(auto&& f, auto&... t) {
      f("block", t.block...);
      f("scratch", t.scratch...);
    }
  };

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    Layer::forward(fixed_pass<training>(d), p, layer, drop_path_rate, View<const double, N, S, dim>{x},
                   View<double, N, S, dim>{y}, tape.block, tape.scratch, {});
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    Layer::backward(fixed_pass<training>(d), p, layer, drop_path_rate, View<const double, N, S, dim>{x},
                    View<double, N, S, dim>{dy}, View<double, N, S, dim>{dx}, gradient, tape.block, tape.scratch, {},
                    static_cast<double*>(nullptr));
  }
};

template <BlockConfig C, int depth, int N, int S, bool training, bool layerdrop = false>
struct StackLayer {
  using Layer = Stack<C, depth, layerdrop>;
  static constexpr int dim = C.dim, input_size = N * S * dim, output_size = input_size;
  static constexpr StackRates rates{1, some_rates.layerdrop, some_rates.start_drop_path_rate,
                                    some_rates.end_drop_path_rate};
  template <class T>
  struct Parameters {
    typename Layer::template Parameters<T> blocks;
    static constexpr void visit(auto&& f, auto&... p) { f("blocks", p.blocks...); }
  };
  template <class T>
  struct Tape {
    typename Layer::template Tape<T, N, S> blocks;
    typename Layer::template Scratch<T, N, S> scratch;
    View<T, N, S, dim> other;
    static constexpr void visit(auto&& f, auto&... t) {
      f("blocks", t.blocks...);
      f("scratch", t.scratch...);
      f("other", t.other...);
    }
  };

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    NoBias bias;
    const auto out = Layer::forward(fixed_pass<training>(d), p.blocks, rates, View<const double, N, S, dim>{x},
                                    tape.blocks, tape.scratch, AttentionExtras<double>{}, bias, [](auto&&...) {});
    device::copy(d, output_size, out.data, y);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    NoBias bias;
    const auto din = Layer::backward(fixed_pass<training>(d), p.blocks, rates, View<const double, N, S, dim>{x},
                                     View<double, N, S, dim>{dy}, tape.other, gradient.blocks, tape.blocks,
                                     tape.scratch, AttentionExtras<double>{}, bias);
    device::copy(d, input_size, din.data, dx);
  }
};

/// A decoder's network on N rows, of whose tokens every third is visible, starting at another place in each row.
template <class Dec, DecoderShape shape, int N>
struct DecoderLayer {
  using Layer = typename Dec::template Network<shape>;
  static constexpr int D = shape.dim, T_ = shape.tokens(), V = shape.visible, R = shape.masked;
  static_assert(T_ % 3 == 0 && V == T_ / 3 && R == T_ - V);
  static constexpr int seen = Dec::sees_all ? T_ : V;
  static constexpr int input_size = N * seen * D, output_size = N * R * D;
  struct Indices {
    std::array<int, static_cast<std::size_t>(N * V)> visible{};
    std::array<int, static_cast<std::size_t>(N * R)> masked{}, masked_rows{};
  };
  static constexpr Indices indices = [] {
    Indices i;
    for (int n = 0; n < N; ++n)
      for (int t = 0, v = 0, r = 0; t < T_; ++t) {
        if ((t + n) % 3 == 0) {
          i.visible[static_cast<std::size_t>(n * V + v++)] = t;
          continue;
        }
        i.masked[static_cast<std::size_t>(n * R + r)] = t;
        i.masked_rows[static_cast<std::size_t>(n * R + r++)] = n * T_ + t;
      }
    return i;
  }();
  /// Some numbers: positions have no gradient.
  static constexpr auto positions = [] {
    std::array<double, static_cast<std::size_t>(T_ * D)> p{};
    for (std::size_t i = 0; i < p.size(); ++i) p[i] = static_cast<double>(i * 37 % 101) / 50 - 1;
    return p;
  }();

  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  template <class T>
  using Tape = typename Layer::template Tape<T, N>;

  static DecoderInput<double> input(const double* x) {
    return {x, positions.data(), indices.visible.data(), indices.masked.data(), indices.masked_rows.data()};
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    Layer::forward(fixed_pass<true>(d), p, input(x), View<double, N, R, D>{y}, tape);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    Layer::backward(fixed_pass<true>(d), p, input(x), View<double, N, R, D>{dy}, View<double, N, seen, D>{dx}, gradient,
                    tape);
  }
};

}  // namespace data2vec::testing
