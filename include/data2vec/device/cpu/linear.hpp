// SPDX-License-Identifier: MIT
// Linear layers on the processor.
#pragma once

#include <data2vec/device/cpu/math.hpp>
#include <data2vec/device/cpu/product.hpp>
#include <data2vec/device/linear.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Linear<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  template <class T>
  using Product = detail::Product<T, Isa>;

  template <int In, int Out, class T>
  static void forward(Cpu& d, int rows, const T* x, const T* weight, const T* bias, T* y) {
    Product<T>::run(d, rows, Out, In, {x, In, 1}, {weight, 1, In}, bias, false, y, Out);
  }

  template <int In, int Out, class T>
  static void forward_gelu(Cpu& d, int rows, const T* x, const T* weight, const T* bias, T* y, T* activated) {
    const auto gelu = [](Vec<T, Isa> v) { return VectorMath<T, Isa>::gelu(v); };
    Product<T>::run(d, rows, Out, In, {x, In, 1}, {weight, 1, In}, bias, false, y, Out, gelu, activated);
  }

  template <int In, int Out, Grad G, class T>
  static void input_gradient(Cpu& d, int rows, const T* dy, const T* weight, T* dx) {
    Product<T>::run(d, rows, In, Out, {dy, Out, 1}, {weight, In, 1}, nullptr, G == Grad::accumulate, dx, In);
  }

  template <int In, int Out, class T>
  static void weight_gradient(Cpu& d, int rows, const T* dy, const T* x, T* dweight, T* dbias) {
    Product<T>::run(d, Out, In, rows, {dy, 1, Out}, {x, In, 1}, nullptr, true, dweight, In);
    if (dbias) detail::column_sums(d, rows, Out, dy, dbias);
  }
};

}  // namespace data2vec::inline v0
