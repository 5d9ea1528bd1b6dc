// SPDX-License-Identifier: MIT
// Normalisations: layer norm over channels with its gradient, and standardisation of channels over tokens.
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
/// beta (C) or both null. `stats` (rows, 2) receives mean and 1 / sqrt(variance + eps), or is null. y may be x.
template <int C, Device D, class T>
void layer_norm(D& d, int rows, In<T> x, In<T> gamma, In<T> beta, double eps, T* y, Out<T> stats) {
  kernel::Norm<D>::template layer_norm<C, T>(d, rows, x, gamma, beta, eps, y, stats);
}

/// Gradient of `layer_norm`: dx is overwritten (dx may be dy), dgamma and dbeta (C) are accumulated or both null.
template <int C, Device D, class T>
void layer_norm_backward(D& d, int rows, In<T> dy, In<T> x, In<T> gamma, In<T> stats, T* dx, Out<T> dgamma,
                         Out<T> dbeta) {
  kernel::Norm<D>::template layer_norm_backward<C, T>(d, rows, dy, x, gamma, stats, dx, dgamma, dbeta);
}

/// In place: every channel of every group of `rows` rows gets mean 0 and variance 1, x (groups, rows, C): instance norm
/// with one group per sample, batch norm with one group in all. No parameters, biased variance, no gradient (targets).
template <int C, Device D, class T>
void standardise_channels(D& d, int groups, int rows, double eps, T* x) {
  kernel::Norm<D>::template standardise_channels<C, T>(d, groups, rows, eps, x);
}

}  // namespace device
}  // namespace data2vec::inline v0
