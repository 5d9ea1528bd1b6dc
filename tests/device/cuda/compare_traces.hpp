// SPDX-License-Identifier: MIT
// Trainings on two devices, held against each other.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/device/cuda/models.hpp"

namespace models {

/// Reports within a relative 1e-5: fp32 sums of a few thousand terms in another order. Weights: Adam divides by the
/// root of a second moment that may itself be rounding, so single weights may differ by part of a learning rate; all
/// others keep to 1e-6 a step. `without_gradient` weights have none but roundings: the keys' biases, which softmax does
/// not see.
inline void compare(const Trace& expected, const Trace& found, int accumulation, std::size_t without_gradient = 0) {
  REQUIRE(expected.reports.size() == found.reports.size());
  for (std::size_t i = 0; i < expected.reports.size(); ++i) {
    CAPTURE(i);
    for (const auto& [numbers, others] :
         {std::pair(expected.reports[i], found.reports[i]), std::pair(expected.terms[i], found.terms[i])}) {
      REQUIRE(numbers.size() == others.size());
      for (std::size_t k = 0; k < numbers.size(); ++k) {
        CAPTURE(k);
        CHECK(std::abs(numbers[k] - others[k]) < 1e-5 * std::max(1e-3, std::abs(numbers[k])));
      }
    }
    if ((i + 1) % static_cast<std::size_t>(accumulation) != 0) continue;
    std::size_t apart = 0;
    double most = 0;
    for (std::size_t k = 0; k < expected.weights[i].size(); ++k) {
      const double difference = std::abs(static_cast<double>(expected.weights[i][k] - found.weights[i][k]));
      apart += !(difference < 1e-6 * static_cast<double>(i + 1));
      most = std::max(most, difference);
    }
    CHECK(apart <= expected.weights[i].size() / 1000 + without_gradient);
    CHECK(most < 2e-3 * static_cast<double>(i + 1));
  }
}

/// In bfloat16: losses and deviations within 2 %, and changes of the weights in the same direction (cosine > 0.9 even
/// though Adam makes a step of each, however small its gradient).
inline void compare_roughly(const Trace& expected, const Trace& found) {
  REQUIRE(expected.reports.size() == found.reports.size());
  for (std::size_t i = 0; i < expected.reports.size(); ++i) {
    CAPTURE(i);
    for (std::size_t k = 0; k < expected.reports[i].size(); ++k) {
      CAPTURE(k);
      const double size = std::max(1e-3, std::abs(expected.reports[i][k]));
      CHECK(std::abs(expected.reports[i][k] - found.reports[i][k]) < 0.02 * size);
    }
  }
  const auto change = [](const Trace& t, std::size_t k) {
    return static_cast<double>(t.weights.back()[k]) - static_cast<double>(t.weights.front()[k]);
  };
  double product = 0, a = 0, b = 0;
  for (std::size_t k = 0; k < expected.weights.back().size(); ++k) {
    const double x = change(expected, k), y = change(found, k);
    product += x * y, a += x * x, b += y * y;
  }
  CHECK(product > 0.9 * std::sqrt(a * b));
}

}  // namespace models
