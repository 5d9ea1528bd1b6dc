// SPDX-License-Identifier: MIT
// The convolutional decoder for speech and text (data2vec 2.0, section 3.3; fairseq's `Decoder1d`): grouped
// convolutions along the sequence, each followed by a norm without parameters, GELU and, if asked for, a residual; then
// one or more linear layers at the hidden positions.
#pragma once

#include <data2vec/decoder/decoder.hpp>
#include <data2vec/device/conv.hpp>
#include <data2vec/device/gelu.hpp>
#include <data2vec/device/norm.hpp>
#include <data2vec/layers/padding.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// `count` linear layers from In to Out with GELU between them, all hidden ones of the width `hidden`. A single one has
/// the names of a linear layer; several are numbered 0, 2, 4, ...
template <int In_, int hidden, int Out_, int count, LinearInit how>
struct ProjectionLayers {
  static_assert(check::AtLeast<hidden, 1>, "data2vec: DecoderConfig::projection_ratio must leave a width of at least 1");
  using First = Linear<In_, hidden, how>;
  using Middle = Linear<hidden, hidden, how>;
  using Last = Linear<hidden, Out_, how>;
  static constexpr auto layers = static_cast<std::size_t>(count - 1);  // hidden ones
  static constexpr double flops_per_row = First::flops_per_row + (count - 2) * Middle::flops_per_row +
                                          Last::flops_per_row;

  template <class T>
  struct Parameters {
    typename First::template Parameters<T> first;
    std::array<typename Middle::template Parameters<T>, layers - 1> middle;
    typename Last::template Parameters<T> last;
    static constexpr void visit(auto&& f, auto&... p) {
      f("0", p.first...);
      for (int i = 1; i < count - 1; ++i) {
        const IndexName index(2 * i);
        f(Field(index.text), p.middle[static_cast<std::size_t>(i - 1)]...);
      }
      const IndexName end(2 * (count - 1));
      f(Field(end.text), p.last...);
    }
  };
  template <class T, int rows>
  struct Tape {
    std::array<View<T, rows, hidden>, layers> before_gelu, activated;
    View<T, rows, hidden> dhidden, dother;
    static constexpr void visit(auto&& f, auto&... t) {
      f("before_gelu", t.before_gelu...);
      f("activated", t.activated...);
      f("dhidden", t.dhidden...);
      f("dother", t.dother...);
    }
  };

  template <class D, class T, int rows>
  static void forward(D& d, const Parameters<const T>& p, const T* x, T* y, const Tape<T, rows>& tape) {
    device::linear_gelu<In_, hidden>(d, rows, x, p.first.weight.data, p.first.bias.data, tape.before_gelu[0].data,
                                     tape.activated[0].data);
    if constexpr (layers > 1)
      for (std::size_t i = 1; i < layers; ++i)
        device::linear_gelu<hidden, hidden>(d, rows, tape.activated[i - 1].data, p.middle[i - 1].weight.data,
                                            p.middle[i - 1].bias.data, tape.before_gelu[i].data,
                                            tape.activated[i].data);
    Last::forward(d, p.last, rows, tape.activated.back().data, y);
  }

  template <class D, class T, int rows>
  static void backward(D& d, const Parameters<const T>& p, const T* x, const T* dy, T* dx,
                       const Parameters<T>& gradient, const Tape<T, rows>& tape) {
    T *dh = tape.dhidden.data, *other = tape.dother.data;
    Last::backward(d, p.last, rows, tape.activated.back().data, dy, dh, gradient.last);
    for (std::size_t i = layers; i-- > 0;) {
      device::gelu_backward(d, tape.dhidden.size, dh, tape.before_gelu[i].data, dh);
      if (i == 0) {
        First::backward(d, p.first, rows, x, dh, dx, gradient.first);
      } else if constexpr (layers > 1) {
        Middle::backward(d, p.middle[i - 1], rows, tape.activated[i - 1].data, dh, other, gradient.middle[i - 1]);
        std::swap(dh, other);
      }
    }
  }
};

