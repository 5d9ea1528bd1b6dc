// SPDX-License-Identifier: MIT
// The convolutional decoder for speech and text (data2vec 2.0, section 3.3): grouped convolutions along the sequence,
// then one or more linear layers at the hidden positions.
#pragma once

#include <data2vec/decoder/conv_stack.hpp>
#include <data2vec/device/gelu.hpp>

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
    static constexpr int D = S.dim, T_ = S.tokens(), R = S.masked, dim = C.decoder_dim;
    static_assert(check::AtLeast<C.projection_layers, 1>,
                  "data2vec: DecoderConfig::projection_layers must be at least 1");
    static constexpr int hidden_width = static_cast<int>(dim * C.projection_ratio);
    using Stack = ConvStack<C, S, false>;
    using Projection = detail::ProjectionLayers<dim, hidden_width, D, C.projection_layers, projection>;

    template <class T>
    struct Parameters {
      typename Stack::template Parameters<T> blocks;
      typename Projection::template Parameters<T> proj;
      static constexpr void visit(auto&& f, auto&... p) {
        f("blocks", p.blocks...);
        f("proj", p.proj...);
      }
    };
    template <class T, int N>
    struct Tape {
      typename Stack::template Tape<T, N> blocks;
      typename Projection::template Tape<T, N * R> proj;
      static constexpr void visit(auto&& f, auto&... t) {
        f("blocks", t.blocks...);
        f("proj", t.proj...);
      }
    };

    static constexpr double flops_per_row = Stack::flops_per_row + R * Projection::flops_per_row;

    template <class P, class T, int N>
    static void forward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                        View<T, N, R, D> prediction, const Tape<T, N>& tape) {
      auto& d = pass.device;
      Stack::forward(d, p.blocks, in, tape.blocks);
      Projection::forward(d, p.proj, tape.blocks.hidden.data, prediction.data, tape.proj);        // (N, R, D)
    }

    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, const DecoderInput<T>& in,
                         View<T, N, R, D> dprediction, View<T, N, T_, D> dtokens, const Parameters<T>& gradient,
                         const Tape<T, N>& tape) {
      auto& d = pass.device;
      Projection::backward(d, p.proj, tape.blocks.hidden.data, dprediction.data, tape.blocks.dhidden.data,
                           gradient.proj, tape.proj);
      Stack::backward(d, p.blocks, in, dtokens, gradient.blocks, tape.blocks);
    }
  };
};

}  // namespace data2vec::inline v0
