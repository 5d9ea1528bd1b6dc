// SPDX-License-Identifier: MIT
// Relative positions from convolutions along the sequence (wav2vec 2.0, section 2, in the deeper form of data2vec,
// section 3.2): each is followed by a norm without parameters and GELU; what comes out is added to the tokens.
#pragma once

#include <array>

#include <data2vec/core/check.hpp>
#include <data2vec/device/conv.hpp>
#include <data2vec/layers/conv_layer.hpp>
#include <data2vec/layers/norm.hpp>
#include <data2vec/layers/padding.hpp>

namespace data2vec::inline v0 {

/// `depth` grouped convolutions of T tokens of width D; `pre_norm`: a norm with scale and shift in front of them;
/// `padded`: tokens behind the valid ones stay zero (the exact rule of padding).
template <int D, int T_, int groups, int kernel, int depth, bool pre_norm, bool padded = false>
struct ConvPositions {
  static_assert(check::AtLeast<depth, 1>, "data2vec: SpeechConfig::conv_pos_depth must be at least 1");
  static_assert(check::GroupsDivideChannels<groups, D>,
                "data2vec: SpeechConfig::conv_pos_groups must divide Config::embed_dim");
  static constexpr double eps = 1e-5;
  static constexpr ConvShape shape{D, D, groups, 1, kernel, 1, T_};
  static constexpr auto layers = static_cast<std::size_t>(depth);
  using Norm = LayerNorm<D>;

  static constexpr double flops_per_row = 2.0 * T_ * D * (D / groups) * kernel * depth;

  template <class T>
  struct Convolutions {
    std::array<GroupedConvolution<T, D, D / groups, kernel>, layers> layer;
    static constexpr void visit(auto&& f, auto&... p) {
      for (int i = 0; i < depth; ++i) {
        const IndexName index(i + 1);
        f(Field(index.text), p.layer[static_cast<std::size_t>(i)]...);
      }
    }
  };
  template <class T>
  struct Parameters {
    std::conditional_t<pre_norm, typename Norm::template Parameters<T>, Nothing> norm;
    Convolutions<T> convolutions;
    static constexpr void visit(auto&& f, auto&... p) {
      f("0", p.norm...);
      f(pre_norm ? "1" : "", p.convolutions...);
    }
  };

  template <class T, int N>
  using Layer = ConvolvedLayer<T, N, T_, D>;
  template <class T, int N>
  struct Normed {
    View<T, N, T_, D> normed;
    View<T, N, T_, kept_numbers<T>(2)> stats;
    static constexpr void visit(auto&& f, auto&... t) {
      f("normed", t.normed...);
      f("stats", t.stats...);
    }
  };
  /// What backward needs.
  template <class T, int N>
  struct Tape {
    std::conditional_t<pre_norm, Normed<T, N>, Nothing> entry;
    std::array<Layer<T, N>, layers> layer;
    View<T, N, T_, D> dconv;
    static constexpr void visit(auto&& f, auto&... t) {
      f("entry", t.entry...);
      f("layer", t.layer...);
      f("dconv", t.dconv...);
    }
  };
  /// What a pass without backward needs.
  template <class T, int N>
  struct Inference {
    std::conditional_t<pre_norm, Normed<T, N>, Nothing> entry;
    Layer<T, N> layer;
    static constexpr void visit(auto&& f, auto&... t) {
      f("entry", t.entry...);
      f("layer", t.layer...);
    }
  };

  /// x (N, T, D) -> positions (N, T, D), which stand in the memory, a Tape or an Inference. `valid` (N) is read if
  /// `padded`: x must be zero behind the valid tokens, and so are the positions.
  template <Device Dev, class T, int N, template <class, int> class Memory>
  static View<T, N, T_, D> forward(Dev& d, const Parameters<const T>& p, View<const T, N, T_, D> x, const int* valid,
                                   const Memory<T, N>& memory) {
    const T* in = x.data;
    if constexpr (pre_norm) {
      Norm::forward(d, p.norm, N * T_, eps, in, memory.entry.normed.data, memory.entry.stats.data);
      clear<N>(d, valid, memory.entry.normed.data);
      in = memory.entry.normed.data;
    }
    for (std::size_t i = 0; i < layers; ++i) {
      const Layer<T, N>& l = layer(memory, i);
      device::grouped_conv<shape>(d, N, in, p.convolutions.layer[i].weight.data, p.convolutions.layer[i].bias.data,
                                  l.convolved.data);                                              // (N, T, D)
      device::norm_gelu<D>(d, N * T_, l.convolved.data, eps, nullptr, l.state.data, l.stats.data);
      clear<N>(d, valid, l.state.data);
      in = l.state.data;
    }
    return layer(memory, layers - 1).state;
  }

  /// dy (N, T, D) is destroyed; dx is overwritten; parameter gradients are accumulated.
  template <Device Dev, class T, int N>
  static void backward(Dev& d, const Parameters<const T>& p, View<const T, N, T_, D> x, const int* valid,
                       View<T, N, T_, D> dy, View<T, N, T_, D> dx, const Parameters<T>& gradient,
                       const Tape<T, N>& tape) {
    const T* first = x.data;
    if constexpr (pre_norm) first = tape.entry.normed.data;
    for (std::size_t i = layers; i-- > 0;) {
      const Layer<T, N>& l = tape.layer[i];
      const auto& g = gradient.convolutions.layer[i];
      clear<N>(d, valid, dy.data);
      device::norm_gelu_backward<D>(d, N * T_, dy.data, l.convolved.data, l.stats.data, tape.dconv.data);
      device::grouped_conv_weight_gradient<shape>(d, N, tape.dconv.data, i > 0 ? tape.layer[i - 1].state.data : first,
                                                  g.weight.data, g.bias.data);
      device::grouped_conv_input_gradient<shape>(d, N, tape.dconv.data, p.convolutions.layer[i].weight.data,
                                                 i > 0 ? dy.data : dx.data);
    }
    if constexpr (pre_norm) {
      clear<N>(d, valid, dx.data);
      Norm::backward(d, p.norm, N * T_, x.data, tape.entry.stats.data, dx.data, dx.data, gradient.norm);
    }
  }

 private:
  template <int N, class Dev, class T>
  static void clear(Dev& d, const int* valid, T* x) {
    if constexpr (padded) clear_padding<T_, D>(d, N, valid, x);
  }
  template <class T, int N>
  static const auto& layer(const Tape<T, N>& tape, std::size_t i) { return tape.layer[i]; }
  template <class T, int N>
  static const auto& layer(const Inference<T, N>& memory, std::size_t) { return memory.layer; }
};

}  // namespace data2vec::inline v0
