// SPDX-License-Identifier: MIT
// GELU in its exact form, x (1 + erf(x / sqrt 2)) / 2 (Hendrycks and Gimpel, 2016), and its derivative.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Gelu;
}

namespace device {

/// y = gelu(x) for `count` elements; y may be x.
template <Device D, class T>
void gelu(D& d, std::size_t count, In<T> x, T* y) {
  kernel::Gelu<D>::template forward<T>(d, count, x, y);
}

/// dx = dy gelu'(x), overwritten; dx may be dy.
template <Device D, class T>
void gelu_backward(D& d, std::size_t count, In<T> dy, In<T> x, T* dx) {
  kernel::Gelu<D>::template backward<T>(d, count, dy, x, dx);
}

/// dx = dy gelu'(x) and y = gelu(x) once more, for who has not kept it; dx may be dy.
template <Device D, class T>
void gelu_backward(D& d, std::size_t count, In<T> dy, In<T> x, T* dx, Out<T> y) {
  kernel::Gelu<D>::template backward<T>(d, count, dy, x, dx, y);
}

}  // namespace device
}  // namespace data2vec::inline v0
