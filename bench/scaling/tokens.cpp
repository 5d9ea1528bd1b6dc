// SPDX-License-Identifier: MIT
// The axis of tokens: larger images.
#include "bench/scaling.hpp"

namespace bench::scaling {

std::vector<Point> tokens_axis() {
  std::vector<Point> points{point<Sized<16>>(16, batch)};
  if constexpr (all) {
    points.push_back(point<Sized<28>>(49, batch));
    points.push_back(point<Sized<40>>(100, batch));
    points.push_back(point<Sized<56>>(196, batch));
  }
  return points;
}

}  // namespace bench::scaling
