// SPDX-License-Identifier: MIT
// Layer norm over channels, alone and with GELU behind it, their gradients, and standardisation of channels over tokens.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Norm;
}

namespace device {

/// y = (x - mean) / sqrt(variance + eps) * gamma + beta over the C channels of each row; biased variance. gamma and
/// beta (C) or both null. `stats` (rows, kept_numbers<T>(2)) receives mean and 1 / sqrt(variance + eps), or is null.
/// y may be x.
template <int C, Device D, class T>
void layer_norm(D& d, int rows, In<T> x, In<T> gamma, In<T> beta, double eps, T* y, Out<T> stats) {
  kernel::Norm<D>::template layer_norm<C, T>(d, rows, x, gamma, beta, eps, y, stats);
}

/// sum = a + b and y = layer_norm(sum), all (rows, C): a residual connection and the norm behind it. sum may be a or b.
template <int C, Device D, class T>
void add_layer_norm(D& d, int rows, In<T> a, In<T> b, In<T> gamma, In<T> beta, double eps, T* sum, T* y, Out<T> stats) {
  kernel::Norm<D>::template add_layer_norm<C, T>(d, rows, a, b, gamma, beta, eps, sum, y, stats);
}

/// Gradient of `layer_norm`: dx is overwritten (dx may be dy), dgamma and dbeta (C) are accumulated or both null.
template <int C, Device D, class T>
void layer_norm_backward(D& d, int rows, In<T> dy, In<T> x, In<T> gamma, In<T> stats, T* dx, Out<T> dgamma,
                         Out<T> dbeta) {
  kernel::Norm<D>::template layer_norm_backward<C, T>(d, rows, dy, x, gamma, stats, dx, dgamma, dbeta);
}

/// y = gelu((x - mean) / sqrt(variance + eps)) over the C channels of each row, plus `residual` (rows, C) unless null:
/// what follows a decoder's convolution. `stats` as in `layer_norm`. y may not be x.
template <int C, Device D, class T>
void norm_gelu(D& d, int rows, In<T> x, double eps, In<T> residual, T* y, Out<T> stats) {
  kernel::Norm<D>::template norm_gelu<C, T>(d, rows, x, eps, residual, y, stats);
}

/// Gradient of `norm_gelu` with respect to x, overwritten; dx may not be dy. (That of the residual is dy.)
template <int C, Device D, class T>
void norm_gelu_backward(D& d, int rows, In<T> dy, In<T> x, In<T> stats, T* dx) {
  kernel::Norm<D>::template norm_gelu_backward<C, T>(d, rows, dy, x, stats, dx);
}

/// In place: every channel of every group of `rows` rows gets mean 0 and variance 1, x (groups, rows, C): instance norm
/// with one group per sample, batch norm with one group in all. No parameters, biased variance, no gradient (targets).
template <int C, Device D, class T>
void standardise_channels(D& d, int groups, int rows, double eps, T* x) {
  kernel::Norm<D>::template standardise_channels<C, T>(d, groups, rows, eps, x);
}

}  // namespace device
}  // namespace data2vec::inline v0
