// SPDX-License-Identifier: MIT
// What a head needs: pooling over tokens, tanh, the cross entropy and the squared error.
#pragma once

#include <cstddef>
#include <cstdint>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Classify;
}

/// How tokens become one vector.
enum class Pooling {
  mean_pooling, ///< mean over the tokens
  cls_token,    ///< the first token
  lin_softmax,  ///< the reference's soft maximum over tokens of each channel's log-odds
};

/// Sums of the loss of a head.
struct ClassificationSums {
  double loss = 0;     ///< summed over samples
  double correct = 0;  ///< samples whose largest logit is the label's; of a regression 0
};

namespace device {

/// pooled (rows, C) of the tokens `first` .. `tokens - 1` of x (rows, tokens, C). With g = log sigmoid(x),
/// z = min(0, lse(2 g) - lse(g + 1e-6)) over tokens, lin_softmax is z - log(1 - e^z), and 0 where that is not finite.
template <Pooling P, int C, Device D, class T>
void pool(D& d, int rows, int tokens, int first, In<T> x, T* pooled) {
  kernel::Classify<D>::template pool<P, C, T>(d, rows, tokens, first, x, pooled);
}

/// dx (rows, tokens, C), overwritten; zero before `first`.
template <Pooling P, int C, Device D, class T>
void pool_backward(D& d, int rows, int tokens, int first, In<T> dpooled, In<T> x, T* dx) {
  kernel::Classify<D>::template pool_backward<P, C, T>(d, rows, tokens, first, dpooled, x, dx);
}

/// Cross entropy of logits (rows, classes) with labels smoothed by `smoothing`: (1 - s) nll + s / classes * sum of -log
/// p; `losses` (rows), unless null, receives it row by row. dlogits = weight * derivative, overwritten, unless null; it
/// may be logits. Negative labels mark rows that do not count.
template <int classes, Device D, class T>
ClassificationSums cross_entropy(D& d, int rows, const T* logits, const std::int32_t* labels, double smoothing,
                                 double weight, Out<T> losses, Out<T> dlogits) {
  return kernel::Classify<D>::template cross_entropy<classes, T>(d, rows, logits, labels, smoothing, weight, losses,
                                                                 dlogits);
}

/// The same with soft labels q (rows, classes): -sum of q log p. `losses` (rows, classes) receives the summands.
template <int classes, Device D, class T>
ClassificationSums soft_cross_entropy(D& d, int rows, const T* logits, In<T> q, double weight, Out<T> losses,
                                      Out<T> dlogits) {
  return kernel::Classify<D>::template soft_cross_entropy<classes, T>(d, rows, logits, q, weight, losses, dlogits);
}

/// Squared error of `values` (rows): (x - value)^2, as cross_entropy. Values that are NaN mark rows that do not count.
template <Device D, class T>
double squared_error(D& d, int rows, const T* x, In<T> values, double weight, Out<T> losses, Out<T> dx) {
  return kernel::Classify<D>::template squared_error<T>(d, rows, x, values, weight, losses, dx);
}

/// y = tanh(x); y may be x.
template <Device D, class T>
void tanh(D& d, std::size_t count, In<T> x, T* y) {
  kernel::Classify<D>::template tanh<T>(d, count, x, y);
}

/// dx = dy (1 - y^2), y = tanh(x); dx may be dy.
template <Device D, class T>
void tanh_backward(D& d, std::size_t count, In<T> dy, In<T> y, T* dx) {
  kernel::Classify<D>::template tanh_backward<T>(d, count, dy, y, dx);
}

}  // namespace device
}  // namespace data2vec::inline v0
