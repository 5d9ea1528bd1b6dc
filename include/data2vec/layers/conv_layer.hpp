// SPDX-License-Identifier: MIT
// What the stacks of grouped convolutions share: the weights of one, and its values with the norm and GELU behind it.
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/device/norm.hpp>

namespace data2vec::inline v0 {

/// From In channels per group to D in all; `kernel`: the sides of its window. Named as the first of a layer's modules.
template <class T, int D, int In, int... kernel>
struct GroupedConvolution {
  static constexpr Init start = init::fan_in((In * ... * kernel));
  View<T, D, In, kernel...> weight;
  View<T, D> bias;
  static constexpr void visit(auto&& f, auto&... p) {
    f(Field{"0.weight", start}, p.weight...);
    f(Field{"0.bias", start}, p.bias...);
  }
};

/// Values of a convolution of N rows of T tokens: its output, and what the layer makes of it.
template <class T, int N, int T_, int D>
struct ConvolvedLayer {
  View<T, N, T_, D> convolved, state;
  View<T, N, T_, kept_numbers<T>(2)> stats;
  static constexpr void visit(auto&& f, auto&... t) {
    f("convolved", t.convolved...);
    f("state", t.state...);
    f("stats", t.stats...);
  }
};

}  // namespace data2vec::inline v0
