// SPDX-License-Identifier: MIT
// Sums and losses against double; the sum of squares by blocks; gradients by differences.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/reduce.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

TEST_CASE_TEMPLATE("sum of squares: value, and bits by blocks at any alignment", T, float, double) {
  Cpu cpu;
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{33}, std::size_t{3 * 4096 + 517}}) {
    const auto x = numbers<T>(n, 1);
    const double found = device::sum_of_squares(cpu, n, x.data());
    CHECK(std::abs(found - support::dot(x, x)) <= support::tolerance<double>(double(n), double(n)));
    double parts = 0;
    for (std::size_t i = 0; i < n; i += 4096)
      parts += device::sum_of_squares(cpu, std::min<std::size_t>(4096, n - i), x.data() + i);
    CHECK(parts == found);
    for (std::size_t offset = 0; offset < 8; ++offset) {
      support::Shifted<T> s(x, offset);
      CHECK(device::sum_of_squares(cpu, n, s.data()) == found);
    }
  }
}

TEST_CASE_TEMPLATE("regression losses", T, float, double) {
  constexpr int C = 21, rows = 4;
  Cpu cpu;
  auto p = numbers<T>(rows * C, 1);
  const auto t = numbers<T>(3 * C, 2);
  const int index[] = {2, 0, 2, 1};
  p[3] = t[2 * C + 3];  // an error of exactly zero
  for (const double beta : {0.0, 0.25, 1.0}) {
    INFO("beta ", beta);
    std::vector<T> d(rows * C);
    const double found = device::regression_loss<C>(cpu, rows, p.data(), t.data(), index, beta, 0.5, d.data());
    double expected = 0;
    for (std::size_t i = 0; i < rows * C; ++i) {
      const double u = static_cast<double>(p[i]) -
                       static_cast<double>(t[static_cast<std::size_t>(index[i / C]) * C + i % C]);
      const bool small = std::abs(u) < beta;
      expected += beta == 0 ? u * u : small ? u * u / (2 * beta) : std::abs(u) - beta / 2;
      const double slope = beta == 0 ? 2 * u : small ? u / beta : u > 0 ? 1 : -1;
      const double rounding = 2 * static_cast<double>(std::numeric_limits<T>::epsilon());  // of values up to 2
      CHECK(std::abs(static_cast<double>(d[i]) - 0.5 * slope) <= rounding);
    }
    CHECK(std::abs(found - expected) < support::tolerance<double>(rows * C, expected));
    CHECK(d[3] == 0);
    T keep = p[5];
    p[5] = T(NAN);
    CHECK(std::isnan(device::regression_loss<C>(cpu, rows, p.data(), t.data(), index, beta, 0.5, d.data())));
    CHECK(std::isnan(d[5]));
    p[5] = keep;
  }
}

TEST_CASE_TEMPLATE("channel moments", T, float, double) {
  constexpr int C = 21;
  Cpu cpu;
  const auto x = numbers<T>(5 * C, 1);
  const int index[] = {4, 1, 4};
  std::vector<double> sum(C, 1.0), squares(C, 2.0);
  device::channel_moments<C>(cpu, 3, x.data(), index, sum.data(), squares.data());
  for (std::size_t c = 0; c < C; ++c) {
    const double a = static_cast<double>(x[4 * C + c]), b = static_cast<double>(x[C + c]);
    CHECK(std::abs(sum[c] - (1 + a + b + a)) < support::tolerance<double>(4));
    CHECK(std::abs(squares[c] - (2 + a * a + b * b + a * a)) < support::tolerance<double>(4, 4));
  }
}
