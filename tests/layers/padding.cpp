// SPDX-License-Identifier: MIT
// What clears padding clears all of it and nothing else.
#include <data2vec/layers/padding.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <data2vec/device/cpu/all.hpp>

using namespace data2vec;

TEST_CASE("padding: tokens from the valid ones on become zero") {
  constexpr int rows = 4, T_ = 5, C = 3;
  constexpr int valid[rows] = {5, 2, 0, 4};
  std::vector<float> x(rows * T_ * C);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 1 + static_cast<float>(i);
  Cpu d;
  clear_padding<T_, C>(d, rows, valid, x.data());
  for (int n = 0; n < rows; ++n)
    for (int t = 0; t < T_; ++t)
      for (int c = 0; c < C; ++c) {
        const int i = (n * T_ + t) * C + c;
        CHECK(x[static_cast<std::size_t>(i)] == (t < valid[n] ? 1 + static_cast<float>(i) : 0));
      }
}
