// SPDX-License-Identifier: MIT
// The arithmetic of the device's kernels, on the host, against double.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/device/cuda/math.hpp>
#include <data2vec/device/dropout.hpp>

using namespace data2vec;
using namespace data2vec::detail::gpu;

namespace {
constexpr double eps = std::numeric_limits<float>::epsilon();
}

TEST_CASE("GELU and its derivative within 3e-7 of double, everywhere") {
  double most = 0, most_derivative = 0;
  for (int i = -200'000; i <= 200'000; ++i) {
    const auto x = static_cast<float>(i) * 1e-4f;
    const auto d = static_cast<double>(x);
    const double exact = 0.5 * d * std::erfc(-d / std::sqrt(2.0));
    const double derivative = 0.5 * std::erfc(-d / std::sqrt(2.0)) + d * std::exp(-d * d / 2) / std::sqrt(2 * M_PI);
    most = std::max(most, std::abs(static_cast<double>(gelu(x)) - exact) / std::max(1.0, std::abs(d)));
    most_derivative = std::max(most_derivative, std::abs(static_cast<double>(gelu_derivative(x)) - derivative));
  }
  CHECK(most < 3e-7);
  CHECK(most_derivative < 3e-7);
  CHECK(std::isnan(gelu(NAN)));
  CHECK(std::isnan(gelu_derivative(NAN)));
}

TEST_CASE("the gradient of a norm sums to nothing, alone and against the normed values") {
  Rng rng(DrawKey{.seed = 4});
  constexpr int C = 96;
  std::array<double, C> u{}, g{};
  double mean = 0, square = 0, mean_g = 0, mean_gu = 0;
  for (double& x : u) mean += (x = static_cast<double>(rng.normal())) / C;
  for (double& x : u) square += (x - mean) * (x - mean) / C;
  for (double& x : u) x = (x - mean) / std::sqrt(square);
  for (double& x : g) mean_g += (x = static_cast<double>(rng.normal())) / C;
  for (std::size_t i = 0; i < C; ++i) mean_gu += g[i] * u[i] / C;
  double sum = 0, product = 0;
  for (std::size_t i = 0; i < C; ++i) {
    const auto dx = static_cast<double>(norm_gradient(static_cast<float>(g[i]), static_cast<float>(u[i]), 2,
                                                      static_cast<float>(mean_g), static_cast<float>(mean_gu)));
    CHECK(std::abs(dx - 2 * (g[i] - mean_g - u[i] * mean_gu)) < 32 * eps);
    sum += dx;
    product += dx * u[i];
  }
  CHECK(std::abs(sum) < 32 * eps * C);
  CHECK(std::abs(product) < 128 * eps * C);
}

TEST_CASE("a dropout's threshold keeps what the contract keeps, word for word") {
  Rng rng(DrawKey{.seed = 5});
  for (const double rate : {0.0, 1e-9, 0.1, 0.25, 0.5, 0.999999, 1.0}) {
    const std::uint32_t threshold = keep_threshold(rate);
    for (int i = 0; i < 1000; ++i) {
      const std::array<std::uint32_t, 4> block{rng.next(), 0, 0xFFFFFFFFu, 0xFFu};
      for (std::uint32_t k = 0; k < 4; ++k) CHECK(kept_word(block[k], threshold) == kept(block, k, rate));
    }
  }
}

TEST_CASE("losses and their slopes agree with differences") {
  for (const double beta : {0.0, 0.7})
    for (double u = -2; u < 2; u += 0.0301) {
      const double h = 1e-6;
      const double slope = (regression(u + h, beta).loss - regression(u - h, beta).loss) / (2 * h);
      CHECK(std::abs(regression(u, beta).slope - slope) < 1e-5);
    }
  CHECK(regression(0.35, 0.7).loss == 0.35 * 0.35 * (0.5 / 0.7));
  CHECK(regression(-1, 0.7).loss == 0.65);
}

TEST_CASE("Adam and the moving average agree with double") {
  Rng rng(DrawKey{.seed = 6});
  for (int i = 0; i < 1000; ++i) {
    const double g = static_cast<double>(rng.normal()), m = 0.1 * static_cast<double>(rng.normal()),
                 v = 0.01 * static_cast<double>(rng.uniform()) + 1e-3, p = static_cast<double>(rng.normal());
    const AdamFactors f{0.5f, 0.9f, 0.1f, 0.95f, 0.05f, 1e-8f, 1e-3f, 1e-4f};
    auto fm = static_cast<float>(m), fv = static_cast<float>(v), fp = static_cast<float>(p);
    adam_element(f, static_cast<float>(g), fm, fv, fp);
    const double dm = 0.9 * m + 0.1 * 0.5 * g, dv = 0.95 * v + 0.05 * 0.25 * g * g;
    const double dp = p - 1e-4 * p - 1e-3 * dm / (std::sqrt(dv) + 1e-8);
    CHECK(std::abs(static_cast<double>(fm) - dm) < 8 * eps * (std::abs(m) + std::abs(g)));
    CHECK(std::abs(static_cast<double>(fv) - dv) < 8 * eps * (v + g * g));
    CHECK(std::abs(static_cast<double>(fp) - dp) < 8 * eps * (1 + std::abs(p)));
    const auto average = static_cast<double>(moving_average_element(0.99f, 0.01f, static_cast<float>(m), fp));
    CHECK(std::abs(average - (0.99 * static_cast<double>(fp) + 0.01 * m)) < 4 * eps * (1 + std::abs(p)));
  }
}

TEST_CASE("sums of exponentials, in parts, with infinities and NaN") {
  const std::vector<double> x{-3, 700, 2, 699.5, -INFINITY, 1};
  LogSum all, left, right, none;
  for (std::size_t i = 0; i < x.size(); ++i) {
    all.add(x[i]);
    (i < 3 ? left : right).add(x[i]);
  }
  const double expected = 700 + std::log(1 + std::exp(-0.5));
  CHECK(std::abs(all.value() - expected) < 1e-12);
  left.merge(right);
  left.merge(none);
  CHECK(std::abs(left.value() - expected) < 1e-12);
  none.merge(left);
  CHECK(none.value() == left.value());
  LogSum hidden;
  hidden.add(-INFINITY);
  CHECK(hidden.sum == 0);
  all.add(NAN);
  CHECK(std::isnan(all.value()));
}

TEST_CASE("the soft maximum's derivative agrees with differences") {
  std::vector<double> x{0.3, -2, 1.5, 4, -0.7};
  const auto most = [&] {
    SoftMaximum m;
    for (const double v : x) m.add(v);
    return m;
  };
  const SoftMaximum m = most();
  for (double& v : x) {
    const double start = v, h = 1e-6;
    const double derivative = m.derivative(v);
    v = start + h;
    const double up = most().z();
    v = start - h;
    const double down = most().z();
    v = start;
    CHECK(std::abs((up - down) / (2 * h) - derivative) < 1e-8);
  }
}
