// SPDX-License-Identifier: MIT
// The effective rank of a set of vectors, through Eigen's eigenvalues. Not part of a step: Eigen allocates.
#pragma once

#include <cmath>
#include <span>
#include <vector>

// g++ 12 warns inside its own avx512fintrin.h wherever Eigen is inlined (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <Eigen/Core>
#include <Eigen/Eigenvalues>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// exp of the entropy of the normalised eigenvalues of the covariance of `x` (rows, width): 1 if all vectors lie on a
/// line, up to min(rows - 1, width) if they fill the space evenly (Roy and Vetterli, 2007); 0 if they are all the same.
inline double effective_rank(std::span<const float> x, int width) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto rows = static_cast<Eigen::Index>(x.size()) / width;
  if (rows < 2) return 0;
  Eigen::MatrixXd centred = Eigen::Map<const Matrix>(x.data(), rows, width).cast<double>();
  centred.rowwise() -= centred.colwise().mean().eval();
  // The smaller of covariance and Gram matrix: both have the same eigenvalues.
  const Eigen::MatrixXd square = rows < width ? Eigen::MatrixXd(centred * centred.transpose())
                                              : Eigen::MatrixXd(centred.transpose() * centred);
  const Eigen::VectorXd values =
      Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(square, Eigen::EigenvaluesOnly).eigenvalues();
  double total = 0, entropy = 0;
  for (const double v : values) total += v > 0 ? v : 0;
  if (total <= 0) return 0;
  for (const double v : values)
    if (v > 0) entropy -= v / total * std::log(v / total);
  return std::exp(entropy);
}

}  // namespace data2vec::inline v0

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
