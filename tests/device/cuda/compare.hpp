// SPDX-License-Identifier: MIT
// Results of the same cases on two devices, held against each other.
#pragma once

#include <doctest/doctest.h>

#include <cmath>

#include "tests/device/cuda/cases.hpp"

namespace cases {

inline void compare(const Results& expected, const Results& found) {
  REQUIRE(expected.size() == found.size());
  REQUIRE(!expected.empty());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CAPTURE(expected[i].name);
    REQUIRE(expected[i].name == found[i].name);
    REQUIRE(expected[i].numbers.size() == found[i].numbers.size());
    double most = 0;
    for (std::size_t k = 0; k < expected[i].numbers.size(); ++k) {
      const double difference = std::abs(expected[i].numbers[k] - found[i].numbers[k]);
      if (!(difference <= most)) most = difference;  // NaN is a difference
    }
    CHECK(most <= expected[i].tolerance);
  }
}

}  // namespace cases
