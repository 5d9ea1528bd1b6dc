// SPDX-License-Identifier: MIT
// ALiBi: slopes, distances, and the learned table with its gradient.
#include <data2vec/layers/alibi.hpp>

#include <doctest/doctest.h>

#include <data2vec/device/cpu/alibi.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

using namespace data2vec;

namespace {

std::vector<double> slopes(int heads) {
  std::vector<double> out(static_cast<std::size_t>(heads));
  alibi_slopes(heads, out.data());
  return out;
}

void learned(int heads, int side, const double* table, int tokens, double* out) {
  Cpu d;
  device::learned_bias(d, heads, side, table, tokens, out);
}
void learned_backward(int heads, int side, int tokens, const double* dout, double* dtable) {
  Cpu d;
  device::learned_bias_gradient(d, heads, side, tokens, dout, dtable);
}

}  // namespace

TEST_CASE("slopes: powers of two, and what fills the rest") {
  CHECK(slopes(1) == std::vector<double>{0x1p-8});
  CHECK(slopes(2) == std::vector<double>{0x1p-4, 0x1p-8});
  CHECK(slopes(8) == std::vector<double>{0.5, 0x1p-2, 0x1p-3, 0x1p-4, 0x1p-5, 0x1p-6, 0x1p-7, 0x1p-8});
  CHECK(slopes(3) == std::vector<double>{0x1p-4, 0x1p-8, 0x1p-2});
  CHECK(slopes(5) == std::vector<double>{0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8, 0.5});
  const std::vector<double> twelve = slopes(12);                   // 8 heads, then 0.5^0.5, 0.5^1.5, ...
  for (int i = 0; i < 4; ++i)
    CHECK(static_cast<float>(twelve[static_cast<std::size_t>(8 + i)]) ==
          static_cast<float>(std::pow(0.5, 0.5 + i)));
  CHECK(static_cast<float>(twelve[8]) == 0.7071067690849304f);     // the reference's value
  CHECK_THROWS_AS(slopes(0), OptionError);
}

TEST_CASE("1-D bias is minus slope times distance") {
  std::vector<float> bias(3 * 6 * 6);
  alibi_bias(3, 6, bias.data());
  const std::vector<double> slope = slopes(3);
  for (int h = 0; h < 3; ++h)
    for (int i = 0; i < 6; ++i)
      for (int j = 0; j < 6; ++j)
        CHECK(static_cast<double>(bias[static_cast<std::size_t>((h * 6 + i) * 6 + j)]) ==
              -slope[static_cast<std::size_t>(h)] * std::abs(i - j));
}

TEST_CASE("2-D bias: both distances, on a square and on a strip") {
  std::vector<float> bias(3 * 9 * 9);
  alibi_bias_2d(3, 3, AlibiDistance::euclidean, bias.data());
  CHECK(bias[8] == -0.1767766922712326f);                          // the reference's: head 0, corner to corner
  CHECK(bias[81 + 5] == -0.008734640665352345f);                   // head 1, (0, 0) to (1, 2)
  CHECK(bias[2 * 81 + 4] == -0.3535533845424652f);                 // head 2, (0, 0) to (1, 1)
  alibi_bias_2d(3, 3, AlibiDistance::manhattan, bias.data());
  CHECK(bias[8] == -0.25f);
  CHECK(bias[81 + 5] == -3 * 0x1p-8f);
  std::vector<double> strip(15 * 15);
  alibi_bias_2d(1, Grid{3, 5}, AlibiDistance::manhattan, strip.data());
  CHECK(strip[14] == -6 * 0x1p-8);                                 // (0, 0) to (2, 4)
  CHECK(strip[4 * 15 + 5] == -5 * 0x1p-8);                         // (0, 4) to (1, 0): token indices differ by 1 only
}

TEST_CASE("learned table: cut to shorter sequences, edges repeated around it for longer ones") {
  // Side 3, entries 10 row + column.
  const std::vector<double> table{0, 1, 2, 10, 11, 12, 20, 21, 22};
  std::vector<double> two(4), four(16), five(25);
  learned(1, 3, table.data(), 2, two.data());
  CHECK(two == std::vector<double>{0, 1, 10, 11});
  learned(1, 3, table.data(), 4, four.data());               // ceil(1 / 2) = 1 row and column in front
  CHECK(four == std::vector<double>{0, 0, 1, 2, 0, 0, 1, 2, 10, 10, 11, 12, 20, 20, 21, 22});
  learned(1, 3, table.data(), 5, five.data());
  CHECK(five == std::vector<double>{0, 0, 1, 2, 2, 0, 0, 1, 2, 2, 10, 10, 11, 12, 12, 20, 20, 21, 22, 22,
                                    20, 20, 21, 22, 22});
  CHECK(alibi_table_index(0, 6, 9) == 0);
  CHECK(alibi_table_index(4, 6, 9) == 2);
  CHECK(alibi_table_index(8, 6, 9) == 5);
}

TEST_CASE("learned table: the backward is the transpose of the forward, and accumulates") {
  // Forward and backward are linear: <out(table), dout> = <table, dtable(dout)> for every table entry and any dout,
  // with small whole numbers so that sums are exact.
  constexpr int heads = 2, side = 3;
  for (const int tokens : {2, 3, 4, 7}) {
    const auto size = static_cast<std::size_t>(heads * tokens * tokens);
    std::vector<double> dout(size), out(size);
    for (std::size_t i = 0; i < size; ++i) dout[i] = static_cast<double>(i * 7 % 11) - 5;
    std::vector<double> dtable(heads * side * side, 100.0);
    learned_backward(heads, side, tokens, dout.data(), dtable.data());
    for (std::size_t k = 0; k < dtable.size(); ++k) {
      std::vector<double> unit(dtable.size());
      unit[k] = 1;
      learned(heads, side, unit.data(), tokens, out.data());
      double slope = 0;
      for (std::size_t i = 0; i < size; ++i) slope += out[i] * dout[i];
      CHECK(dtable[k] == 100.0 + slope);
    }
  }
}
