// SPDX-License-Identifier: MIT
// The decoder of sequences: gradients over kernels, groups, depths, residuals and projections, names, and the exact
// rule of padding.
#include <data2vec/decoder/conv1d.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr DecoderShape shape(int tokens, int dim) {
  return {dim, Grid{1, tokens}, tokens / 3, tokens - tokens / 3, 4, NormOrder::post, 1e-5, true};
}
constexpr DecoderConfig convolutions(int dim, int groups, int kernel, int layers, bool residual = true,
                                     int projections = 1, double ratio = 2) {
  return {.decoder_dim = dim, .decoder_groups = groups, .decoder_kernel = kernel, .decoder_layers = layers,
          .decoder_residual = residual, .projection_layers = projections, .projection_ratio = ratio};
}
template <DecoderConfig C, int dim, int tokens = 9>
using Layer = DecoderLayer<Conv1dDecoder<C>, shape(tokens, dim), 2>;

template <class P>
std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const TensorInfo& info : tensor_table<P>) all.emplace_back(info.name.view());
  return all;
}

/// What a row of `tokens` tokens is given and gives, with V places for visible and R for hidden ones.
template <int tokens, int V, int R, bool padded>
struct Row {
  static constexpr int D = 4;
  static constexpr DecoderConfig config = convolutions(D, 2, 4, 3);
  using Network = Conv1dDecoder<config>::Network<DecoderShape{D, Grid{1, tokens}, V, R, 4, NormOrder::post, 1e-5, true,
                                                              padded}>;
  using Parameters = typename Network::template Parameters<double>;
  using Const = typename Network::template Parameters<const double>;
  using Tape = typename Network::template Tape<double, 1>;
  std::vector<double> x = std::vector<double>(tokens * D), prediction = std::vector<double>(R * D),
                      dprediction = std::vector<double>(R * D), dx = std::vector<double>(tokens * D),
                      gradient = std::vector<double>(buffer_size<Parameters>);

  /// Hidden: every token whose index is not a multiple of 3, of `valid` ones; the others are zero, as a step leaves them.
  void run(const std::vector<double>& weights, int valid) {
    std::vector<int> masked(R, -1), visible(V);
    for (int t = 0, r = 0, v = 0; t < valid; ++t)
      if (t % 3 == 0) visible[static_cast<std::size_t>(v++)] = t;
      else masked[static_cast<std::size_t>(r++)] = t;
    for (int i = 0; i < valid * D; ++i) x[static_cast<std::size_t>(i)] = std::sin(1.0 + i);
    for (int i = 0; i < R * D; ++i)
      dprediction[static_cast<std::size_t>(i)] = masked[static_cast<std::size_t>(i / D)] < 0 ? 0 : std::cos(2.0 * i);
    Cpu d;
    std::vector<double> tape(buffer_size<Tape>);
    const auto p = bind<Const>(weights.data());
    const DecoderInput<double> input{x.data(), nullptr, visible.data(), masked.data(), masked.data(), &valid};
    Network::forward(fixed_pass<true>(d), p, input, View<double, 1, R, D>{prediction.data()}, bind<Tape>(tape.data()));
    Network::backward(fixed_pass<true>(d), p, input, View<double, 1, R, D>{dprediction.data()},
                      View<double, 1, tokens, D>{dx.data()}, bind<Parameters>(gradient.data()), bind<Tape>(tape.data()));
  }
};

void check_start_alike(const std::vector<double>& a, const std::vector<double>& b) {
  // Sums of some ten terms in another order, three norms of a deviation that may be 0.1.
  const double bound = 8 * std::numeric_limits<double>::epsilon() * std::sqrt(10.0) * 1000;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) CHECK(std::fabs(a[i] - b[i]) < bound);
}

}  // namespace

TEST_CASE("conv 1-D decoder: gradients") {
  expect_gradients<Layer<convolutions(4, 2, 3, 3), 4>>();
  expect_gradients<Layer<convolutions(6, 2, 3, 2), 4>>();  // another width than the encoder's: no first residual
}

TEST_CASE("conv 1-D decoder: gradients without residuals, of one layer, of even and of wide kernels") {
  expect_gradients<Layer<convolutions(4, 1, 3, 2, false), 4>>();
  expect_gradients<Layer<convolutions(4, 4, 2, 1), 4>>();
  expect_gradients<Layer<convolutions(4, 2, 7, 2), 4, 6>>();
}

TEST_CASE("conv 1-D decoder: gradients with several projections") {
  expect_gradients<Layer<convolutions(4, 2, 3, 1, false, 2), 4>>();
  expect_gradients<Layer<convolutions(4, 2, 3, 1, true, 3, 1.5), 6>>();
  expect_gradients<Layer<convolutions(4, 1, 3, 1, true, 4, 0.5), 4>>();
}

TEST_CASE("conv 1-D decoder: names of one and of several projections") {
  using One = Layer<convolutions(4, 2, 3, 2), 4>::Parameters<float>;
  using Three = Layer<convolutions(4, 2, 3, 1, true, 3), 4>::Parameters<float>;
  CHECK(names<One>() == std::vector<std::string>{"blocks.0.0.weight", "blocks.0.0.bias", "blocks.1.0.weight",
                                                 "blocks.1.0.bias", "proj.weight", "proj.bias"});
  CHECK(names<Three>() == std::vector<std::string>{"blocks.0.0.weight", "blocks.0.0.bias", "proj.0.weight", "proj.0.bias",
                                                   "proj.2.weight", "proj.2.bias", "proj.4.weight", "proj.4.bias"});
}

TEST_CASE("conv 1-D decoder: a padded row is that of its own length") {
  using Long = Row<12, 4, 8, true>;
  using Short = Row<7, 3, 4, false>;
  std::vector<double> weights(buffer_size<Long::Parameters>);
  Rng rng({.seed = 21});
  for (double& w : weights) w = static_cast<double>(rng.normal());
  static_assert(buffer_size<Long::Parameters> == buffer_size<Short::Parameters>);
  Long padded;
  Short full;
  padded.run(weights, 7);
  full.run(weights, 7);
  check_start_alike(padded.prediction, full.prediction);
  check_start_alike(padded.dx, full.dx);
  check_start_alike(padded.gradient, full.gradient);
}
