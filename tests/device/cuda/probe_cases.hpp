// SPDX-License-Identifier: MIT
// Neighbours and the probe's sums of a device against the CPU's.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <data2vec/evaluation/knn.hpp>
#include <data2vec/evaluation/probe.hpp>

#include "tests/device/cuda/cases.hpp"

namespace cases {

using data2vec::Metric;

inline std::vector<int> labels_below(int classes, std::size_t count) {
  std::vector<int> labels(count);
  const auto below = static_cast<std::size_t>(classes);
  for (std::size_t i = 0; i < count; ++i) labels[i] = static_cast<int>((i * 7 + i / 5) % below);
  return labels;
}

/// Small whole numbers, whose products are exact, so that ties are ties; and others, which have none.
template <class Search>
void compare_neighbours(Search&& search) {
  for (const std::size_t rows : {std::size_t{1}, std::size_t{33}, std::size_t{300}})
    for (const int dim : {1, 7, 24})
      for (const bool whole : {true, false}) {
        const auto width = static_cast<std::size_t>(dim);
        auto train = numbers(rows * width, 1), test = numbers(9 * width, 2);
        if (whole)
          for (auto* values : {&train, &test})
            for (float& x : *values) x = std::round(2 * x);
        const auto labels = labels_below(5, rows);
        for (const int k : {1, 4, 20}) {
          if (static_cast<std::size_t>(k) > rows) continue;
          CAPTURE(rows);
          CAPTURE(dim);
          CAPTURE(k);
          for (const Metric metric : {Metric::euclidean, Metric::cosine})
            if (metric == Metric::euclidean || (!whole && dim > 1))  // unit vectors of whole numbers are near ties
              CHECK(data2vec::knn_predict(search, train, labels, test, dim, k, metric) ==
                    data2vec::knn_predict(train, labels, test, dim, k, metric, 1));
        }
      }
}

/// Value, gradient and covariance for one panel of classes and several, of rows that are several chunks or one.
template <class Sums>
void compare_sums(Sums&& sums, std::size_t many_rows) {
  data2vec::ThreadTeam team(1);
  data2vec::detail::SoftmaxSums<data2vec::isa::Native> cpu(team);
  using Kernel = data2vec::detail::SoftmaxKernel<data2vec::isa::Native>;
  struct Case {
    std::size_t rows;
    int dim, classes;
  };
  for (const Case c : {Case{70, 20, 3}, Case{300, 9, 40}, Case{1, 1, 2}, Case{many_rows, 2, 3}}) {
    CAPTURE(c.rows);
    CAPTURE(c.classes);
    const auto layout = Kernel::layout(c.dim, c.classes);
    const auto x = numbers(c.rows * static_cast<std::size_t>(c.dim), 3);
    const auto labels = labels_below(c.classes, c.rows);
    std::vector<double> theta(layout.size()), expected(layout.size()), found(layout.size());
    const auto weights = numbers(layout.size(), 4);
    for (int label = 0; label < c.classes; ++label)
      for (int d = 0; d <= c.dim; ++d) theta[layout.at(d, label)] = static_cast<double>(weights[layout.at(d, label)]);
    cpu.take(layout, x, labels);
    sums.take(layout, x, labels);
    const double value = cpu(theta, expected), same = sums(theta, found), rows = static_cast<double>(c.rows);
    // A row's numbers are sums of dim products; those of a gradient are sums over rows.
    CHECK(std::abs(value - same) < rounding(c.dim, 4) * rows);
    for (std::size_t i = 0; i < found.size(); ++i) {
      CAPTURE(i);
      REQUIRE(std::abs(expected[i] - found[i]) < rounding(static_cast<int>(c.rows) + c.dim, 4));
    }
    const auto covariance = cpu.covariance(c.dim, x), other = sums.covariance(c.dim, x);
    REQUIRE(covariance.size() == other.size());
    for (std::size_t i = 0; i < other.size(); ++i) REQUIRE(std::abs(covariance[i] - other[i]) < rounding(c.dim, 4));
  }
}

/// A fit, whose optimum both find.
template <class Sums>
void compare_fits(Sums&& sums) {
  constexpr int dim = 12, classes = 4;
  constexpr std::size_t rows = 200;
  auto x = numbers(rows * dim, 5);
  const auto labels = labels_below(classes, rows);
  for (std::size_t i = 0; i < rows; ++i) x[i * dim + static_cast<std::size_t>(labels[i])] += 1;
  const data2vec::ProbeOptions options{.penalties = {0.1, 0.01}, .tolerance = 1e-5, .threads = 1};
  data2vec::LinearProbe cpu, device;
  const auto expected = cpu.fit(x, labels, dim, options), found = device.fit(sums, x, labels, dim, options);
  CHECK(found.solver.converged);
  CHECK(found.penalty == expected.penalty);
  CHECK(std::abs(found.loss - expected.loss) < 1e-6);
  // W is L^-T u: u is off by the gradient's 1e-5 over a curvature of some tenths, |L^-1| is at most 1 / sqrt(0.01).
  for (int label = 0; label < classes; ++label)
    for (int d = 0; d <= dim; ++d) CHECK(std::abs(device.weight(label, d) - cpu.weight(label, d)) < 1e-3f);
}

}  // namespace cases
