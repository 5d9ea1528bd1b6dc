// SPDX-License-Identifier: MIT
// Linear layers as matrix products: y = x W^T + b, with GELU behind it, and its two gradients.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Linear;
}

namespace device {

/// y = x W^T + b. x (rows, In), weight (Out, In), bias (Out) or null, y (rows, Out). An element of y has the same bits
/// whatever `rows` is and wherever its row stands.
template <int In_, int Out_, Device D, class T>
void linear(D& d, int rows, In<T> x, In<T> weight, In<T> bias, T* y) {
  kernel::Linear<D>::template forward<In_, Out_, T>(d, rows, x, weight, bias, y);
}

/// y = x W^T + b and activated = gelu(y), (rows, Out); `activated` may be y, which it then replaces.
template <int In_, int Out_, Device D, class T>
void linear_gelu(D& d, int rows, In<T> x, In<T> weight, In<T> bias, T* y, Out<T> activated) {
  kernel::Linear<D>::template forward_gelu<In_, Out_, T>(d, rows, x, weight, bias, y, activated);
}

/// dx = dy W, overwritten or accumulated. dy (rows, Out), weight (Out, In), dx (rows, In).
template <int In_, int Out_, Grad G = Grad::overwrite, Device D, class T>
void linear_input_gradient(D& d, int rows, In<T> dy, In<T> weight, T* dx) {
  kernel::Linear<D>::template input_gradient<In_, Out_, G, T>(d, rows, dy, weight, dx);
}

/// dW += dy^T x and, unless null, db += sum of dy over rows. dweight (Out, In), dbias (Out).
template <int In_, int Out_, Device D, class T>
void linear_weight_gradient(D& d, int rows, In<T> dy, In<T> x, T* dweight, Out<T> dbias) {
  kernel::Linear<D>::template weight_gradient<In_, Out_, T>(d, rows, dy, x, dweight, dbias);
}

}  // namespace device
}  // namespace data2vec::inline v0
