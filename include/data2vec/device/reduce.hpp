// SPDX-License-Identifier: MIT
// Sums whose order is fixed, and the losses of masked prediction.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Reduce;
}

namespace device {

/// Sum of squares in double, by blocks of 4,096 elements added in order: the same bits for any partition of the blocks.
template <Device D, class T>
double sum_of_squares(D& d, std::size_t count, const T* x) {
  return kernel::Reduce<D>::template sum_of_squares<T>(d, count, x);
}

/// Squared error (beta = 0) or smooth L1: returns the sum of loss(prediction - target) over `rows` rows of C channels,
/// the target row of row i being targets[index[i]]; a row of negative index has neither loss nor derivative.
/// dprediction = weight * derivative, overwritten.
/// loss(u) = u^2, or with beta: u^2 / (2 beta) where |u| < beta, else |u| - beta / 2.
template <int C, Device D, class T>
double regression_loss(D& d, int rows, In<T> prediction, In<T> targets, const int* index, double beta, double weight,
                       T* dprediction) {
  return kernel::Reduce<D>::template regression_loss<C, T>(d, rows, prediction, targets, index, beta, weight,
                                                           dprediction);
}

/// Adds to sum[c] and squares[c] the sum and the sum of squares of x[index[i]][c] over `rows` rows, in double, but for
/// negative index[i]; a null index stands for 0, 1, 2, ...
template <int C, Device D, class T>
void channel_moments(D& d, int rows, const T* x, const int* index, double* sum, double* squares) {
  kernel::Reduce<D>::template channel_moments<C, T>(d, rows, x, index, sum, squares);
}

}  // namespace device
}  // namespace data2vec::inline v0
