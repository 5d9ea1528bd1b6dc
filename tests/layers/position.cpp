// SPDX-License-Identifier: MIT
// Fixed position tables against values of the reference and against their defining properties.
#include <data2vec/layers/position.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

using namespace data2vec;

namespace {

// The reference rounds a double table once; so do we, and two libraries' sines differ by at most one unit.
constexpr double ulp = std::numeric_limits<float>::epsilon();

}  // namespace

TEST_CASE("2-D sin-cos positions: a row of the reference's table, the column first") {
  // Grid 8 x 8, dim 24, cell 10: row 1, column 2.
  constexpr std::array<double, 24> expected{
      0.9092974066734314,   0.4176768362522125,   0.09269849956035614, 0.019998665899038315,   0.004308856092393398,
      0.0009283176623284817, -0.416146844625473,  0.9085956811904907,  0.9956942200660706,     0.9998000264167786,
      0.999990701675415,    0.9999995827674866,   0.8414709568023682,  0.21378067135810852,    0.04639922454953194,
      0.009999833069741726, 0.002154432935640216, 0.0004641588602680713, 0.5403022766113281,   0.9768816828727722,
      0.9989230036735535,   0.9999499917030334,   0.9999976754188538,  0.9999998807907104};
  std::vector<float> table(64 * 24);
  sincos_positions(8, 24, table.data());
  for (std::size_t k = 0; k < 24; ++k) CHECK(std::abs(static_cast<double>(table[10 * 24 + k]) - expected[k]) <= ulp);
}

TEST_CASE("2-D sin-cos positions: first cell, unit circles, and a grid that is no square") {
  const Grid grid{3, 5};
  constexpr int dim = 16, quarter = 4;
  std::vector<double> table(15 * dim);
  sincos_positions(grid, dim, table.data());
  for (int k = 0; k < dim; ++k) CHECK(table[static_cast<std::size_t>(k)] == (k / quarter % 2 == 0 ? 0.0 : 1.0));
  for (int cell = 0; cell < 15; ++cell) {
    const double* const row = table.data() + cell * dim;
    for (int k = 0; k < quarter; ++k) {
      CHECK(std::abs(std::hypot(row[k], row[quarter + k]) - 1) < 1e-15);
      CHECK(std::abs(std::hypot(row[2 * quarter + k], row[3 * quarter + k]) - 1) < 1e-15);
    }
    CHECK(row[0] == std::sin(cell % 5));                           // frequency 1 of the column
    CHECK(row[2 * quarter] == std::sin(cell / 5));                 // frequency 1 of the row
    CHECK(std::abs(row[quarter - 1] - std::sin(cell % 5 * 1e-3)) < 1e-15);   // 10000^(-3/4) = 1e-3
  }
}

TEST_CASE("sinusoid positions: a row of the reference's table, an empty row for padding") {
  // 20 rows, dim 24, pad 1: row 7. The reference computes frequency and angle in float: an angle of up to 7 carries
  // an error of up to 3 roundings of it.
  constexpr std::array<double, 24> expected{
      0.6569865942001343,  0.11122924089431763, 0.9666147828102112,   0.5377713441848755,    0.24331626296043396,
      0.10619313269853592, 0.04603902995586395, 0.01993492618203163,  0.008629817515611649,  0.003735680365934968,
      0.0016170890303328633, 0.0006999998586252332, 0.7539022564888,  -0.9937947988510132,   0.2562341094017029,
      0.8430907130241394,  0.9699470400810242,  0.9943455457687378,   0.9989396333694458,    0.9998012781143188,
      0.9999627470970154,  0.9999930262565613,  0.9999986886978149,   0.9999997615814209};
  std::vector<float> table(20 * 24, -1.0f);
  sinusoid_positions(20, 24, 1, table.data());
  for (std::size_t k = 0; k < 24; ++k) {
    CHECK(std::abs(static_cast<double>(table[7 * 24 + k]) - expected[k]) <= 7 * 3 * ulp);
    CHECK(table[24 + k] == 0.0f);
    CHECK(table[k] == (k < 12 ? 0.0f : 1.0f));                     // id 0
  }
}

TEST_CASE("sinusoid positions: frequencies from 1 to 1e-4, an odd width ends in zero") {
  std::vector<double> table(6 * 9);
  sinusoid_positions(6, 9, -1, table.data());
  for (int p = 0; p < 6; ++p) {
    const double* const row = table.data() + p * 9;
    CHECK(row[0] == std::sin(p));
    CHECK(std::abs(row[3] - std::sin(p * 1e-4)) < 1e-15);
    CHECK(row[4] == std::cos(p));
    CHECK(row[8] == 0.0);
  }
}

TEST_CASE("position tables refuse widths they have no formula for") {
  float out[64];
  CHECK_THROWS_WITH_AS(sincos_positions(2, 6, out),
                       "sincos_positions: embed_dim must be a positive multiple of 4, found 6", OptionError);
  CHECK_THROWS_AS(sincos_positions(2, 0, out), OptionError);
  CHECK_THROWS_AS(sinusoid_positions(2, 3, -1, out), OptionError);
}
