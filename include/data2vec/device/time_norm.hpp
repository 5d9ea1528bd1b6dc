// SPDX-License-Identifier: MIT
// Normalisation of every channel over time with scale and shift: group norm with as many groups as channels (Wu and He,
// "Group Normalization", 2018), as the first layer of the default speech extractor has it.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct TimeNorm;
}

namespace device {

/// y = (x - mean) / sqrt(variance + eps) * gamma + beta, mean and biased variance of each row and channel over the
/// frames. x, y (rows, frames, C), gamma and beta (C); `stats` (rows, 2, C) receives means and 1 / sqrt(variance + eps).
/// In half precision these are fp32: kept_numbers<T>(2 C) elements a row.
/// With `valid` (rows), unless null, a row has only that many frames: the others are not read and y is zero there.
/// y may be x.
template <int C, Device D, class T>
void time_norm(D& d, int rows, int frames, const int* valid, In<T> x, In<T> gamma, In<T> beta, double eps, T* y,
               Out<T> stats) {
  kernel::TimeNorm<D>::template forward<C, T>(d, rows, frames, valid, x, gamma, beta, eps, y, stats);
}

/// Gradient of `time_norm`: dx is overwritten, zero behind the valid frames (dx may be dy); dgamma and dbeta (C) are
/// accumulated.
template <int C, Device D, class T>
void time_norm_backward(D& d, int rows, int frames, const int* valid, In<T> dy, In<T> x, In<T> gamma, In<T> stats,
                        T* dx, Out<T> dgamma, Out<T> dbeta) {
  kernel::TimeNorm<D>::template backward<C, T>(d, rows, frames, valid, dy, x, gamma, stats, dx, dgamma, dbeta);
}

}  // namespace device
}  // namespace data2vec::inline v0
