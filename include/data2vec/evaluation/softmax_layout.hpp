// SPDX-License-Identifier: MIT
// How the weights of a linear probe lie, on the CPU and on a GPU.
#pragma once

#include <cstddef>

#include <data2vec/core/macros.hpp>

namespace data2vec::inline v0 {

/// Weights of `classes` classes for `dim` features and a bias: in panels of classes, each (dim + 1, panel) with the bias
/// last. Classes beyond the last have weights of zero.
struct SoftmaxLayout {
  int dim = 0, classes = 0, panel = 1;
  D2V_HD int panels() const { return (classes + panel - 1) / panel; }
  D2V_HD int width() const { return panels() * panel; }  ///< classes with the padding
  D2V_HD std::size_t panel_size() const { return static_cast<std::size_t>(dim + 1) * static_cast<std::size_t>(panel); }
  D2V_HD std::size_t size() const { return static_cast<std::size_t>(panels()) * panel_size(); }
  /// Where the weight of a class for a feature lies; feature `dim` is the bias.
  D2V_HD std::size_t at(int feature, int label) const {
    return static_cast<std::size_t>(label / panel) * panel_size() +
           static_cast<std::size_t>(feature) * static_cast<std::size_t>(panel) + static_cast<std::size_t>(label % panel);
  }
};

namespace detail {

/// Rows whose mean of x x^T tells the shape of the objective: the first 65,536 of n, or four times dim.
inline std::size_t covariance_rows(std::size_t n, std::size_t dim) {
  const std::size_t wanted = 4 * dim < 65'536 ? 65'536 : 4 * dim;
  return n < wanted ? n : wanted;
}
/// Where an element (i, j), j <= i, lies in a lower triangle that is kept row by row.
inline std::size_t triangle_at(int i, int j) {
  return static_cast<std::size_t>(i) * (static_cast<std::size_t>(i) + 1) / 2 + static_cast<std::size_t>(j);
}

}  // namespace detail
}  // namespace data2vec::inline v0
