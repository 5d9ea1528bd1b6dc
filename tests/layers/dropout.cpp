// SPDX-License-Identifier: MIT
// Dropout and stochastic depth: their expectation, their draws as functions of the place, and their gradients.
#include <data2vec/layers/dropout.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

std::vector<double> drop(int rows, int width, const DropoutDraws& draws, bool paths = false) {
  Cpu d;
  const std::vector<double> x(static_cast<std::size_t>(rows * width), 1.0);
  std::vector<double> y(x.size());
  if (paths) device::drop_path(d, rows, width, draws, x.data(), y.data());
  else device::dropout(d, rows, width, draws, x.data(), y.data());
  return y;
}

/// Dropout of elements or of rows as a layer.
template <bool paths>
struct DropoutLayer {
  static constexpr int rows = 6, width = 5, input_size = rows * width, output_size = input_size;
  template <class T>
  using Parameters = Nothing;
  template <class T>
  using Tape = Nothing;
  static void apply(Cpu& d, const double* x, double* y) {
    const DropoutDraws draws = fixed_pass<true>(d).draws.at(Site::user, 0, 0.5);
    if constexpr (paths) device::drop_path(d, rows, width, draws, x, y);
    else device::dropout(d, rows, width, draws, x, y);
  }
  static void forward(Cpu& d, const Nothing&, const double* x, double* y, const Nothing&) { apply(d, x, y); }
  static void backward(Cpu& d, const Nothing&, const double*, double* dy, double* dx, const Nothing&, const Nothing&) {
    apply(d, dy, dx);
  }
};

}  // namespace

TEST_CASE("dropout: gradients") {
  expect_gradients<DropoutLayer<false>>();
  expect_gradients<DropoutLayer<true>>();
}

TEST_CASE("dropout: kept elements are scaled so that the expectation stays") {
  constexpr int rows = 4, width = 25'000;
  constexpr double n = rows * width;
  for (const double rate : {0.1, 0.5, 0.9}) {
    const auto y = drop(rows, width, Draws{.seed = 5, .sample_ids = sample_ids.data()}.at(Site::user, 0, rate));
    double sum = 0;
    std::size_t scaled = 0, zero = 0;
    for (const double v : y) {
      sum += v;
      scaled += v == 1 / (1 - rate);
      zero += v == 0;
    }
    CHECK(scaled + zero == y.size());
    // The mean of n independent values of variance rate / (1 - rate): five deviations.
    CHECK(std::fabs(sum / n - 1) < 5 * std::sqrt(rate / (1 - rate) / n));
  }
}

TEST_CASE("dropout: rate 0 keeps everything as it is, rate 1 - 2^-24 nearly nothing") {
  const Draws draws{.seed = 5, .sample_ids = sample_ids.data()};
  CHECK(drop(3, 50, draws.at(Site::user, 0, 0)) == std::vector<double>(150, 1.0));
  CHECK(drop(3, 50, draws.at(Site::user, 0, 0), true) == std::vector<double>(150, 1.0));
  const auto y = drop(3, 50, draws.at(Site::user, 0, 1 - 0x1p-24));
  CHECK(std::count(y.begin(), y.end(), 0.0) == 150);  // 150 draws hit one of 2^24 words with probability 1e-5
}

TEST_CASE("dropout: a row's mask depends on sample, mask, update, site and layer, not on its place") {
  const std::uint32_t one[] = {3, 8}, swapped[] = {8, 3};
  const auto row = [](const std::vector<double>& y, int r) {
    return std::vector<double>(y.begin() + r * 64, y.begin() + (r + 1) * 64);
  };
  const Draws draws{.seed = 5, .update = 2, .sample_ids = one, .masks = 2};
  Draws other = draws;
  other.sample_ids = swapped;
  const auto a = drop(4, 64, draws.at(Site::user, 1, 0.5)), b = drop(4, 64, other.at(Site::user, 1, 0.5));
  for (int r = 0; r < 4; ++r) CHECK(row(a, r) == row(b, (r + 2) % 4));
  for (int r = 1; r < 4; ++r) CHECK(row(a, r) != row(a, 0));
  other = draws;
  other.update = 3;
  CHECK(drop(4, 64, other.at(Site::user, 1, 0.5)) != a);
  other = draws;
  other.seed = 6;
  CHECK(drop(4, 64, other.at(Site::user, 1, 0.5)) != a);
  CHECK(drop(4, 64, draws.at(Site::user, 2, 0.5)) != a);
  CHECK(drop(4, 64, draws.at(Site::drop_path_mlp, 1, 0.5)) != a);
  other = draws;
  other.first_layer = 1;
  CHECK(drop(4, 64, other.at(Site::user, 0, 0.5)) == a);  // layer indices add up
}

TEST_CASE("stochastic depth: whole rows are kept or dropped, with the right probability") {
  constexpr int rows = 4000, width = 3;
  std::vector<std::uint32_t> ids(rows);
  for (std::uint32_t i = 0; i < rows; ++i) ids[i] = i;
  const double rate = 0.3;
  const auto y = drop(rows, width, Draws{.seed = 5, .sample_ids = ids.data()}.at(Site::drop_path_mlp, 0, rate), true);
  int kept_rows = 0, whole_rows = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const double v = y[3 * r];
    whole_rows += (v == 0 || v == 1 / (1 - rate)) && y[3 * r + 1] == v && y[3 * r + 2] == v;
    kept_rows += v != 0;
  }
  CHECK(whole_rows == rows);
  CHECK(std::fabs(kept_rows - (1 - rate) * rows) < 5 * std::sqrt(rate * (1 - rate) * rows));
}

TEST_CASE("layer drop: one draw for an update and a layer, with the right probability") {
  int count = 0;
  for (std::uint32_t update = 0; update < 4000; ++update)
    count += layer_dropped({.seed = 1, .update = update}, 2, 0.25);
  CHECK(std::abs(count - 1000) < 5 * std::sqrt(0.25 * 0.75 * 4000));
  CHECK_FALSE(layer_dropped({.seed = 1}, 0, 0.0));
  for (const std::uint32_t* ids : {sample_ids.data(), sample_ids.data() + 3})
    for (std::uint32_t update = 0; update < 8; ++update)
      CHECK(layer_dropped({.seed = 1, .update = update, .sample_ids = ids}, 1, 0.5) ==
            layer_dropped({.seed = 1, .update = update}, 1, 0.5));
}
