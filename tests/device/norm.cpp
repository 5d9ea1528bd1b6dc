// SPDX-License-Identifier: MIT
// Layer norm against double and finite differences, standardisation of channels, bits.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/elementwise.hpp>
#include <data2vec/device/cpu/norm.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

namespace {

template <int C, class T>
std::vector<double> reference(int rows, const std::vector<T>& x, const std::vector<T>* gamma,
                              const std::vector<T>* beta) {
  std::vector<double> y;
  for (int r = 0; r < rows; ++r) {
    const T* row = x.data() + r * C;
    double mean = 0, variance = 0;
    for (int c = 0; c < C; ++c) mean += static_cast<double>(row[c]) / C;
    for (int c = 0; c < C; ++c) variance += std::pow(static_cast<double>(row[c]) - mean, 2) / C;
    for (std::size_t c = 0; c < C; ++c) {
      const double u = (static_cast<double>(row[c]) - mean) / std::sqrt(variance + 1e-5);
      y.push_back(gamma ? u * static_cast<double>((*gamma)[c]) + static_cast<double>((*beta)[c]) : u);
    }
  }
  return y;
}

template <int C, class T>
void check(int rows) {
  Cpu cpu;
  const auto size = static_cast<std::size_t>(rows) * C;
  auto x = numbers<T>(size, 1);
  for (T& v : x) v = v + T(2);  // a mean that is not small
  const auto gamma = numbers<T>(C, 2), beta = numbers<T>(C, 3);
  std::vector<T> y(size), plain(size), stats(static_cast<std::size_t>(rows) * 2);
  device::layer_norm<C>(cpu, rows, x.data(), gamma.data(), beta.data(), 1e-5, y.data(), stats.data());
  // Rounding of the mean (about 2) over a deviation of 0.58, and of few terms more.
  const double tolerance = 4 * support::tolerance<T>(4);
  CHECK(support::largest_difference(y, reference<C, T>(rows, x, &gamma, &beta)) < tolerance);
  device::layer_norm<C>(cpu, rows, x.data(), nullptr, nullptr, 1e-5, plain.data(), nullptr);
  CHECK(support::largest_difference(plain, reference<C, T>(rows, x, nullptr, nullptr)) < tolerance);
  auto sum = numbers<T>(size, 4), added = sum, normed = plain, sums_stats = stats;
  device::add(cpu, size, x.data(), added.data(), added.data());
  device::layer_norm<C>(cpu, rows, added.data(), gamma.data(), beta.data(), 1e-5, plain.data(), stats.data());
  device::add_layer_norm<C>(cpu, rows, x.data(), sum.data(), gamma.data(), beta.data(), 1e-5, sum.data(),
                            normed.data(), sums_stats.data());
  CHECK(sum == added);
  CHECK(normed == plain);
  CHECK(sums_stats == stats);
  for (int r = 0; r < rows; ++r) {
    std::vector<T> one(C);
    device::layer_norm<C>(cpu, 1, x.data() + r * C, gamma.data(), beta.data(), 1e-5, one.data(), nullptr);
    CHECK(support::same_bits(one.data(), y.data() + r * C, C));
  }
  for (std::size_t offset = 0; offset < 8; ++offset) {
    support::Shifted<T> sx(x, offset), sg(gamma, 7 - offset);
    device::layer_norm<C>(cpu, rows, sx.data(), sg.data(), beta.data(), 1e-5, sx.data(), nullptr);  // in place
    CHECK((sx == y));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("layer norm agrees with double", T, float, double) {
  check<96, T>(5);
  check<37, T>(3);
  check<2, T>(3);
  check<768, T>(2);
}

TEST_CASE("the gradient of layer norm agrees with central differences, every element") {
  constexpr int C = 11, rows = 3;
  Cpu cpu;
  auto x = numbers<double>(rows * C, 1), gamma = numbers<double>(C, 2), beta = numbers<double>(C, 3);
  const auto dy = numbers<double>(rows * C, 4);
  std::vector<double> y(rows * C), stats(rows * 2), dx(rows * C), dgamma(C, 1.0), dbeta(C, 1.0);
  for (const bool affine : {true, false}) {
    const double *g = affine ? gamma.data() : nullptr, *b = affine ? beta.data() : nullptr;
    const auto loss = [&] {
      device::layer_norm<C>(cpu, rows, x.data(), g, b, 1e-5, y.data(), stats.data());
      return support::dot(y, dy);
    };
    loss();
    device::layer_norm_backward<C>(cpu, rows, dy.data(), x.data(), g, stats.data(), dx.data(),
                                   affine ? dgamma.data() : nullptr, affine ? dbeta.data() : nullptr);
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(std::abs(support::central_difference(loss, x[i]) - dx[i]) < 1e-7);
    for (std::size_t i = 0; affine && i < C; ++i) {
      CHECK(std::abs(support::central_difference(loss, gamma[i]) + 1 - dgamma[i]) < 1e-7);
      CHECK(std::abs(support::central_difference(loss, beta[i]) + 1 - dbeta[i]) < 1e-7);
    }
  }
}

TEST_CASE("the gradient in float agrees with double, in place, over several blocks of rows") {
  constexpr int C = 37, rows = 600;
  Cpu cpu;
  const auto x = numbers<float>(rows * C, 1), gamma = numbers<float>(C, 2);
  auto dy = numbers<float>(rows * C, 4);
  const auto xe = numbers<double>(rows * C, 1), ge = numbers<double>(C, 2), dye = numbers<double>(rows * C, 4);
  std::vector<float> y(rows * C), stats(rows * 2), dgamma(C), dbeta(C);
  std::vector<double> ye(rows * C), se(rows * 2), dxe(rows * C), dge(C), dbe(C);
  device::layer_norm<C>(cpu, rows, x.data(), gamma.data(), gamma.data(), 1e-5, y.data(), stats.data());
  device::layer_norm<C>(cpu, rows, xe.data(), ge.data(), ge.data(), 1e-5, ye.data(), se.data());
  device::layer_norm_backward<C>(cpu, rows, dye.data(), xe.data(), ge.data(), se.data(), dxe.data(), dge.data(),
                                 dbe.data());
  device::layer_norm_backward<C>(cpu, rows, dy.data(), x.data(), gamma.data(), stats.data(), dy.data(), dgamma.data(),
                                 dbeta.data());
  CHECK(support::largest_difference(dy, dxe) < support::tolerance<float>(C));
  CHECK(support::largest_difference(dgamma, dge) < support::tolerance<float>(rows));
  CHECK(support::largest_difference(dbeta, dbe) < support::tolerance<float>(rows));
}

TEST_CASE_TEMPLATE("standardised channels have mean 0 and variance 1", T, float, double) {
  constexpr int C = 19, groups = 3, rows = 50;
  Cpu cpu;
  auto x = numbers<T>(groups * rows * C, 1);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] * T(0.1) + T(i % C);
  const auto before = x;
  device::standardise_channels<C>(cpu, groups, rows, 0.0, x.data());
  for (std::size_t g = 0; g < groups; ++g)
    for (std::size_t c = 0; c < C; ++c) {
      double mean = 0, square = 0, old_mean = 0, old_square = 0;
      for (std::size_t r = 0; r < rows; ++r) {
        const std::size_t i = (g * rows + r) * C + c;
        const double v = static_cast<double>(x[i]), old = static_cast<double>(before[i]);
        mean += v / rows;
        square += v * v / rows;
        old_mean += old / rows;
        old_square += (old - static_cast<double>(c)) * (old - static_cast<double>(c)) / rows;
      }
      // The mean, up to 18 over a deviation of 0.058, is a sum of 50 terms in double and rounded once to T.
      const double tolerance = 18 / 0.058 * (static_cast<double>(std::numeric_limits<T>::epsilon()) +
                                             support::tolerance<double>(rows));
      CHECK(std::abs(mean) < tolerance);
      CHECK(std::abs(square - 1) < 2 * tolerance);
      const double shift = old_mean - static_cast<double>(c), deviation = std::sqrt(old_square - shift * shift);
      const double first = (static_cast<double>(before[g * rows * C + c]) - old_mean) / deviation;
      CHECK(std::abs(static_cast<double>(x[g * rows * C + c]) - first) < 4 * tolerance);
    }
  auto one = std::vector<T>(before.begin() + rows * C, before.begin() + 2 * rows * C);
  device::standardise_channels<C>(cpu, 1, rows, 0.0, one.data());
  CHECK(support::same_bits(one.data(), x.data() + rows * C, one.size()));
}
