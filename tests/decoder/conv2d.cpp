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
constexpr DecoderConfig convolutions(int dim, int groups, int kernel, int layers, bool residual = true) {
  return {.decoder_dim = dim, .decoder_groups = groups, .decoder_kernel = kernel, .decoder_layers = layers,
          .decoder_residual = residual};
}
template <DecoderConfig C, int dim, Grid grid = Grid{3, 4}>
using Layer = DecoderLayer<Conv2dDecoder<C>, shape(grid, dim), 2>;

}  // namespace

TEST_CASE("conv decoder: gradients") {
  expect_gradients<Layer<convolutions(8, 2, 3, 2), 8>>();
  expect_gradients<Layer<convolutions(6, 2, 3, 3), 4>>();  // another width than the encoder's: no first residual
}

TEST_CASE("conv decoder: gradients without residuals, of one layer, of even and of wide kernels, on a sequence") {
  expect_gradients<Layer<convolutions(4, 1, 3, 2, false), 4>>();
  expect_gradients<Layer<convolutions(4, 4, 2, 1), 4>>();
  expect_gradients<Layer<convolutions(4, 2, 5, 2), 4>>();
  expect_gradients<Layer<convolutions(4, 2, 3, 2), 4, Grid{1, 6}>>();
}

TEST_CASE("conv decoder: a hidden token is predicted from kernel / 2 cells around per layer, and no further") {
  using L = Layer<convolutions(4, 1, 3, 2), 4, Grid{1, 9}>;
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
