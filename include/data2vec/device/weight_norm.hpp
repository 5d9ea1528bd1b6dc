// SPDX-License-Identifier: MIT
// Weight normalisation (Salimans and Kingma, 2016) of convolutions, one norm for each tap of the kernel.
#pragma once

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct WeightNorm;
}

namespace device {

/// weight[r][j] = g[j] v[r][j] / |v[.][j]|. v, weight (rows, taps), g (taps); norms (kept_numbers<T>(taps))
/// receives |v[.][j]|.
template <int rows, int taps, Device D, class T>
void weight_norm(D& d, In<T> v, In<T> g, T* weight, Out<T> norms) {
  kernel::WeightNorm<D>::template forward<rows, taps, T>(d, v, g, weight, norms);
}

/// dv and dg, accumulated, from the gradient of the normalised weight.
template <int rows, int taps, Device D, class T>
void weight_norm_backward(D& d, In<T> dweight, In<T> v, In<T> g, In<T> norms, T* dv, Out<T> dg) {
  kernel::WeightNorm<D>::template backward<rows, taps, T>(d, dweight, v, g, norms, dv, dg);
}

}  // namespace device
}  // namespace data2vec::inline v0
