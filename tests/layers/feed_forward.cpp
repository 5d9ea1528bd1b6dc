// SPDX-License-Identifier: MIT
// The MLP: gradients with and without dropout, and a value by hand.
#include <data2vec/layers/feed_forward.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

TEST_CASE("feed-forward: gradients") {
  expect_gradients<FeedForwardLayer<8, 12, 2, 3, false, false>>();
  expect_gradients<FeedForwardLayer<3, 5, 1, 4, false, true>>();
  expect_gradients<FeedForwardLayer<8, 12, 2, 3, true, true>>();
}

TEST_CASE("feed-forward: fc2(gelu(fc1(x))) with the exact GELU") {
  Cpu d;
  const double one[] = {1}, half[] = {0.5}, two[] = {2}, x[] = {0.7};
  double y[1], before[1], hidden[1];
  using Mlp = FeedForward<1, 1>;
  const Mlp::Parameters<const double> p{{{one}, {half}}, {{two}, {one}}};
  Mlp::forward(fixed_pass<false>(d), p, 0, View<const double, 1, 1, 1>{x}, View<double, 1, 1, 1>{y},
               Mlp::Tape<double, 1, 1>{{before}}, View<double, 1, 1, 1>{hidden});
  const double u = 0.7 + 0.5, expected = 2 * (0.5 * u * (1 + std::erf(u / std::sqrt(2.0)))) + 1;
  CHECK(std::fabs(y[0] - expected) <= 8 * std::numeric_limits<double>::epsilon() * std::fabs(expected));
}
