// SPDX-License-Identifier: MIT
// What data2vec 1.0 puts behind its encoder (Baevski et al., 2022, section 3): nothing, a linear layer, or an MLP.
#pragma once

#include <utility>

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/gelu.hpp>
#include <data2vec/layers/linear.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// `layers` linear layers with GELU between them, of width 2 D inside; 0: the prediction is the encoder's output.
/// `numbered`: the layers' names are their places in a sequence, 0, 2, 4, ...; otherwise there is one layer.
template <int layers, bool numbered = false>
struct RegressionHead {
  static_assert(layers >= 0 && (numbered || layers <= 1), "data2vec: a head of several layers needs numbered names");

  template <int D>
  struct Network {
    static constexpr bool deep = layers > 1;
    static constexpr int H = deep ? 2 * D : D;  ///< width inside
    static constexpr auto middle = static_cast<std::size_t>(deep ? layers - 2 : 0);
    using First = Linear<D, H, LinearInit::bert>;
    using Middle = Linear<H, H, LinearInit::bert>;
    using Last = Linear<H, D, LinearInit::bert>;
    static constexpr double flops_per_row =
        layers == 0 ? 0 : deep ? First::flops_per_row + middle * Middle::flops_per_row + Last::flops_per_row
                               : First::flops_per_row;

    template <class T>
    struct Deep {
      typename First::template Parameters<T> first;
      std::array<typename Middle::template Parameters<T>, middle> between;
      typename Last::template Parameters<T> last;
      static constexpr void visit(auto&& f, auto&... p) {
        f("0", p.first...);
        for (std::size_t i = 0; i < middle; ++i) f(Field(IndexName(2 + 2 * static_cast<int>(i)).text), p.between[i]...);
        f(Field(IndexName(2 * (layers - 1)).text), p.last...);
      }
    };
    template <class T>
    struct Single {
      typename First::template Parameters<T> first;
      static constexpr void visit(auto&& f, auto&... p) { f(numbered ? "0" : "", p.first...); }
    };
    template <class T>
    using Parameters = std::conditional_t<layers == 0, Nothing, std::conditional_t<deep, Deep<T>, Single<T>>>;

    /// Of each inner layer before and after GELU, and a gradient.
    template <class T, int R>
    struct Tape {
      static constexpr auto inner = static_cast<std::size_t>(deep ? layers - 1 : 0);
      std::array<View<T, R, H>, inner> before, after;
      std::array<View<T, R, H>, deep ? 2 : 0> gradient;
      static constexpr void visit(auto&& f, auto&... t) {
        f("before", t.before...);
        f("after", t.after...);
        f("gradient", t.gradient...);
      }
    };

    /// x (R, D) -> y (R, D) of the first `rows` rows.
    template <Device Dev, class T, int R>
    static void forward(Dev& d, const Parameters<const T>& p, int rows, const T* x, T* y, const Tape<T, R>& tape) {
      if constexpr (layers == 0) {
        device::copy(d, static_cast<std::size_t>(rows) * D, x, y);
      } else if constexpr (!deep) {
        First::forward(d, p.first, rows, x, y);
      } else {
        const auto count = static_cast<std::size_t>(rows) * H;
        First::forward(d, p.first, rows, x, tape.before[0].data);
        device::gelu(d, count, tape.before[0].data, tape.after[0].data);
        for (std::size_t i = 0; i < middle; ++i) {
          Middle::forward(d, p.between[i], rows, tape.after[i].data, tape.before[i + 1].data);
          device::gelu(d, count, tape.before[i + 1].data, tape.after[i + 1].data);
        }
        Last::forward(d, p.last, rows, tape.after[middle].data, y);
      }
    }

    /// dx (R, D) is overwritten, parameter gradients are accumulated.
    template <Device Dev, class T, int R>
    static void backward(Dev& d, const Parameters<const T>& p, int rows, const T* x, const T* dy, T* dx,
                         const Parameters<T>& gradient, const Tape<T, R>& tape) {
      if constexpr (layers == 0) {
        device::copy(d, static_cast<std::size_t>(rows) * D, dy, dx);
      } else if constexpr (!deep) {
        First::backward(d, p.first, rows, x, dy, dx, gradient.first);
      } else {
        const auto count = static_cast<std::size_t>(rows) * H;
        T *inner = tape.gradient[0].data, *other = tape.gradient[1].data;
        Last::backward(d, p.last, rows, tape.after[middle].data, dy, inner, gradient.last);
        for (std::size_t i = middle; i > 0; --i) {
          device::gelu_backward(d, count, inner, tape.before[i].data, inner);
          Middle::backward(d, p.between[i - 1], rows, tape.after[i - 1].data, inner, other, gradient.between[i - 1]);
          std::swap(inner, other);
        }
        device::gelu_backward(d, count, inner, tape.before[0].data, inner);
        First::backward(d, p.first, rows, x, inner, dx, gradient.first);
      }
    }
  };
};

}  // namespace data2vec::inline v0
