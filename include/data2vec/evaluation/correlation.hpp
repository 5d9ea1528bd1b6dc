// SPDX-License-Identifier: MIT
// Correlations as scores: Matthews' for classes, Pearson's and Spearman's for numbers. (F1 is Confusion::f1.)
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/evaluation/metrics.hpp>

namespace data2vec::inline v0 {

/// Matthews' correlation coefficient, from -1 to 1: for two classes
/// (tp tn - fp fn) / sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)) (Matthews, 1975), for more of them R_K (Gorodkin,
/// "Comparing two K-category assignments by a K-category correlation coefficient", 2004). 0 where all samples are of
/// one class, or are taken for one.
inline double matthews(const Confusion& confusion) {
  const auto n = static_cast<double>(confusion.total());
  double products = 0, truths = 0, predictions = 0;  // sums over classes
  for (int c = 0; c < confusion.classes(); ++c) {
    const auto t = static_cast<double>(confusion.support(c)), p = static_cast<double>(confusion.predicted(c));
    products += t * p, truths += t * t, predictions += p * p;
  }
  const double variances = (n * n - truths) * (n * n - predictions);
  return variances > 0 ? (n * static_cast<double>(confusion.correct()) - products) / std::sqrt(variances) : 0;
}

namespace detail {

inline void expect_pairs(const char* what, std::size_t x, std::size_t y) {
  if (x != y || x < 2)
    throw MismatchError(std::string(what) + ": expected two lists of one length, at least 2, found " +
                        std::to_string(x) + " and " + std::to_string(y));
}

/// Ranks from 1; equal numbers share the mean of theirs.
inline std::vector<double> mean_ranks(std::span<const double> x) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] < x[b]; });
  std::vector<double> ranks(x.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && !(x[order[begin]] < x[order[end]])) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(begin + 1 + end);
  }
  return ranks;
}

}  // namespace detail

/// Pearson's correlation of two lists, from -1 to 1: covariance / (deviation of x * deviation of y). 0 where one list
/// is constant. NaN if a number is not finite. Throws MismatchError unless both have one length, at least 2.
inline double pearson(std::span<const double> x, std::span<const double> y) {
  detail::expect_pairs("pearson", x.size(), y.size());
  const auto n = static_cast<double>(x.size());
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / n;
  const double mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - mean_x, dy = y[i] - mean_y;
    xx += dx * dx, yy += dy * dy, xy += dx * dy;
  }
  if (xx == 0 || yy == 0) return 0;
  const double r = xy / (std::sqrt(xx) * std::sqrt(yy));
  return std::isfinite(r) ? std::clamp(r, -1.0, 1.0) : r;
}

/// Spearman's correlation: Pearson's of the ranks, where equal numbers share the mean of their ranks. NaN if a number
/// is NaN. Throws MismatchError as pearson().
inline double spearman(std::span<const double> x, std::span<const double> y) {
  detail::expect_pairs("spearman", x.size(), y.size());
  for (const std::span<const double> list : {x, y})
    for (const double value : list)
      if (std::isnan(value)) return value;
  return pearson(detail::mean_ranks(x), detail::mean_ranks(y));
}

}  // namespace data2vec::inline v0
