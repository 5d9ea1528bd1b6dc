// SPDX-License-Identifier: MIT
// Linear layers: gradients, with and without accumulation, and values from the plain formula.
#include <data2vec/layers/linear.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

TEST_CASE("linear: gradients") {
  expect_gradients<LinearLayer<5, 3, 7>>();
  expect_gradients<LinearLayer<1, 1, 1>>();
  expect_gradients<LinearLayer<17, 9, 2>>();  // beyond one vector in both axes
  expect_gradients<LinearLayer<6, 6, 5, true>>();
}

TEST_CASE("linear: y = x W^T + b in small whole numbers, exact in float") {
  Cpu d;
  const float weight[] = {1, 2, 3, -1, 0, 4}, bias[] = {10, -20}, x[] = {1, 1, 2, 3, -2, 0};
  float y[4];
  Linear<3, 2>::forward(d, {{weight}, {bias}}, 2, x, y);
  CHECK(std::vector<float>(y, y + 4) == std::vector<float>{19, -13, 9, -23});
}

TEST_CASE("linear: a null dx is left alone, parameter gradients come all the same") {
  Cpu d;
  const double weight[] = {1, 2}, bias[] = {0}, x[] = {3, 5}, dy[] = {2};
  double dweight[] = {1, 1}, dbias[] = {1};
  using Layer = Linear<2, 1>;
  const Layer::Parameters<double> gradient{{dweight}, {dbias}};
  Layer::backward(d, {{weight}, {bias}}, 1, x, dy, static_cast<double*>(nullptr), gradient);
  CHECK(dweight[0] == 7);
  CHECK(dweight[1] == 11);
  CHECK(dbias[0] == 3);
}

TEST_CASE("linear: how weights and biases start") {
  using Bert = Linear<4, 2>;
  static_assert(Bert::weight_init.kind == Distribution::normal && Bert::weight_init.scale == 0.02);
  static_assert(Bert::bias_init.kind == Distribution::zeros);
  using FanIn = Linear<4, 2, LinearInit::fan_in>;
  static_assert(FanIn::weight_init.kind == Distribution::uniform && FanIn::weight_init.scale == 0.5);
  static_assert(FanIn::bias_init.kind == Distribution::uniform && FanIn::bias_init.scale == 0.5);
  CHECK(Bert::flops_per_row == 16);
}
