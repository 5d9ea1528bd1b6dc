// SPDX-License-Identifier: MIT
// GELU on the processor.
#pragma once

#include <data2vec/device/cpu/math.hpp>
#include <data2vec/device/gelu.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Gelu<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;

  template <class T>
  static void forward(Cpu& d, std::size_t count, const T* x, T* y) {
    map<T>(d, count, y, [](Vec<T, Isa> a) { return VectorMath<T, Isa>::gelu(a); }, x);
  }

  template <class T>
  static void backward(Cpu& d, std::size_t count, const T* dy, const T* x, T* dx) {
    using V = Vec<T, Isa>;
    map<T>(d, count, dx, [](V g, V a) { return g * VectorMath<T, Isa>::gelu_derivative(a); }, dy, x);
  }

  template <class T>
  static void backward(Cpu& d, std::size_t count, const T* dy, const T* x, T* dx, T* y) {
    using L = Lanes<T, Isa>;
    detail::share(d, static_cast<std::ptrdiff_t>(count), grain, [=](std::ptrdiff_t first, std::ptrdiff_t end) {
      for (std::ptrdiff_t i = first; i < end; i += L::size) {
        const int n = static_cast<int>(std::min<std::ptrdiff_t>(end - i, L::size));
        const bool whole = n == L::size;
        const auto v = whole ? L::load(x + i) : L::load(x + i, n);
        const auto [value, derivative] = VectorMath<T, Isa>::gelu_with_derivative(v);
        const auto g = (whole ? L::load(dy + i) : L::load(dy + i, n)) * derivative;
        whole ? L::store(dx + i, g) : L::store(dx + i, g, n);
        whole ? L::store(y + i, value) : L::store(y + i, value, n);
      }
    });
  }

 private:
  static constexpr std::ptrdiff_t grain = 4096;

  template <class T, class F>
  static void map(Cpu& d, std::size_t count, T* y, F f, const auto*... x) {
    detail::share(d, static_cast<std::ptrdiff_t>(count), grain, [=](std::ptrdiff_t first, std::ptrdiff_t end) {
      Lanes<T, Isa>::map(static_cast<std::size_t>(end - first), y + first, f, (x + first)...);
    });
  }
};

}  // namespace data2vec::inline v0
