// SPDX-License-Identifier: MIT
// Linear layers on the processor.
#pragma once

#include <data2vec/device/cpu/product.hpp>
#include <data2vec/device/linear.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Linear<BasicCpu<Isa>> {
  template <int In, int Out, class T>
  static void forward(BasicCpu<Isa>&, int rows, const T* x, const T* weight, const T* bias, T* y) {
    detail::Product<T, Isa>::run(rows, Out, In, {x, In, 1}, {weight, 1, In}, bias, false, y, Out);
  }

  template <int In, int Out, Grad G, class T>
  static void input_gradient(BasicCpu<Isa>&, int rows, const T* dy, const T* weight, T* dx) {
    detail::Product<T, Isa>::run(rows, In, Out, {dy, Out, 1}, {weight, In, 1}, nullptr, G == Grad::accumulate, dx, In);
  }

  template <int In, int Out, class T>
  static void weight_gradient(BasicCpu<Isa>&, int rows, const T* dy, const T* x, T* dweight, T* dbias) {
    detail::Product<T, Isa>::run(Out, In, rows, {dy, 1, Out}, {x, In, 1}, nullptr, true, dweight, In);
    if (dbias) detail::column_sums<Isa>(rows, Out, dy, dbias);
  }
};

}  // namespace data2vec::inline v0
