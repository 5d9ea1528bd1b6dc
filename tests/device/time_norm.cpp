// SPDX-License-Identifier: MIT
// Normalisation over time against double and finite differences; what stands behind the valid frames is not seen.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/time_norm.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

namespace {

template <int C, class T>
std::vector<double> reference(int rows, int frames, const int* valid, const std::vector<T>& x,
                              const std::vector<T>& gamma, const std::vector<T>& beta) {
  std::vector<double> y(x.size());
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < C; ++c) {
      const int count = valid ? valid[r] : frames;
      const auto at = [&](int t) { return static_cast<std::size_t>((r * frames + t) * C + c); };
      double mean = 0, variance = 0;
      for (int t = 0; t < count; ++t) mean += static_cast<double>(x[at(t)]) / count;
      for (int t = 0; t < count; ++t) variance += std::pow(static_cast<double>(x[at(t)]) - mean, 2) / count;
      const auto channel = static_cast<std::size_t>(c);
      for (int t = 0; t < count; ++t)
        y[at(t)] = (static_cast<double>(x[at(t)]) - mean) / std::sqrt(variance + 1e-5) *
                       static_cast<double>(gamma[channel]) +
                   static_cast<double>(beta[channel]);
    }
  return y;
}

template <int C, class T>
void check(int rows, int frames, const int* valid) {
  Cpu cpu;
  auto x = numbers<T>(static_cast<std::size_t>(rows * frames * C), 1);
  for (T& v : x) v = v + T(2);  // a mean that is not small
  const auto gamma = numbers<T>(C, 2), beta = numbers<T>(C, 3);
  std::vector<T> y(x.size(), T(NAN)), stats(static_cast<std::size_t>(rows) * 2 * C);
  device::time_norm<C>(cpu, rows, frames, valid, x.data(), gamma.data(), beta.data(), 1e-5, y.data(), stats.data());
  // Rounding of the mean (about 2) over a deviation of 0.58, and of few terms more; over few frames it may be smaller.
  CHECK(support::largest_difference(y, reference<C, T>(rows, frames, valid, x, gamma, beta)) <
        16 * support::tolerance<T>(4));
  std::vector<T> in_place = x;
  device::time_norm<C>(cpu, rows, frames, valid, in_place.data(), gamma.data(), beta.data(), 1e-5, in_place.data(),
                       stats.data());
  CHECK(support::same_bits(in_place.data(), y.data(), y.size()));
}

}  // namespace

TEST_CASE_TEMPLATE("time norm agrees with double", T, float, double) {
  const int valid[] = {9, 4, 7};
  check<5, T>(3, 9, nullptr);
  check<5, T>(3, 9, valid);
  check<70, T>(3, 9, valid);  // more than a block of channels
}

TEST_CASE("the gradient of time norm agrees with central differences, every element") {
  constexpr int C = 3, rows = 2, frames = 6;
  constexpr std::size_t size = static_cast<std::size_t>(rows) * frames * C;
  Cpu cpu;
  const int some[rows] = {6, 4};
  auto x = numbers<double>(size, 1), gamma = numbers<double>(C, 2), beta = numbers<double>(C, 3);
  const auto dy = numbers<double>(size, 4);
  std::vector<double> y(size), stats(rows * 2 * C), dx(size), dgamma(C, 1.0), dbeta(C, 1.0);
  for (const int* valid : {static_cast<const int*>(nullptr), some}) {
    const auto loss = [&] {
      device::time_norm<C>(cpu, rows, frames, valid, x.data(), gamma.data(), beta.data(), 1e-5, y.data(), stats.data());
      return support::dot(y, dy);
    };
    loss();
    std::fill(dgamma.begin(), dgamma.end(), 1.0);
    std::fill(dbeta.begin(), dbeta.end(), 1.0);
    device::time_norm_backward<C>(cpu, rows, frames, valid, dy.data(), x.data(), gamma.data(), stats.data(), dx.data(),
                                  dgamma.data(), dbeta.data());
    // Differences of 36 terms with a step of 1e-6: rounding of 1e-16 * 36 / 1e-6, truncation far below.
    const double bound = 1e-8;
    for (std::size_t i = 0; i < size; ++i) CHECK(std::abs(dx[i] - support::central_difference(loss, x[i])) < bound);
    for (std::size_t c = 0; c < C; ++c) {
      CHECK(std::abs(dgamma[c] - 1 - support::central_difference(loss, gamma[c])) < bound);
      CHECK(std::abs(dbeta[c] - 1 - support::central_difference(loss, beta[c])) < bound);
    }
  }
}

TEST_CASE("time norm does not see what stands behind the valid frames") {
  constexpr int C = 4, frames = 7;
  Cpu cpu;
  const int valid[] = {5};
  auto x = numbers<float>(frames * C, 1);
  const auto gamma = numbers<float>(C, 2), beta = numbers<float>(C, 3), dy = numbers<float>(frames * C, 4);
  const auto run = [&](int length, const int* count) {
    std::vector<float> all(2 * frames * C + 2 * C, 7.0f), stats(2 * C);
    float *y = all.data(), *dx = y + frames * C, *dgamma = dx + frames * C;
    device::time_norm<C>(cpu, 1, length, count, x.data(), gamma.data(), beta.data(), 1e-5, y, stats.data());
    device::time_norm_backward<C>(cpu, 1, length, count, dy.data(), x.data(), gamma.data(), stats.data(), dx, dgamma,
                                  dgamma + C);
    return all;
  };
  const auto padded = run(frames, valid);
  for (std::size_t i = 5 * C; i < frames * C; ++i) x[i] = NAN;
  const auto poisoned = run(frames, valid), short_row = run(5, nullptr);
  CHECK(support::same_bits(padded.data(), poisoned.data(), padded.size()));
  for (const std::size_t part : {std::size_t{0}, std::size_t{frames * C}}) {
    CHECK(support::same_bits(padded.data() + part, short_row.data() + part, 5 * C));
    for (std::size_t i = 5 * C; i < frames * C; ++i) CHECK(padded[part + i] == 0);
  }
  CHECK(support::same_bits(&padded[2 * frames * C], &short_row[2 * frames * C], 2 * C));
}