/// A single layer.
template <int In_, int hidden, int Out_, LinearInit how>
struct ProjectionLayers<In_, hidden, Out_, 1, how> {
  using Layer = Linear<In_, Out_, how>;
  static constexpr double flops_per_row = Layer::flops_per_row;
  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  template <class T, int rows>
  struct Tape : Nothing {};
  template <class D, class T, int rows>
  static void forward(D& d, const Parameters<const T>& p, const T* x, T* y, const Tape<T, rows>&) {
    Layer::forward(d, p, rows, x, y);
  }
  template <class D, class T, int rows>
  static void backward(D& d, const Parameters<const T>& p, const T* x, const T* dy, T* dx,
                       const Parameters<T>& gradient, const Tape<T, rows>&) {
    Layer::backward(d, p, rows, x, dy, dx, gradient);
  }
};

}  // namespace detail

/// `projection` says how the linear layers start: the reference's text models leave them as BERT's initialisation.
template <DecoderConfig C, LinearInit projection = LinearInit::fan_in>
struct Conv1dDecoder {
  static constexpr DecoderConfig config = C;
  static constexpr bool sees_all = true;
  static constexpr bool handles_padding = true;

  template <DecoderShape S>
  struct Network {
    static constexpr int D = S.dim, T_ = S.tokens(), R = S.masked, dim = C.decoder_dim, layers = C.decoder_layers;
    static constexpr double eps = 1e-5;
    static_assert(check::AtLeast<layers, 1>, "data2vec: DecoderConfig::decoder_layers must be at least 1");
    static_assert(check::AtLeast<C.projection_layers, 1>,
                  "data2vec: DecoderConfig::projection_layers must be at least 1");
    static_assert(check::GroupsDivideChannels<C.decoder_groups, dim> &&
                      check::GroupsDivideChannels<C.decoder_groups, D>,
                  "data2vec: DecoderConfig::decoder_groups must divide decoder_dim and Config::embed_dim");
    static constexpr int hidden_width = static_cast<int>(dim * C.projection_ratio);
    using Projection = detail::ProjectionLayers<dim, hidden_width, D, C.projection_layers, projection>;
    static constexpr ConvShape shape(int in) { return {in, dim, C.decoder_groups, 1, C.decoder_kernel, 1, T_}; }
    static constexpr bool residual = C.decoder_residual, first_residual = residual && D == dim;

    template <class T, int In_>
    struct Convolution {
      static constexpr Init start = init::fan_in(In_ / C.decoder_groups * C.decoder_kernel);
      View<T, dim, In_ / C.decoder_groups, C.decoder_kernel> weight;
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
      View<T, N, R, dim> hidden, dhidden;  // last state at the hidden positions
      typename Projection::template Tape<T, N * R> proj;
      View<T, N, T_, dim> dstate, dconv;   // gradients
      static constexpr void visit(auto&& f, auto&... t) {
        f("layer", t.layer...);
        f("hidden", t.hidden...);
        f("dhidden", t.dhidden...);
        f("proj", t.proj...);
        f("dstate", t.dstate...);
        f("dconv", t.dconv...);
      }
    };

    static constexpr double flops_per_row =
        2.0 * T_ * dim * C.decoder_kernel * (D + (layers - 1.0) * dim) / C.decoder_groups +
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
        if constexpr (S.padded) clear_padding<T_, dim>(d, N, in.valid, l.state.data);
      }
      device::gather_rows<dim>(d, N * R, tape.layer[layers - 1].state.data, in.masked_rows, tape.hidden.data);
      Projection::forward(d, p.proj, tape.hidden.data, prediction.data, tape.proj);               // (N, R, D)
    }

    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                         View<T, N, R, D> dprediction, View<T, N, T_, D> dtokens, const Parameters<T>& gradient,
                         const Tape<T, N>& tape) {
      auto& d = pass.device;
      Projection::backward(d, p.proj, tape.hidden.data, dprediction.data, tape.dhidden.data, gradient.proj, tape.proj);
      device::fill(d, tape.dstate.size, 0, tape.dstate.data);
      device::scatter_add_rows<dim>(d, N * R, tape.dhidden.data, in.masked_rows, tape.dstate.data);
      for (std::size_t i = layers; i-- > 0;) {
        const Layer<T, N>& l = tape.layer[i];
        const T* x = i == 0 ? in.tokens : tape.layer[i - 1].state.data;
        if constexpr (S.padded) clear_padding<T_, dim>(d, N, in.valid, tape.dstate.data);
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
