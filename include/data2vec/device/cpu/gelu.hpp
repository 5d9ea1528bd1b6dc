// SPDX-License-Identifier: MIT
// GELU on the processor.
#pragma once

#include <data2vec/device/cpu/math.hpp>
#include <data2vec/device/gelu.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Gelu<BasicCpu<Isa>> {
  template <class T>
  static void forward(BasicCpu<Isa>&, std::size_t count, const T* x, T* y) {
    using V = Vec<T, Isa>;
    Lanes<T, Isa>::map(count, y, [](V a) { return VectorMath<T, Isa>::gelu(a); }, x);
  }

  template <class T>
  static void backward(BasicCpu<Isa>&, std::size_t count, const T* dy, const T* x, T* dx) {
    using V = Vec<T, Isa>;
    Lanes<T, Isa>::map(count, dx, [](V g, V a) { return g * VectorMath<T, Isa>::gelu_derivative(a); }, dy, x);
  }
};

}  // namespace data2vec::inline v0
