// SPDX-License-Identifier: MIT
// Positions from convolutions: gradients, the definition, the memory of inference, and the exact rule of padding.
#include <data2vec/layers/conv_positions.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int N = 2, D = 4, T_ = 6;
constexpr int valid[N] = {6, 4};

/// As the encoder uses the layer: x is zero behind the valid tokens, and nothing is asked there.
template <int groups, int kernel, int depth, bool pre_norm, bool padded>
struct PositionsLayer {
  using Layer = ConvPositions<D, T_, groups, kernel, depth, pre_norm, padded>;
  static constexpr int input_size = N * T_ * D, output_size = input_size;
  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  template <class T>
  struct Tape {
    typename Layer::template Tape<T, N> layer;
    View<T, N, T_, D> x;
    static constexpr void visit(auto&& f, auto&... t) {
      f("layer", t.layer...);
      f("x", t.x...);
    }
  };

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y, const Tape<double>& tape) {
    device::copy(d, tape.x.size, x, tape.x.data);
    if constexpr (padded) clear_padding<T_, D>(d, N, valid, tape.x.data);
    const auto out = Layer::forward(d, p, View<const double, N, T_, D>(tape.x), valid, tape.layer);
    device::copy(d, out.size, out.data, y);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double*, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    Layer::backward(d, p, View<const double, N, T_, D>(tape.x), valid, View<double, N, T_, D>{dy},
                    View<double, N, T_, D>{dx}, gradient, tape.layer);
    if constexpr (padded) clear_padding<T_, D>(d, N, valid, dx);
  }
};

std::vector<double> normal_numbers(std::size_t n, std::uint64_t seed) {
  Rng rng({.seed = seed});
  std::vector<double> v(n);
  for (double& x : v) x = static_cast<double>(rng.normal());
  return v;
}

/// One convolution with the norm and GELU that follow, of a row of `tokens` tokens, in double.
std::vector<double> by_definition(const std::vector<double>& x, int tokens, int groups, int kernel, const double* weight,
                                  const double* bias) {
  std::vector<double> y(static_cast<std::size_t>(tokens) * D);
  const int width = D / groups;
  for (int t = 0; t < tokens; ++t) {
    double* const row = y.data() + t * D;
    double mean = 0, variance = 0;
    for (int o = 0; o < D; ++o) {
      row[o] = bias[o];
      for (int i = 0; i < width; ++i)
        for (int k = 0; k < kernel; ++k) {
          const int from = t + k - kernel / 2;
          if (from >= 0 && from < tokens)
            row[o] += weight[(o * width + i) * kernel + k] * x[static_cast<std::size_t>(from * D + o / width * width + i)];
        }
      mean += row[o] / D;
    }
    for (int o = 0; o < D; ++o) variance += (row[o] - mean) * (row[o] - mean) / D;
    for (int o = 0; o < D; ++o) {
      const double u = (row[o] - mean) / std::sqrt(variance + 1e-5);
      row[o] = 0.5 * u * (1 + std::erf(u / std::sqrt(2.0)));
    }
  }
  return y;
}

}  // namespace

TEST_CASE("conv positions: gradients with odd and even kernels, groups, depths, a norm in front") {
  expect_gradients<PositionsLayer<2, 3, 2, false, false>>();
  expect_gradients<PositionsLayer<1, 4, 1, false, false>>();
  expect_gradients<PositionsLayer<4, 5, 2, true, false>>();
}

TEST_CASE("conv positions: gradients under the exact rule of padding") {
  expect_gradients<PositionsLayer<2, 3, 2, false, true>>();
  expect_gradients<PositionsLayer<2, 4, 2, true, true>>();
}

TEST_CASE("conv positions: values by the definition; a padded row is that of its own length") {
  using L = PositionsLayer<2, 4, 2, false, true>;
  const auto weights = normal_numbers(buffer_size<L::Parameters<double>>, 3);
  const auto p = bind<L::Parameters<const double>>(weights.data());
  const auto x = normal_numbers(L::input_size, 4);
  std::vector<double> y(L::output_size), tape(buffer_size<L::Tape<double>>);
  Cpu d;
  L::forward(d, p, x.data(), y.data(), bind<L::Tape<double>>(tape.data()));
  for (int n = 0; n < N; ++n) {
    std::vector<double> row(x.begin() + n * T_ * D, x.begin() + (n * T_ + valid[n]) * D);
    for (const auto& layer : p.convolutions.layer)
      row = by_definition(row, valid[n], 2, 4, layer.weight.data, layer.bias.data);
    // Sums of 9 terms of some 3, divided by a deviation that may be 0.1, twice.
    const double bound = 8 * std::numeric_limits<double>::epsilon() * 3 * 3 * 100;
    for (int i = 0; i < T_ * D; ++i) {
      const double found = y[static_cast<std::size_t>(n * T_ * D + i)];
      if (i < valid[n] * D) CHECK(std::fabs(found - row[static_cast<std::size_t>(i)]) < bound);
      else CHECK(found == 0);
    }
  }
}

TEST_CASE("conv positions: the memory of inference gives the same bits") {
  using L = PositionsLayer<2, 3, 3, true, false>;
  using Small = L::Layer::Inference<double, N>;
  const auto weights = normal_numbers(buffer_size<L::Parameters<double>>, 5), x = normal_numbers(L::input_size, 6);
  std::vector<double> y(L::output_size), tape(buffer_size<L::Tape<double>>), memory(buffer_size<Small>);
  static_assert(buffer_size<Small> < buffer_size<L::Layer::Tape<double, N>>);
  Cpu d;
  const auto p = bind<L::Parameters<const double>>(weights.data());
  L::forward(d, p, x.data(), y.data(), bind<L::Tape<double>>(tape.data()));
  const auto out = L::Layer::forward(d, p, View<const double, N, T_, D>{x.data()}, nullptr, bind<Small>(memory.data()));
  CHECK(std::equal(y.begin(), y.end(), out.data));
}
