// SPDX-License-Identifier: MIT
// Linear layers on the GPU: matrix products by cuBLASLt. Row-major arrays are its column-major ones transposed, so
// y = x W^T + b is y^T = W x^T + b. The algorithm of a product is chosen once, by timing; in deterministic mode it is
// the library's first without split sums, one for all numbers of rows.
#pragma once

#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/gelu.cuh>
#include <data2vec/device/cuda/product.cuh>
#include <data2vec/device/linear.hpp>

namespace data2vec::inline v0 {

template <Precision P>
struct kernel::Linear<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <int In, int Out, class T>
  static void forward(D& d, int rows, const T* x, const T* weight, const T* bias, T* y) {
    detail::gpu::product<P>(d, "linear", {.m = Out, .n = rows, .k = In, .transposes_a = true, .rows_are_n = true},
                            weight, In, x, In, bias, y, Out);
  }

  template <int In, int Out, class T>
  static void forward_gelu(D& d, int rows, const T* x, const T* weight, const T* bias, T* y, T* activated) {
    forward<In, Out>(d, rows, x, weight, bias, y);
    kernel::Gelu<D>::forward(d, static_cast<std::size_t>(rows) * Out, static_cast<const T*>(y), activated);
  }

  template <int In, int Out, Grad G, class T>
  static void input_gradient(D& d, int rows, const T* dy, const T* weight, T* dx) {
    detail::gpu::product<P>(d, "linear_input_gradient",
                            {.m = In, .n = rows, .k = Out, .adds = G == Grad::accumulate, .rows_are_n = true}, weight,
                            In, dy, Out, static_cast<const T*>(nullptr), dx, In);
  }

  template <int In, int Out, class T>
  static void weight_gradient(D& d, int rows, const T* dy, const T* x, T* dweight, T* dbias) {
    constexpr const char* name = "linear_weight_gradient";
    detail::gpu::product<P>(d, name, {.m = In, .n = Out, .k = rows, .transposes_b = true, .adds = true}, x, In, dy, Out,
                            static_cast<const T*>(nullptr), dweight, In);
    if (dbias)
      detail::gpu::add_column_sums(d, name, rows, Out, dy, dbias);
  }
};

}  // namespace data2vec::inline v0
