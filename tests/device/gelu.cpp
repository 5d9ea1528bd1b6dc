// SPDX-License-Identifier: MIT
// GELU and its gradient against double; in place, at every alignment and length.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/gelu.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

TEST_CASE_TEMPLATE("GELU agrees with double", T, float, double) {
  Cpu cpu;
  auto x = numbers<T>(1000, 1);
  for (T& v : x) v *= T(5);
  const auto dy = numbers<T>(1000, 2);
  std::vector<T> y(1000), dx(1000);
  device::gelu(cpu, 1000, x.data(), y.data());
  device::gelu_backward(cpu, 1000, dy.data(), x.data(), dx.data());
  std::vector<double> ey, edx;
  for (std::size_t i = 0; i < 1000; ++i) {
    const double v = static_cast<double>(x[i]), cdf = 0.5 * (1 + std::erf(v / std::sqrt(2.0)));
    ey.push_back(v * cdf);
    edx.push_back(static_cast<double>(dy[i]) * (cdf + v * std::exp(-v * v / 2) * 0.39894228040143267794));
  }
  // Float: the documented error of the functions. Double: a few roundings of values up to 5.
  const double tolerance = sizeof(T) == 4 ? 4e-7 : support::tolerance<T>(4, 5);
  CHECK(support::largest_difference(y, ey) < tolerance);
  CHECK(support::largest_difference(dx, edx) < tolerance);

  for (std::size_t offset = 0; offset < 8; ++offset) {
    support::Shifted<T> sx(x, offset), sd(dy, 7 - offset);
    device::gelu_backward(cpu, 1000, sd.data(), sx.data(), sd.data());
    CHECK((sd == dx));
    device::gelu(cpu, 1000, sx.data(), sx.data());
    CHECK((sx == y));
  }
  for (std::size_t i = 0; i < 1000; i += 7) {
    T one;
    device::gelu(cpu, 1, x.data() + i, &one);
    CHECK(support::same_bits(&one, &y[i], 1));
  }
}
