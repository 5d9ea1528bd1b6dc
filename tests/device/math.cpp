// SPDX-License-Identifier: MIT
// Accuracy of the vector functions over dense sweeps, against double.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/math.hpp>

#include "support.hpp"

using namespace data2vec;

namespace {

template <class Isa>
struct Sweep {
  using L = Lanes<float, Isa>;
  using V = typename L::V;

  // Largest error over n numbers in [a, b], relative or absolute.
  template <class F, class G>
  static double error(F f, G exact, double a, double b, bool relative, int n = 400'000) {
    double most = 0;
    for (int i = 0; i < n; i += L::size) {
      V x{};
      for (int j = 0; j < L::size; ++j) x[j] = static_cast<float>(a + (b - a) * (i + j) / n);
      const V y = f(x);
      for (int j = 0; j < L::size; ++j) {
        const double right = exact(static_cast<double>(x[j]));
        const double e = std::abs(static_cast<double>(y[j]) - right) / (relative ? std::abs(right) : 1);
        if (!(e <= most)) most = e;
      }
    }
    return most;
  }
};

double exact_gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double exact_gelu_derivative(double x) {
  return 0.5 * (1 + std::erf(x / std::sqrt(2.0))) + x * std::exp(-x * x / 2) * 0.39894228040143267794;
}

}  // namespace

TEST_CASE_TEMPLATE("vector functions are as accurate as documented", Isa, isa::Portable, isa::Native) {
  using M = VectorMath<float, Isa>;
  using S = Sweep<Isa>;
  using V = typename S::V;
  CHECK(S::error([](V x) { return M::exp(x); }, [](double x) { return std::exp(x); }, -87.2, 88.2, true) < 1.2e-7);
  CHECK(S::error([](V x) { return M::erf(x); }, [](double x) { return std::erf(x); }, -5, 5, false) < 1.5e-7);
  CHECK(S::error([](V x) { return M::gelu(x); }, exact_gelu, -12, 12, false) < 6e-7);  // half an ulp at 12 is 4.8e-7
  CHECK(S::error([](V x) { return M::gelu(x); }, exact_gelu, -4, 4, false) < 3e-7);
  CHECK(S::error([](V x) { return M::gelu_derivative(x); }, exact_gelu_derivative, -12, 12, false) < 3e-7);
  CHECK(S::error([](V x) { return M::log(x); }, [](double x) { return std::log(x); }, 6e-8, 1, true) < 1.5e-7);
  CHECK(S::error([](V x) { return M::cos_sin(x)[0]; }, [](double x) { return std::cos(x); }, -8, 8, false) < 1e-7);
  CHECK(S::error([](V x) { return M::cos_sin(x)[1]; }, [](double x) { return std::sin(x); }, -8, 8, false) < 1e-7);
}

TEST_CASE_TEMPLATE("vector functions at the edges", Isa, isa::Portable, isa::Native) {
  using M = VectorMath<float, Isa>;
  using L = Lanes<float, Isa>;
  const auto at = [](auto f, float x) { return f(L::all(x))[0]; };
  const auto exp = [&](float x) { return at([](auto v) { return M::exp(v); }, x); };
  const auto erf = [&](float x) { return at([](auto v) { return M::erf(v); }, x); };
  const auto gelu = [&](float x) { return at([](auto v) { return M::gelu(v); }, x); };
  CHECK(exp(0) == 1);
  CHECK(exp(-INFINITY) == 0);
  CHECK(exp(-1e30f) == 0);
  CHECK(exp(INFINITY) == INFINITY);
  CHECK(std::isnan(exp(NAN)));
  CHECK(erf(1e30f) == 1);
  CHECK(erf(-20) == -1);
  CHECK(std::isnan(erf(NAN)));
  for (const float x : {0.1f, 0.7f, 1.9f, 3.3f}) CHECK(erf(-x) == -erf(x));
  CHECK(gelu(1e30f) == 1e30f);
  CHECK(gelu(-1e30f) == 0);
  CHECK(gelu(0) == 0);
  CHECK(std::isnan(gelu(NAN)));
}

TEST_CASE_TEMPLATE("an element has the same bits in a body and in a tail", T, float, double) {
  using L = Lanes<T, isa::Native>;
  using V = typename L::V;
  const auto x = support::numbers<T>(100, 1);
  std::vector<T> all(100);
  const auto f = [](V v) { return VectorMath<T, isa::Native>::gelu_derivative(v); };
  L::map(100, all.data(), f, x.data());
  for (std::size_t first = 0; first < 40; ++first)
    for (std::size_t n = 1; n < 40; n += 3) {
      std::vector<T> part(n, T(-1));
      L::map(n, part.data(), f, x.data() + first);
      CHECK(support::same_bits(part.data(), all.data() + first, n));
    }
}

TEST_CASE_TEMPLATE("lanes", T, float, double) {
  using L = Lanes<T, isa::Native>;
  std::vector<T> x(L::size), y(L::size, T(7));
  for (int i = 0; i < L::size; ++i) x[static_cast<std::size_t>(i)] = T(i + 1);
  CHECK(L::sum(L::load(x.data())) == T(L::size * (L::size + 1) / 2));
  CHECK(L::largest(L::load(x.data())) == T(L::size));
  for (int n = 0; n <= L::size; ++n) {
    CHECK(L::sum(L::load(x.data(), n)) == T(n * (n + 1) / 2));
    CHECK(L::sum(L::first(L::load(x.data()), n)) == T(n * (n + 1) / 2));
    std::fill(y.begin(), y.end(), T(7));
    L::store(y.data(), L::load(x.data()), n);
    for (int i = 0; i < L::size; ++i) CHECK(y[static_cast<std::size_t>(i)] == (i < n ? T(i + 1) : T(7)));
  }
  const auto low = L::interleave_low(L::load(x.data()), -L::load(x.data()));
  CHECK(low[0] == 1);
  CHECK(low[1] == -1);
  CHECK(low[L::size - 1] == -L::size / 2);
  CHECK(L::sqrt(L::all(T(9)))[L::size - 1] == 3);
}
