// SPDX-License-Identifier: MIT
// The convolutions of data2vec 2.0's decoders (section 3.3; fairseq's `Decoder1d` and `Decoder2d`): grouped, over all
// tokens, each followed by a norm without parameters, GELU and, if asked for, a residual.
#pragma once

#include <array>
#include <type_traits>

#include <data2vec/decoder/decoder.hpp>
#include <data2vec/device/conv.hpp>
#include <data2vec/device/norm.hpp>
#include <data2vec/layers/conv_layer.hpp>
#include <data2vec/layers/padding.hpp>

namespace data2vec::inline v0 {

/// `planar`: windows are squares on the grid of tokens, otherwise stretches of the sequence.
template <DecoderConfig C, DecoderShape S, bool planar>
struct ConvStack {
  static constexpr int D = S.dim, T_ = S.tokens(), R = S.masked, dim = C.decoder_dim, layers = C.decoder_layers;
  static constexpr int kernel = C.decoder_kernel, window = planar ? kernel * kernel : kernel;
  static constexpr double eps = 1e-5;
  static_assert(check::AtLeast<layers, 1>, "data2vec: DecoderConfig::decoder_layers must be at least 1");
  static_assert(check::GroupsDivideChannels<C.decoder_groups, dim> &&
                    check::GroupsDivideChannels<C.decoder_groups, D>,
                "data2vec: DecoderConfig::decoder_groups must divide decoder_dim and Config::embed_dim");
  static constexpr ConvShape shape(int in) {
    if (planar) return {in, dim, C.decoder_groups, kernel, kernel, S.grid.height, S.grid.width};
    return {in, dim, C.decoder_groups, 1, kernel, 1, T_};
  }
  static constexpr bool residual = C.decoder_residual, first_residual = residual && D == dim;

  template <class T, int In_, int In = In_ / C.decoder_groups>
  using Convolution = std::conditional_t<planar, GroupedConvolution<T, dim, In, kernel, kernel>,
                                         GroupedConvolution<T, dim, In, kernel>>;
  template <class T>
  struct Parameters {
    Convolution<T, D> first;
    std::array<Convolution<T, dim>, static_cast<std::size_t>(layers - 1)> rest;
    static constexpr void visit(auto&& f, auto&... p) {
      f("0", p.first...);
      for (int i = 1; i < layers; ++i) {
        const IndexName index(i);
        f(Field(index.text), p.rest[static_cast<std::size_t>(i - 1)]...);
      }
    }
  };

  template <class T, int N>
  using Layer = ConvolvedLayer<T, N, T_, dim>;
  template <class T, int N>
  struct Tape {
    std::array<Layer<T, N>, static_cast<std::size_t>(layers)> layer;
    View<T, N, R, dim> hidden, dhidden;  // last state at the hidden positions
    View<T, N, T_, dim> dstate, dconv;   // gradients
    static constexpr void visit(auto&& f, auto&... t) {
      f("layer", t.layer...);
      f("hidden", t.hidden...);
      f("dhidden", t.dhidden...);
      f("dstate", t.dstate...);
      f("dconv", t.dconv...);
    }
  };

  static constexpr double flops_per_row = 2.0 * T_ * dim * window * (D + (layers - 1.0) * dim) / C.decoder_groups;

  /// `tape.hidden` (N, R, dim): what the last layer makes of the hidden positions.
  template <class Device, class T, int N>
  static void forward(Device& d, const Parameters<const T>& p, const DecoderInput<T>& in, const Tape<T, N>& tape) {
    for (std::size_t i = 0; i < layers; ++i) {
      const Layer<T, N>& l = tape.layer[i];
      const T* x = i == 0 ? in.tokens : tape.layer[i - 1].state.data;
      if (i == 0)
        device::grouped_conv<shape(D)>(d, N, x, p.first.weight.data, p.first.bias.data, l.convolved.data);
      else if constexpr (layers > 1)
        device::grouped_conv<shape(dim)>(d, N, x, p.rest[i - 1].weight.data, p.rest[i - 1].bias.data,
                                         l.convolved.data);                                       // (N, T, dim)
      device::norm_gelu<dim>(d, N * T_, l.convolved.data, eps, (i == 0 ? first_residual : residual) ? x : nullptr,
                             l.state.data, l.stats.data);
      if constexpr (S.padded) clear_padding<T_, dim>(d, N, in.valid, l.state.data);
    }
    device::gather_rows<dim>(d, N * R, tape.layer[layers - 1].state.data, in.masked_rows, tape.hidden.data);
  }

  /// From `tape.dhidden`.
  template <class Device, class T, int N>
  static void backward(Device& d, const Parameters<const T>& p, const DecoderInput<T>& in,
                       View<T, N, T_, D> dtokens, const Parameters<T>& gradient, const Tape<T, N>& tape) {
    device::fill(d, tape.dstate.size, 0, tape.dstate.data);
    device::scatter_add_rows<dim>(d, N * R, tape.dhidden.data, in.masked_rows, tape.dstate.data);
    for (std::size_t i = layers; i-- > 0;) {
      const Layer<T, N>& l = tape.layer[i];
      const T* x = i == 0 ? in.tokens : tape.layer[i - 1].state.data;
      if constexpr (S.padded) clear_padding<T_, dim>(d, N, in.valid, tape.dstate.data);
      device::norm_gelu_backward<dim>(d, N * T_, tape.dstate.data, l.convolved.data, l.stats.data, tape.dconv.data);
      if (i == 0) {
        device::grouped_conv_weight_gradient<shape(D)>(d, N, tape.dconv.data, x, gradient.first.weight.data,
                                                       gradient.first.bias.data);
        device::grouped_conv_input_gradient<shape(D)>(d, N, tape.dconv.data, p.first.weight.data, dtokens.data);
        if constexpr (first_residual) device::add(d, dtokens.size, dtokens.data, tape.dstate.data, dtokens.data);
      } else if constexpr (layers > 1) {
        device::grouped_conv_weight_gradient<shape(dim)>(d, N, tape.dconv.data, x, gradient.rest[i - 1].weight.data,
                                                         gradient.rest[i - 1].bias.data);
        device::grouped_conv_input_gradient<shape(dim), residual ? Grad::accumulate : Grad::overwrite>(
            d, N, tape.dconv.data, p.rest[i - 1].weight.data, tape.dstate.data);
      }
    }
  }
};

}  // namespace data2vec::inline v0
