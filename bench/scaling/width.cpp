// SPDX-License-Identifier: MIT
// The axis of width.
#include "bench/scaling.hpp"

namespace bench::scaling {

std::vector<Point> width_axis() {
  std::vector<Point> points{point<Wide<64>>(64, batch)};
  if constexpr (all) {
    points.push_back(point<Wide<96>>(96, batch));
    points.push_back(point<Wide<192>>(192, batch));
    points.push_back(point<Wide<384>>(384, batch));
  }
  return points;
}

}  // namespace bench::scaling
