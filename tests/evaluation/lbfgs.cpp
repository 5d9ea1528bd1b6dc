// SPDX-License-Identifier: MIT
// The minimiser on functions whose minimum is known.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <data2vec/evaluation/lbfgs.hpp>

using namespace data2vec;

TEST_CASE("lbfgs: a quadratic of condition 10,000 is solved within its strong convexity") {
  constexpr int n = 40;
  std::vector<double> x(n, 1.0);
  const auto curvature = [](int i) { return std::pow(10.0, 4.0 * i / (n - 1)); };
  const auto f = [&](const std::vector<double>& at, std::vector<double>& gradient) {
    double value = 0;
    for (int i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      const double away = at[k] - i;
      value += 0.5 * curvature(i) * away * away;
      gradient[k] = curvature(i) * away;
    }
    return value;
  };
  const auto result = minimise(f, x, {.max_iterations = 1000, .tolerance = 1e-6});
  CHECK(result.converged);
  CHECK(result.gradient_norm <= 1e-6);
  for (int i = 0; i < n; ++i) CHECK(std::fabs(x[static_cast<std::size_t>(i)] - i) <= 1e-6 / curvature(i));
  CHECK(result.value <= 0.5 * 1e-12);  // gap <= |g|^2 / (2 mu), mu = 1
}

TEST_CASE("lbfgs: Rosenbrock's valley") {
  std::vector<double> x{-1.2, 1};
  const auto f = [](const std::vector<double>& p, std::vector<double>& g) {
    const double a = p[1] - p[0] * p[0], b = 1 - p[0];
    g[0] = -400 * a * p[0] - 2 * b;
    g[1] = 200 * a;
    return 100 * a * a + b * b;
  };
  const auto result = minimise(f, x, {.max_iterations = 200, .tolerance = 1e-8});
  CHECK(result.converged);
  // The Hessian at (1, 1) has eigenvalues 0.399 and 1001.6: |x - 1| <= 1e-8 / 0.399 to first order.
  CHECK(std::hypot(x[0] - 1, x[1] - 1) < 3e-8);
}

TEST_CASE("lbfgs: it stops where it is told to, and at the start if that is the minimum") {
  const auto f = [](const std::vector<double>& p, std::vector<double>& g) {
    g[0] = 4 * p[0] * p[0] * p[0];
    return p[0] * p[0] * p[0] * p[0];
  };
  std::vector<double> x{3};
  const auto short_run = minimise(f, x, {.max_iterations = 2, .tolerance = 1e-12});
  CHECK(short_run.iterations == 2);
  CHECK(!short_run.converged);
  CHECK(short_run.value < 81);
  x = {0};
  const auto none = minimise(f, x);
  CHECK(none.iterations == 0);
  CHECK(none.converged);
}
