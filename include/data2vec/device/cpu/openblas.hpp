// SPDX-License-Identifier: MIT
// Matrix products of float by OpenBLAS, one thread each, in place of our own kernel: for translation units compiled with
// DATA2VEC_OPENBLAS (CMake: D2V_GEMM=openblas). Bits then depend on its version and on the number of rows and threads.
#pragma once

#include <algorithm>

#include <data2vec/device/cpu/strided.hpp>
#include <data2vec/device/cpu/vec.hpp>

#if defined(DATA2VEC_OPENBLAS)
#include <cblas.h>
#if !defined(OPENBLAS_VERSION)
#error "data2vec: DATA2VEC_OPENBLAS needs OpenBLAS's cblas.h (Debian: libopenblas-dev), found another one"
#endif

namespace data2vec::inline v0::detail {

/// c (m, n) = a b + bias, added to c if `add`; finished = finish(c). One of the strides of each operand is 1.
template <class Isa, class Finish>
void openblas_product(std::ptrdiff_t m, std::ptrdiff_t n, int k, Strided<float> a, Strided<float> b, const float* bias,
                      bool add, float* c, std::ptrdiff_t stride, Finish finish, float* finished) {
  using L = Lanes<float, Isa>;
  [[maybe_unused]] static const bool once = (openblas_set_num_threads(1), true);
  const auto blas = [](std::ptrdiff_t i) { return static_cast<blasint>(i); };
  const auto each_row = [&](auto f) {
    for (std::ptrdiff_t i = 0; i < m; ++i) f(c + i * stride, i);
  };
  if (bias && !add) each_row([&](float* row, std::ptrdiff_t) { std::copy_n(bias, n, row); });
  const bool a_rows = a.column == 1, b_rows = b.column == 1;
  cblas_sgemm(CblasRowMajor, a_rows ? CblasNoTrans : CblasTrans, b_rows ? CblasNoTrans : CblasTrans, blas(m), blas(n),
              k, 1.0f, a.data, blas(a_rows ? a.row : a.column), b.data, blas(b_rows ? b.row : b.column),
              add || bias ? 1.0f : 0.0f, c, blas(stride));
  if constexpr (!std::is_same_v<Finish, AsItIs>)
    each_row([&](float* row, std::ptrdiff_t i) {
      L::map(static_cast<std::size_t>(n), finished + i * stride, finish, static_cast<const float*>(row));
    });
}

}  // namespace data2vec::inline v0::detail
#endif
