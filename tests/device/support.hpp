// SPDX-License-Identifier: MIT
// What the tests of the kernels share: numbers, tolerances, copies at every alignment.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/device/cpu/cpu.hpp>

namespace support {

/// n numbers in [-1, 1), a stream of their own for each `stream`.
template <class T>
std::vector<T> numbers(std::size_t n, std::uint32_t stream) {
  data2vec::Rng rng(data2vec::DrawKey{.seed = 1, .sample = stream});
  std::vector<T> v(n);
  for (T& x : v) x = static_cast<T>(2 * rng.uniform() - 1);
  return v;
}

/// Rounding errors of a sum of K terms, each relative to the sum so far (`size`), add like a random walk; 8 times that
/// is an error.
template <class T>
double tolerance(double K, double size = 1) {
  return 8 * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::sqrt(K) * std::max(1.0, size);
}

template <class T>
double largest(const std::vector<T>& v) {
  double most = 0;
  for (const T x : v) most = std::max(most, std::abs(static_cast<double>(x)));
  return most;
}

template <class A, class B>
double largest_difference(const std::vector<A>& a, const std::vector<B>& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(d <= most)) most = d;  // NaN is a difference
  }
  return most;
}

template <class T>
bool same_bits(const T* a, const T* b, std::size_t n) {
  return std::memcmp(a, b, n * sizeof(T)) == 0;
}

/// The same numbers, `offset` elements behind a multiple of 64 bytes.
template <class T>
class Shifted {
 public:
  Shifted(const std::vector<T>& v, std::size_t offset) : memory_(v.size() + 128), size_(v.size()) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    start_ = (64 - address % 64) % 64 / sizeof(T) + offset;
    std::copy(v.begin(), v.end(), data());
  }
  T* data() { return memory_.data() + start_; }
  bool operator==(const std::vector<T>& v) { return v.size() == size_ && same_bits(data(), v.data(), size_); }

 private:
  std::vector<T> memory_;
  std::size_t start_ = 0, size_ = 0;
};

/// d loss / d w by central differences, in double.
template <class Loss>
double central_difference(Loss&& loss, double& w, double h = 1e-6) {
  const double start = w;
  w = start + h;
  const double up = loss();
  w = start - h;
  const double down = loss();
  w = start;
  return (up - down) / (2 * h);
}

template <class A, class B>
double dot(const std::vector<A>& a, const std::vector<B>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace support
