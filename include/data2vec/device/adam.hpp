// SPDX-License-Identifier: MIT
// Adam with decoupled weight decay and the teacher's moving average in one pass over a parameter buffer.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Adam;
}

/// The numbers of one Adam update of a range of parameters (spec: m, v, decay, then the step; eps outside of the bias
/// correction): p <- p - lr decay p; p <- p - step m / (sqrt(v) + eps), step = lr sqrt(1 - beta2^t) / (1 - beta1^t).
struct AdamStep {
  double gradient_scale = 1;   ///< multiplies the gradient first: clipping
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double step = 0;             ///< step size with both bias corrections
  double decay = 0;            ///< learning rate times weight decay
};

namespace device {

/// One update of `count` parameters; m, v and parameters are overwritten.
template <Device D, class T>
void adam(D& d, std::size_t count, const AdamStep& step, In<T> gradient, Out<T> m, Out<T> v, T* parameters) {
  kernel::Adam<D>::template update<T>(d, count, step, gradient, m, v, parameters);
}

/// teacher = decay teacher + (1 - decay) student.
template <Device D, class T>
void moving_average(D& d, std::size_t count, double decay, In<T> student, T* teacher) {
  kernel::Adam<D>::template moving_average<T>(d, count, decay, student, teacher);
}

}  // namespace device
}  // namespace data2vec::inline v0
