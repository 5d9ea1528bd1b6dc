// SPDX-License-Identifier: MIT
// The convolutional decoder: gradients over kernels, groups, depths and residuals, and how far a token reaches.
#include <data2vec/decoder/conv2d.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr DecoderShape shape(Grid grid, int dim) {
  return {dim, grid, grid.size() / 3, grid.size() - grid.size() / 3, 4, NormOrder::post, 1e-6, true};
}
template <DecoderConfig C, int dim, Grid grid = Grid{3, 4}>
using Layer = DecoderLayer<Conv2dDecoder<C>, shape(grid, dim), 2>;

}  // namespace

TEST_CASE("conv decoder: gradients") {
  expect_gradients<Layer<DecoderConfig{.decoder_dim = 8, .decoder_groups = 2, .decoder_kernel = 3, .decoder_layers = 2}, 8>>();
  // Another width than the encoder's: no residual around the first layer.
  expect_gradients<Layer<DecoderConfig{.decoder_dim = 6, .decoder_groups = 2, .decoder_kernel = 3, .decoder_layers = 3}, 4>>();
}

TEST_CASE("conv decoder: gradients without residuals, of one layer, of even and of wide kernels") {
  expect_gradients<Layer<DecoderConfig{.decoder_dim = 4, .decoder_groups = 1, .decoder_kernel = 3, .decoder_layers = 2,
                          .decoder_residual = false}, 4>>();
  expect_gradients<Layer<DecoderConfig{.decoder_dim = 4, .decoder_groups = 4, .decoder_kernel = 2, .decoder_layers = 1}, 4>>();
  expect_gradients<Layer<DecoderConfig{.decoder_dim = 4, .decoder_groups = 2, .decoder_kernel = 5, .decoder_layers = 2}, 4>>();
  expect_gradients<Layer<DecoderConfig{.decoder_dim = 4, .decoder_groups = 2, .decoder_kernel = 3, .decoder_layers = 2}, 4,
                         Grid{1, 6}>>();
}

TEST_CASE("conv decoder: a hidden token is predicted from kernel / 2 cells around per layer, and no further") {
  constexpr DecoderConfig config{.decoder_dim = 4, .decoder_groups = 1, .decoder_kernel = 3, .decoder_layers = 2};
  constexpr Grid grid{1, 9};
  using L = Layer<config, 4, grid>;
  Cpu d;
  std::vector<double> weights(buffer_size<L::Parameters<double>>), tape(buffer_size<L::Tape<double>>);
  Rng rng({.seed = 12});
  for (double& v : weights) v = static_cast<double>(rng.normal());
  std::vector<double> x(L::input_size), before(L::output_size), after(L::output_size);
  for (double& v : x) v = static_cast<double>(rng.normal());
  const auto predict = [&](std::vector<double>& y) {
    L::forward(d, bind<L::Parameters<const double>>(weights.data()), x.data(), y.data(),
               bind<L::Tape<double>>(tape.data()));
  };
  predict(before);
  const int changed = 4;  // a token of row 0: two layers of kernel 3 reach two cells to either side
  x[changed * 4] += 0.5;
  predict(after);
  for (int n = 0; n < 2; ++n)
    for (int r = 0; r < L::R; ++r) {
      const auto place = static_cast<std::size_t>(n * L::R + r);
      const int t = L::indices.masked[place];
      const bool same = std::equal(&before[4 * place], &before[4 * place] + 4, &after[4 * place]);
      CHECK(same == (n == 1 || std::abs(t - changed) > 2));
    }
}
