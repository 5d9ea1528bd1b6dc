// SPDX-License-Identifier: MIT
// The axis of visible tokens: less hidden, as many tokens in all.
#include "bench/scaling.hpp"

namespace bench::scaling {

std::vector<Point> visible_axis() {
  const auto at = [](Point p) {
    p.x = p.visible;
    return p;
  };
  std::vector<Point> points{at(point<Hiding<80>>(0, batch))};
  if constexpr (all) {
    points.push_back(at(point<Hiding<60>>(0, batch)));
    points.push_back(at(point<Hiding<40>>(0, batch)));
    points.push_back(at(point<Hiding<20>>(0, batch)));
  }
  return points;
}

}  // namespace bench::scaling
