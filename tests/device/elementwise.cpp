// SPDX-License-Identifier: MIT
// Rows by index and arithmetic on arrays; GELU and Adam, which are elementwise too, have files of their own.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/elementwise.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

TEST_CASE_TEMPLATE("gather and scatter of rows", T, float, double) {
  constexpr int C = 21;
  Cpu cpu;
  const auto x = numbers<T>(5 * C, 1);
  const int index[] = {4, 0, 4, 2};
  std::vector<T> y(4 * C), sums(5 * C, T(1));
  device::gather_rows<C>(cpu, 4, x.data(), index, y.data());
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t c = 0; c < C; ++c) CHECK(y[i * C + c] == x[static_cast<std::size_t>(index[i]) * C + c]);
  device::scatter_add_rows<C>(cpu, 4, y.data(), index, sums.data());
  for (std::size_t c = 0; c < C; ++c) {
    CHECK(sums[0 * C + c] == T(1) + x[0 * C + c]);
    CHECK(sums[1 * C + c] == T(1));
    CHECK(sums[2 * C + c] == T(1) + x[2 * C + c]);
    CHECK(sums[4 * C + c] == (T(1) + x[4 * C + c]) + x[4 * C + c]);  // twice, in the order of the index
  }
  device::gather_rows<C>(cpu, 0, x.data(), nullptr, y.data());
}

TEST_CASE_TEMPLATE("rows repeated and averaged", T, float, double) {
  Cpu cpu;
  constexpr int C = 11, groups = 3, rows = 5;
  const auto x = numbers<T>(groups * rows * C, 1), repeated = numbers<T>(rows * C, 2);
  std::vector<T> y(x), mean(groups * C, T(9));
  device::add_repeated(cpu, groups, rows * C, y.data(), repeated.data(), y.data());
  device::mean_rows<C>(cpu, groups, rows, x.data(), mean.data());
  for (std::size_t g = 0; g < groups; ++g)
    for (std::size_t c = 0; c < C; ++c) {
      T sum = 0;
      for (std::size_t r = 0; r < rows; ++r) {
        const std::size_t at = (g * rows + r) * C + c;
        CHECK(y[at] == x[at] + repeated[r * C + c]);
        sum += x[at];
      }
      CHECK(mean[g * C + c] == sum * static_cast<T>(1.0 / rows));
    }
}

TEST_CASE_TEMPLATE("arithmetic on arrays of every length", T, float, double) {
  Cpu cpu;
  for (std::size_t n = 0; n < 70; ++n) {
    const auto a = numbers<T>(n, 1), b = numbers<T>(n, 2);
    std::vector<T> y(n + 1, T(9)), z(b), w(a);
    device::add(cpu, n, a.data(), b.data(), y.data());
    device::add_scaled(cpu, n, 0.5, a.data(), z.data());  // a / 2 is exact: fused or not, the bits are the same
    device::scale(cpu, n, -2.0, w.data());
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(y[i] == a[i] + b[i]);
      CHECK(z[i] == b[i] + a[i] / 2);
      CHECK(w[i] == -2 * a[i]);
    }
    CHECK(y[n] == 9);
    device::fill(cpu, n, 1.5, y.data());
    CHECK(std::count(y.begin(), y.end() - 1, T(1.5)) == static_cast<std::ptrdiff_t>(n));
    CHECK(y[n] == 9);
    device::copy(cpu, n, a.data(), y.data());
    CHECK(std::equal(a.begin(), a.end(), y.begin()));
    CHECK(y[n] == 9);
  }
}
