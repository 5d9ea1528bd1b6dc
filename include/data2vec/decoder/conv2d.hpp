// SPDX-License-Identifier: MIT
// The convolutional decoder for images (data2vec 2.0, section 3.3): grouped convolutions on the grid of tokens, each
// followed by a norm without parameters, GELU and a residual; then one linear layer at the hidden positions.
#pragma once

#include <data2vec/decoder/decoder.hpp>
#include <data2vec/device/conv.hpp>
#include <data2vec/device/norm.hpp>

namespace data2vec::inline v0 {

template <DecoderConfig C>
struct Conv2dDecoder {
  static constexpr DecoderConfig config = C;
  static constexpr bool sees_all = true;

  template <DecoderShape S>
  struct Network {
    static constexpr int D = S.dim, T_ = S.tokens(), R = S.masked, dim = C.decoder_dim, layers = C.decoder_layers;
    static constexpr double eps = 1e-5;
    static_assert(check::AtLeast<layers, 1>, "data2vec: DecoderConfig::decoder_layers must be at least 1");
    static_assert(check::GroupsDivideChannels<C.decoder_groups, dim> &&
                      check::GroupsDivideChannels<C.decoder_groups, D>,
                  "data2vec: DecoderConfig::decoder_groups must divide decoder_dim and Config::embed_dim");
    using Projection = Linear<dim, D, LinearInit::fan_in>;
    static constexpr ConvShape shape(int in) {
      return {in, dim, C.decoder_groups, C.decoder_kernel, C.decoder_kernel, S.grid.height, S.grid.width};
    }
    static constexpr bool residual = C.decoder_residual, first_residual = residual && D == dim;

    template <class T, int In_>
    struct Convolution {
      static constexpr Init start = init::fan_in(In_ / C.decoder_groups * C.decoder_kernel * C.decoder_kernel);
      View<T, dim, In_ / C.decoder_groups, C.decoder_kernel, C.decoder_kernel> weight;
      View<T, dim> bias;
      static constexpr void visit(auto&& f, auto&... p) {
        f(Field{"0.weight", start}, p.weight...);
        f(Field{"0.bias", start}, p.bias...);
      }
    };
    template <class T>
    struct Blocks {
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
    template <class T>
    struct Parameters {
      Blocks<T> blocks;
      typename Projection::template Parameters<T> proj;
      static constexpr void visit(auto&& f, auto&... p) {
        f("blocks", p.blocks...);
        f("proj", p.proj...);
      }
    };

    /// One convolution's values: its output, and the layer's after norm, GELU and residual.
    template <class T, int N>
    struct Layer {
      View<T, N, T_, dim> convolved, state;
      View<T, N, T_, kept_numbers<T>(2)> stats;
      static constexpr void visit(auto&& f, auto&... t) {
        f("convolved", t.convolved...);
        f("state", t.state...);
        f("stats", t.stats...);
      }
    };
    template <class T, int N>
    struct Tape {
      std::array<Layer<T, N>, static_cast<std::size_t>(layers)> layer;
      View<T, N, R, dim> hidden;          // last state at the hidden positions
      View<T, N, R, dim> dhidden;
      View<T, N, T_, dim> dstate, dconv;  // gradients
      static constexpr void visit(auto&& f, auto&... t) {
        f("layer", t.layer...);
        f("hidden", t.hidden...);
        f("dhidden", t.dhidden...);
        f("dstate", t.dstate...);
        f("dconv", t.dconv...);
      }
    };

    static constexpr double flops_per_row =
        2.0 * T_ * dim * C.decoder_kernel * C.decoder_kernel * (D + (layers - 1.0) * dim) / C.decoder_groups +
        R * Projection::flops_per_row;

    template <class P, class T, int N>
    static void forward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                        View<T, N, R, D> prediction, const Tape<T, N>& tape) {
      auto& d = pass.device;
      for (std::size_t i = 0; i < layers; ++i) {
        const Layer<T, N>& l = tape.layer[i];
        const T* x = i == 0 ? in.tokens : tape.layer[i - 1].state.data;
        if (i == 0)
          device::grouped_conv<shape(D)>(d, N, x, p.blocks.first.weight.data, p.blocks.first.bias.data,
                                         l.convolved.data);                                       // (N, T, dim)
        else if constexpr (layers > 1)
          device::grouped_conv<shape(dim)>(d, N, x, p.blocks.rest[i - 1].weight.data, p.blocks.rest[i - 1].bias.data,
                                           l.convolved.data);                                     // (N, T, dim)
        device::norm_gelu<dim>(d, N * T_, l.convolved.data, eps, (i == 0 ? first_residual : residual) ? x : nullptr,
                               l.state.data, l.stats.data);
      }
      device::gather_rows<dim>(d, N * R, tape.layer[layers - 1].state.data, in.masked_rows, tape.hidden.data);
      Projection::forward(d, p.proj, N * R, tape.hidden.data, prediction.data);                   // (N, R, D)
    }

    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                         View<T, N, R, D> dprediction, View<T, N, T_, D> dtokens, const Parameters<T>& gradient,
                         const Tape<T, N>& tape) {
      auto& d = pass.device;
      Projection::backward(d, p.proj, N * R, tape.hidden.data, dprediction.data, tape.dhidden.data, gradient.proj);
      device::fill(d, tape.dstate.size, 0, tape.dstate.data);
      device::scatter_add_rows<dim>(d, N * R, tape.dhidden.data, in.masked_rows, tape.dstate.data);
      for (std::size_t i = layers; i-- > 0;) {
        const Layer<T, N>& l = tape.layer[i];
        const T* x = i == 0 ? in.tokens : tape.layer[i - 1].state.data;
        device::norm_gelu_backward<dim>(d, N * T_, tape.dstate.data, l.convolved.data, l.stats.data, tape.dconv.data);
        if (i == 0) {
          device::grouped_conv_weight_gradient<shape(D)>(d, N, tape.dconv.data, x, gradient.blocks.first.weight.data,
                                                         gradient.blocks.first.bias.data);
          device::grouped_conv_input_gradient<shape(D)>(d, N, tape.dconv.data, p.blocks.first.weight.data,
                                                        dtokens.data);
          if constexpr (first_residual) device::add(d, dtokens.size, dtokens.data, tape.dstate.data, dtokens.data);
        } else if constexpr (layers > 1) {
          device::grouped_conv_weight_gradient<shape(dim)>(d, N, tape.dconv.data, x,
                                                           gradient.blocks.rest[i - 1].weight.data,
                                                           gradient.blocks.rest[i - 1].bias.data);
          device::grouped_conv_input_gradient<shape(dim), residual ? Grad::accumulate : Grad::overwrite>(
              d, N, tape.dconv.data, p.blocks.rest[i - 1].weight.data, tape.dstate.data);
        }
      }
    }
  };
};

}  // namespace data2vec::inline v0
