// SPDX-License-Identifier: MIT
// The axes of one model more or less: masks per sample; and, with the model as it is, batch and threads.
#include "bench/scaling.hpp"

namespace bench::scaling {

std::vector<Point> masks_axis() {
  std::vector<Point> points{point<Tiny28, 1>(1, batch)};
  if constexpr (all) {
    points.push_back(point<Tiny28, 2>(2, batch));
    points.push_back(point<Tiny28, 4>(4, batch));
    points.push_back(point<Tiny28, 8>(8, batch));
    points.push_back(point<Tiny28, 16>(16, batch));
  }
  return points;
}

std::vector<Point> batch_axis() {
  std::vector<Point> points;
  for (const int samples : {4, 8, 16, 32, 64}) points.push_back(point<Tiny28, 8>(samples, samples));
  return points;
}

std::vector<Point> threads_axis(int most) {
  std::vector<Point> points;
  for (int threads = 1; threads <= most; threads *= 2) points.push_back(point<Tiny28, 8>(threads, 4 * batch, threads));
  return points;
}

}  // namespace bench::scaling
