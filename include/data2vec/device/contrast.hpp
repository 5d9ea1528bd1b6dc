// SPDX-License-Identifier: MIT
// The contrastive loss of wav2vec 2.0 (Baevski et al., 2020, equation 3): cosines of a prediction with its target and
// with others, as logits of a cross entropy.
#pragma once

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Contrast;
}

/// Sums over predictions.
struct ContrastSums {
  double loss = 0;
  double correct = 0;  ///< predictions closest to their own target (none where all are equally close)
};

namespace device {

/// Leaves out negatives that have the codes of their prediction's own target: they are the same target. candidates
/// (rows, K) = negatives (rows, K), -1 where codes (pool, groups) of row i and of target negatives[i][k] are equal, or
/// where there is no such target.
template <Device D>
void leave_out_equal(D& d, int rows, int K, int groups, const int* codes, const int* negatives, int* candidates) {
  kernel::Contrast<D>::leave_out_equal(d, rows, K, groups, codes, negatives, candidates);
}

/// Predictions (rows, C) of targets (pool, C), pool >= rows: that of row i is target i. logits (rows, 1 + K): cosine
/// over `temperature` with target i, then with the targets negatives[i K], ..., -infinity where such an index is
/// negative. dprediction (rows, C) and dtargets (pool, C), overwritten, are `weight` times the derivatives of the
/// summed loss. `scratch`: rows + pool.
template <int C, Device D, class T>
ContrastSums contrast(D& d, int rows, int pool, int K, const T* prediction, In<T> targets, const int* negatives,
                      double temperature, double weight, Out<T> logits, Out<T> dprediction, Out<T> dtargets,
                      Out<T> scratch) {
  return kernel::Contrast<D>::template run<C, T>(d, rows, pool, K, prediction, targets, negatives, temperature, weight,
                                                 logits, dprediction, dtargets, scratch);
}

}  // namespace device
}  // namespace data2vec::inline v0
