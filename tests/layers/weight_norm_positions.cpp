// SPDX-License-Identifier: MIT
// Positions from a weight-normalised convolution: gradients, the definition, start, inference, padding.
#include <data2vec/layers/weight_norm_positions.hpp>

#include <doctest/doctest.h>

#include <algorithm>
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
template <int groups, int kernel, bool padded>
struct PositionsLayer {
  using Layer = WeightNormPositions<D, T_, groups, kernel, padded>;
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

}  // namespace

TEST_CASE("weight-normalised positions: gradients with odd and even kernels, and under the exact rule of padding") {
  expect_gradients<PositionsLayer<2, 3, false>>();
  expect_gradients<PositionsLayer<1, 4, false>>();
  expect_gradients<PositionsLayer<2, 4, true>>();
}

TEST_CASE("weight-normalised positions: values by the definition; inference gives the same bits") {
  using L = PositionsLayer<2, 4, false>;
  using Small = L::Layer::Inference<double, N>;
  const auto weights = normal_numbers(buffer_size<L::Parameters<double>>, 3), x = normal_numbers(L::input_size, 4);
  const auto p = bind<L::Parameters<const double>>(weights.data());
  std::vector<double> y(L::output_size), tape(buffer_size<L::Tape<double>>), memory(buffer_size<Small>);
  Cpu d;
  L::forward(d, p, x.data(), y.data(), bind<L::Tape<double>>(tape.data()));
  for (int n = 0; n < N; ++n)
    for (int t = 0; t < T_; ++t)
      for (int o = 0; o < D; ++o) {
        double sum = p.bias[o];
        for (int k = 0; k < 4; ++k) {
          double squares = 0;
          for (int i = 0; i < D * 2; ++i) squares += std::pow(p.weight_v.data[i * 4 + k], 2);
          const int from = t + k - 2;
          if (from < 0 || from >= T_) continue;
          for (int i = 0; i < 2; ++i)
            sum += p.weight_g[0][0][k] * p.weight_v[o][i][k] / std::sqrt(squares) *
                   x[static_cast<std::size_t>((n * T_ + from) * D + o / 2 * 2 + i)];
        }
        const double gelu = 0.5 * sum * (1 + std::erf(sum / std::sqrt(2.0)));
        // Eight products of some 3 times 3, and a bias.
        CHECK(std::fabs(y[static_cast<std::size_t>((n * T_ + t) * D + o)] - gelu) <
              8 * std::numeric_limits<double>::epsilon() * 9 * 3);
      }
  const auto out = L::Layer::forward(d, p, View<const double, N, T_, D>{x.data()}, nullptr, bind<Small>(memory.data()));
  CHECK(std::equal(y.begin(), y.end(), out.data));
}

TEST_CASE("weight-normalised positions: at the start the convolution's weights are weight_v") {
  using Layer = WeightNormPositions<D, T_, 2, 3>;
  auto weights = normal_numbers(buffer_size<Layer::Parameters<double>>, 5);
  const auto p = bind<Layer::Parameters<double>>(weights.data());
  std::vector<double> scratch(p.weight_v.size), norms(3);
  Cpu d;
  Layer::start(p);
  device::weight_norm<Layer::weight_rows, 3>(d, p.weight_v.data, p.weight_g.data, scratch.data(), norms.data());
  for (std::size_t i = 0; i < scratch.size(); ++i)
    CHECK(std::fabs(scratch[i] - p.weight_v.data[i]) <
          4 * std::numeric_limits<double>::epsilon() * std::fabs(scratch[i]));
}
