// SPDX-License-Identifier: MIT
// Adam and the moving average against the formulas in double.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/adam.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

TEST_CASE_TEMPLATE("twenty updates follow the formulas", T, float, double) {
  constexpr std::size_t n = 77;
  Cpu cpu;
  auto p = numbers<T>(n, 1);
  std::vector<T> m(n), v(n), average(p);
  std::vector<double> pe(p.begin(), p.end()), me(n), ve(n), ae(p.begin(), p.end());
  for (int t = 1; t <= 20; ++t) {
    const auto g = numbers<T>(n, static_cast<std::uint32_t>(10 + t));
    AdamStep step{.gradient_scale = 0.5, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .step = 0, .decay = 1e-4};
    step.step = 1e-2 * std::sqrt(1 - std::pow(0.98, t)) / (1 - std::pow(0.9, t));
    device::adam(cpu, n, step, g.data(), m.data(), v.data(), p.data());
    device::moving_average(cpu, n, 0.75, p.data(), average.data());
    for (std::size_t i = 0; i < n; ++i) {
      const double gi = 0.5 * static_cast<double>(g[i]);
      me[i] = 0.9 * me[i] + 0.1 * gi;
      ve[i] = 0.98 * ve[i] + 0.02 * gi * gi;
      pe[i] -= 1e-4 * pe[i];
      pe[i] -= step.step * me[i] / (std::sqrt(ve[i]) + 1e-8);
      ae[i] = 0.75 * ae[i] + 0.25 * pe[i];
    }
  }
  CHECK(support::largest_difference(m, me) < support::tolerance<T>(20));
  CHECK(support::largest_difference(v, ve) < support::tolerance<T>(20));
  CHECK(support::largest_difference(p, pe) < support::tolerance<T>(40));
  CHECK(support::largest_difference(average, ae) < support::tolerance<T>(60));
}

TEST_CASE_TEMPLATE("a parameter has the same bits wherever it stands", T, float, double) {
  constexpr std::size_t n = 61;
  Cpu cpu;
  const AdamStep step{.step = 1e-3, .decay = 1e-5};
  const auto g = numbers<T>(n, 1), p0 = numbers<T>(n, 2), m0 = numbers<T>(n, 3);
  auto v0 = numbers<T>(n, 4);
  for (T& x : v0) x = std::abs(x);
  auto p = p0, m = m0, v = v0;
  device::adam(cpu, n, step, g.data(), m.data(), v.data(), p.data());
  for (std::size_t i = 0; i < n; ++i) {
    T pi = p0[i], mi = m0[i], vi = v0[i];
    device::adam(cpu, 1, step, &g[i], &mi, &vi, &pi);
    CHECK(support::same_bits(&pi, &p[i], 1));
    CHECK(support::same_bits(&mi, &m[i], 1));
    CHECK(support::same_bits(&vi, &v[i], 1));
  }
}
