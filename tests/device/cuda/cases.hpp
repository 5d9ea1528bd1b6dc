// SPDX-License-Identifier: MIT
// Operations with given numbers, for any device: run once on the CPU and once on the GPU, or on the device made of the
// host (host/), and compared. A Side is a device with memory: `in` takes numbers there, `out` brings them back.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <data2vec/core/random.hpp>

namespace cases {

struct Result {
  std::string name;
  std::vector<double> numbers;
  double tolerance;  ///< largest difference between two devices
};
using Results = std::vector<Result>;

/// Both devices round: a sum of K terms of size `size` in fp32 may be off by 8 times a random walk on either.
inline double rounding(double K, double size = 1) {
  return 2 * 8 * static_cast<double>(std::numeric_limits<float>::epsilon()) * std::sqrt(K) * size;
}

/// The same for a sum of K products of two numbers in [-1, 1), whose deviation is sqrt(K) / 3.
inline double product_rounding(double K) { return rounding(K, std::max(1.0, std::sqrt(K) / 3)); }

template <class T = float>
std::vector<T> numbers(std::size_t n, std::uint32_t stream, float scale = 1) {
  data2vec::Rng rng(data2vec::DrawKey{.seed = 1, .sample = stream});
  std::vector<T> v(n);
  for (T& x : v) x = static_cast<T>(scale * (2 * rng.uniform() - 1));
  return v;
}
/// n whole numbers in [first, end).
inline std::vector<int> indices(std::size_t n, std::uint32_t stream, int first, int end) {
  data2vec::Rng rng(data2vec::DrawKey{.seed = 2, .sample = stream});
  std::vector<int> v(n);
  for (int& x : v) x = first + static_cast<int>(rng.below(static_cast<std::uint32_t>(end - first)));
  return v;
}

/// A device whose memory is the host's.
template <class Device>
class HostSide {
 public:
  Device device;

  template <class T>
  T* in(const std::vector<T>& v) {
    auto& memory = memory_.emplace_back((v.size() * sizeof(T) + sizeof(Sixteen) - 1) / sizeof(Sixteen));
    std::memcpy(memory.data(), v.data(), v.size() * sizeof(T));
    return reinterpret_cast<T*>(memory.data());
  }
  template <class T>
  std::vector<T> out(const T* p, std::size_t n) {
    return {p, p + n};
  }

 private:
  struct alignas(16) Sixteen {
    char bytes[16];
  };
  std::deque<std::vector<Sixteen>> memory_;
};

/// Collects what a device makes of the cases.
template <class Side>
struct Run {
  Side& side;
  Results results;

  auto& device() { return side.device; }
  auto in(const auto& v) { return side.in(v); }
  float* space(std::size_t n) { return side.in(std::vector<float>(n, 7.0f)); }  // not zero: all must be written
  template <class T>
  void keep(const std::string& name, const T* p, std::size_t n, double tolerance) {
    const auto v = side.out(p, n);
    results.push_back({name, {v.begin(), v.end()}, tolerance});
  }
  void keep(const std::string& name, double x, double tolerance) { results.push_back({name, {x}, tolerance}); }
};

}  // namespace cases
