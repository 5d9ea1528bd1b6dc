// SPDX-License-Identifier: MIT
// The matrix product against double, and what its bits must not depend on.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/linear.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

namespace {

// c (m, n) = a (m, k) b (k, n) in double, by strides.
template <class T>
std::vector<double> product(int m, int n, int k, const std::vector<T>& a, int a_row, int a_column,
                            const std::vector<T>& b, int b_row, int b_column) {
  std::vector<double> c;
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int p = 0; p < k; ++p)
        sum += static_cast<double>(a[static_cast<std::size_t>(i * a_row + p * a_column)]) *
               static_cast<double>(b[static_cast<std::size_t>(p * b_row + j * b_column)]);
      c.push_back(sum);
    }
  return c;
}

template <class Isa, int In, int Out, class T>
void check_all(int rows) {
  BasicCpu<Isa> cpu;
  const auto count = [](int a, int b) { return static_cast<std::size_t>(a) * static_cast<std::size_t>(b); };
  const auto x = numbers<T>(count(rows, In), 1), w = numbers<T>(count(Out, In), 2), b = numbers<T>(Out, 3),
             dy = numbers<T>(count(rows, Out), 4);
  INFO(Isa::name, " rows ", rows, " in ", In, " out ", Out);

  std::vector<T> y(count(rows, Out));
  auto expected = product(rows, Out, In, x, In, 1, w, 1, In);
  device::linear<In, Out>(cpu, rows, x.data(), w.data(), nullptr, y.data());
  CHECK(support::largest_difference(y, expected) < support::tolerance<T>(In));
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += static_cast<double>(b[i % Out]);
  device::linear<In, Out>(cpu, rows, x.data(), w.data(), b.data(), y.data());
  CHECK(support::largest_difference(y, expected) < support::tolerance<T>(In + 1));

  std::vector<T> dx(count(rows, In), T(3));
  expected = product(rows, In, Out, dy, Out, 1, w, In, 1);
  device::linear_input_gradient<In, Out>(cpu, rows, dy.data(), w.data(), dx.data());
  CHECK(support::largest_difference(dx, expected) < support::tolerance<T>(Out));
  device::linear_input_gradient<In, Out, Grad::accumulate>(cpu, rows, dy.data(), w.data(), dx.data());
  for (double& e : expected) e *= 2;
  CHECK(support::largest_difference(dx, expected) < 2 * support::tolerance<T>(Out));

  std::vector<T> dw(count(Out, In), T(1)), db(Out, T(1));
  expected = product(Out, In, rows, dy, 1, Out, x, In, 1);
  for (double& e : expected) e += 1;
  device::linear_weight_gradient<In, Out>(cpu, rows, dy.data(), x.data(), dw.data(), db.data());
  CHECK(support::largest_difference(dw, expected) < support::tolerance<T>(rows + 1));
  std::vector<double> sums(Out, 1);
  for (std::size_t i = 0; i < dy.size(); ++i) sums[i % Out] += static_cast<double>(dy[i]);
  CHECK(support::largest_difference(db, sums) < support::tolerance<T>(rows + 1));
  device::linear_weight_gradient<In, Out>(cpu, rows, dy.data(), x.data(), dw.data(), nullptr);
}

}  // namespace

TEST_CASE_TEMPLATE("products agree with double", T, float, double) {
  check_all<isa::Native, 45, 70, T>(37);
  check_all<isa::Native, 500, 33, T>(13);  // more than one block of terms
  check_all<isa::Native, 1, 1, T>(1);
  check_all<isa::Native, 7, 3, T>(600);    // more than one block of rows, and of terms of the weight gradient
  check_all<isa::Native, 150, 205, T>(400);  // rows that lie across memory, in more than one block
  check_all<isa::Portable, 45, 70, T>(37);
}

TEST_CASE_TEMPLATE("a row has the same bits alone, in any batch, at any alignment", T, float, double) {
  constexpr int In = 450, Out = 50, rows = 43;
  Cpu cpu;
  const auto x = numbers<T>(rows * In, 1), w = numbers<T>(Out * In, 2), b = numbers<T>(Out, 3);
  std::vector<T> all(rows * Out), one(Out);
  device::linear<In, Out>(cpu, rows, x.data(), w.data(), b.data(), all.data());
  for (int r = 0; r < rows; ++r) {
    device::linear<In, Out>(cpu, 1, x.data() + r * In, w.data(), b.data(), one.data());
    CHECK(support::same_bits(one.data(), all.data() + r * Out, Out));
  }
  for (std::size_t offset = 0; offset < 8; ++offset) {
    support::Shifted<T> sx(x, offset), sw(w, 7 - offset), sb(b, offset / 2), sy(all, offset);
    std::fill(sy.data(), sy.data() + all.size(), T(0));
    device::linear<In, Out>(cpu, rows, sx.data(), sw.data(), sb.data(), sy.data());
    CHECK((sy == all));
  }
  std::vector<T> dx(rows * In), dx_one(In);
  device::linear_input_gradient<In, Out>(cpu, rows, all.data(), w.data(), dx.data());
  for (int r = 0; r < rows; ++r) {
    device::linear_input_gradient<In, Out>(cpu, 1, all.data() + r * Out, w.data(), dx_one.data());
    CHECK(support::same_bits(dx_one.data(), dx.data() + r * In, In));
  }
}

TEST_CASE("no rows: nothing is written, gradients stay") {
  Cpu cpu;
  std::vector<float> w(6, 1.0f), dw(6, 2.0f), db(2, 3.0f);
  device::linear<3, 2>(cpu, 0, nullptr, w.data(), nullptr, static_cast<float*>(nullptr));
  device::linear_weight_gradient<3, 2>(cpu, 0, nullptr, nullptr, dw.data(), db.data());
  CHECK(dw == std::vector<float>(6, 2.0f));
  CHECK(db == std::vector<float>(2, 3.0f));
}

TEST_CASE("NaN and infinity pass through") {
  Cpu cpu;
  std::vector<float> x(2 * 20, 1.0f), w(3 * 20, 1.0f), y(6);
  x[5] = NAN;
  device::linear<20, 3>(cpu, 2, x.data(), w.data(), nullptr, y.data());
  for (int i = 0; i < 3; ++i) CHECK(std::isnan(y[static_cast<std::size_t>(i)]));
  for (std::size_t i = 3; i < 6; ++i) CHECK(y[i] == 20);
}
