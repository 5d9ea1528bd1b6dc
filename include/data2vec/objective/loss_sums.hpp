// SPDX-License-Identifier: MIT
// The terms of the loss of data2vec 2.0 (section 3.3 and appendix A): their weights, and their sums.
#pragma once

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// Weights of the loss terms at run time. A term whose weight in the configuration is zero does not exist.
struct LossWeights {
  double d2v_loss = 1, cls_loss = 0, recon_loss = 0;
};

/// Sums over the rows of a chunk, a step or a training set; add them up in a fixed order.
struct LossSums {
  double regression = 0;   ///< d2v_loss * scale * sum over hidden positions and channels
  double shared = 0;       ///< the same of the shared decoder's predictions
  double cls = 0;          ///< cls_loss * scale * sum over rows and channels, without the factor sample_size
  double recon = 0;        ///< recon_loss * scale * sum over hidden positions and channels
  double sample_size = 0;  ///< hidden positions

  LossSums& operator+=(const LossSums& other) {
    regression += other.regression;
    shared += other.shared;
    cls += other.cls;
    recon += other.recon;
    sample_size += other.sample_size;
    return *this;
  }
  /// The summed loss as the reference logs it: the CLS term carries the factor sample_size.
  double total() const { return regression + shared + cls * sample_size + recon; }

  /// Writes the terms into a report (training/step_report.hpp).
  void report(auto& to) const {
    to.loss = total() / sample_size;
    to.regression = regression / sample_size;
    to.cls = cls;
    to.recon = recon / sample_size;
    to.shared = shared / sample_size;
  }
};

}  // namespace data2vec::inline v0
