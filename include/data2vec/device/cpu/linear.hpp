// SPDX-License-Identifier: MIT
// Linear layers on the processor.
#pragma once

#include <algorithm>

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
    if (dbias) column_sums(rows, Out, dy, dbias);
  }

 private:
  using Index = std::ptrdiff_t;

  // Blocks of 256 rows, like the terms of a product.
  template <class T>
  static void column_sums(int rows, int columns, const T* x, T* sums) {
    using L = Lanes<T, Isa>;
    for (int r0 = 0; r0 < rows; r0 += 256) {
      const int r1 = std::min(rows, r0 + 256);
      for (int c = 0; c < columns; c += L::size) {
        const int n = std::min(columns - c, L::size);
        typename L::V sum{};
        if (n == L::size) {
          for (int r = r0; r < r1; ++r) sum += L::load(x + Index{r} * columns + c);
          L::store(sums + c, L::load(sums + c) + sum);
        } else {
          for (int r = r0; r < r1; ++r) sum += L::load(x + Index{r} * columns + c, n);
          L::store(sums + c, L::load(sums + c, n) + sum, n);
        }
      }
    }
  }
};

}  // namespace data2vec::inline v0
