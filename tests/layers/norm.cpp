// SPDX-License-Identifier: MIT
// Layer norm: gradients, in place and not, with and without scale and shift, and the statistics of its rows.
#include <data2vec/layers/norm.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

TEST_CASE("layer norm: gradients") {
  expect_gradients<NormLayer<8, 5, true, false>>();
  expect_gradients<NormLayer<8, 5, true, true>>();
  expect_gradients<NormLayer<13, 3, false, false>>();
  expect_gradients<NormLayer<13, 3, false, true>>();
  expect_gradients<NormLayer<3, 257, true, false>>();  // more rows than one block of sums
}

TEST_CASE("layer norm: rows have mean 0 and variance 1, whatever their place and spread") {
  constexpr int C = 11, rows = 6;
  Cpu d;
  std::vector<double> x(rows * C), y(rows * C), stats(2 * rows);
  Rng rng({.seed = 4});
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < C; ++c)
      x[static_cast<std::size_t>(r * C + c)] = 3.0 * r - 7 + (r + 0.5) * static_cast<double>(rng.normal());
  const double variance_eps = 1e-12;
  LayerNorm<C, false>::forward(d, LayerNorm<C, false>::Parameters<double>{}, rows, variance_eps, x.data(), y.data(),
                               stats.data());
  for (int r = 0; r < rows; ++r) {
    double sum = 0, squares = 0;
    for (int c = 0; c < C; ++c) {
      const double v = y[static_cast<std::size_t>(r * C + c)];
      sum += v;
      squares += v * v;
    }
    // A mean of C terms of size up to |mean| / deviation, and eps / variance off from one.
    const double tolerance = 8 * std::numeric_limits<double>::epsilon() * std::sqrt(C) * 30;
    CHECK(std::fabs(sum / C) < tolerance);
    const double scale = stats[static_cast<std::size_t>(2 * r + 1)];
    CHECK(std::fabs(squares / C - 1) < tolerance + variance_eps * scale * scale);
  }
}

TEST_CASE("layer norm: the row (1, 3) with scale and shift") {
  Cpu d;
  const double x[] = {1, 3}, weight[] = {2, 10}, bias[] = {5, 7};
  double y[2], stats[2];
  LayerNorm<2>::forward(d, LayerNorm<2>::Parameters<const double>{{weight}, {bias}}, 1, 0.0, x, y, stats);
  CHECK(y[0] == 3);
  CHECK(y[1] == 17);
  CHECK(stats[0] == 2);
  CHECK(stats[1] == 1);
  LayerNorm<2>::forward(d, LayerNorm<2>::Parameters<const double>{{weight}, {bias}}, 1, 3.0, x, y, nullptr);
  CHECK(y[0] == 4);  // variance 1 + eps 3: half of it
  CHECK(y[1] == 12);
}

TEST_CASE("layer norm: a row without variance gives its shift, and a finite gradient") {
  Cpu d;
  const double x[] = {4, 4, 4}, weight[] = {2, 2, 2}, bias[] = {-1, 0, 1}, dy[] = {1, 2, 3};
  double y[3], stats[2], dx[3], dweight[3] = {}, dbias[3] = {};
  const LayerNorm<3>::Parameters<const double> p{{weight}, {bias}};
  LayerNorm<3>::forward(d, p, 1, 1e-6, x, y, stats);
  CHECK(std::vector<double>(y, y + 3) == std::vector<double>{-1, 0, 1});
  LayerNorm<3>::backward(d, p, 1, x, stats, dy, dx, LayerNorm<3>::Parameters<double>{{dweight}, {dbias}});
  for (const double v : dx) CHECK(is_finite(v));
  CHECK(std::vector<double>(dbias, dbias + 3) == std::vector<double>{1, 2, 3});
}
