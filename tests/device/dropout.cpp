// SPDX-License-Identifier: MIT
// Dropout and noise against the draws of core/random.hpp, element by element.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/dropout.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

namespace {
const std::uint32_t ids[] = {7, 1'000'000, 3};
DropoutDraws draws(double rate) { return {12345678901234567u, 9, ids, 2, Site::encoder_dropout, 4, rate}; }
}  // namespace

TEST_CASE_TEMPLATE("the words are those of `draw`", Isa, isa::Portable, isa::Native) {
  using R = VectorRandom<Isa>;
  const DrawKey key{0xFEDCBA9876543210u, 5, 6, 7, Site::noise, 8};
  std::vector<std::uint32_t> words(R::words);
  for (const std::uint32_t first : {0u, 1u, 77u, 0xFFFFFFFCu}) {
    R::draw(key, first, words.data());
    for (std::uint32_t i = 0; i < R::words; ++i) CHECK(words[i] == draw(key, first + i / 4)[i % 4]);
  }
}

TEST_CASE_TEMPLATE("normal numbers are those of `normal_pair`", Isa, isa::Portable, isa::Native) {
  using R = VectorRandom<Isa>;
  const DrawKey key{.seed = 1};
  std::vector<std::uint32_t> words(R::words);
  std::vector<float> values(R::words);
  double most = 0;
  for (std::uint32_t first = 0; first < 40'000; first += R::blocks) {
    R::draw(key, first, words.data());
    if (first == 0) {  // the ends of both intervals
      words[0] = 0;
      words[1] = 0;
      words[2] = 0xFFFFFFFFu;
      words[3] = 0xFFFFFFFFu;
    }
    R::normal(words.data(), values.data());
    for (std::size_t i = 0; i < R::words; i += 2) {
      const auto pair = normal_pair(words[i], words[i + 1]);
      for (std::size_t j = 0; j < 2; ++j) most = std::max(most, std::abs(double(pair[j]) - double(values[i + j])));
    }
  }
  CHECK(most < 1e-6);
}

TEST_CASE_TEMPLATE("dropout keeps the elements that `kept` names", T, float, double) {
  Cpu cpu;
  for (const int width : {1, 3, 39, 130})
    for (const double rate : {0.0, 0.1, 0.5, 1.0 / 3, 0.999}) {
      const auto x = numbers<T>(6 * static_cast<std::size_t>(width), 1);
      std::vector<T> y(x);
      device::dropout(cpu, 6, width, draws(rate), y.data(), y.data());
      std::size_t wrong = 0;
      for (int r = 0; r < 6; ++r)
        for (int e = 0; e < width; ++e) {
          const auto i = static_cast<std::size_t>(r * width + e), element = static_cast<std::size_t>(e);
          const bool keep = kept(draw(draws(rate).key(r), static_cast<std::uint32_t>(element / 4)),
                                 static_cast<std::uint32_t>(element), rate);
          wrong += y[i] != (keep ? x[i] * static_cast<T>(1 / (1 - rate)) : T(0));
        }
      CHECK(wrong == 0);
    }
}

TEST_CASE_TEMPLATE("a stream may be entered anywhere", T, float, double) {
  using D = kernel::Dropout<Cpu>;
  const auto x = numbers<T>(300, 1);
  std::vector<T> all(300), part(300);
  const DrawKey key = draws(0.4).key(1);
  D::apply(key, 0, 300, 0.4, x.data(), all.data());
  for (std::size_t first = 0; first < 70; ++first) {
    D::apply(key, static_cast<std::uint32_t>(first), static_cast<int>(300 - first), 0.4, x.data() + first, part.data());
    CHECK(support::same_bits(part.data(), all.data() + first, 300 - first));
  }
}

TEST_CASE_TEMPLATE("drop path keeps or zeroes whole rows; noise has its deviation", T, float, double) {
  Cpu cpu;
  constexpr int width = 37;
  const auto x = numbers<T>(6 * width, 1);
  std::vector<T> y(6 * width);
  device::drop_path(cpu, 6, width, draws(0.5), x.data(), y.data());
  int rows_kept = 0;
  for (int r = 0; r < 6; ++r) {
    const bool keep = kept(draw(draws(0.5).key(r), 0), 0, 0.5);
    rows_kept += keep;
    for (int e = 0; e < width; ++e) {
      const auto i = static_cast<std::size_t>(r * width + e);
      CHECK(y[i] == (keep ? 2 * x[i] : T(0)));
    }
  }
  CHECK(rows_kept > 0);  // fixed draws: both kinds occur
  CHECK(rows_kept < 6);
  device::normal_noise(cpu, 6, width, draws(0.01), y.data());
  for (int r = 0; r < 6; ++r)
    for (int e = 0; e < width; ++e) {
      const auto block = draw(draws(0.01).key(r), static_cast<std::uint32_t>(e) / 4);
      const std::size_t pair = static_cast<std::size_t>(e) % 4 / 2 * 2;
      const float expected = normal_pair(block[pair], block[pair + 1])[static_cast<std::size_t>(e) % 2];
      CHECK(std::abs(static_cast<double>(y[static_cast<std::size_t>(r * width + e)]) - 0.01 * double(expected)) < 1e-8);
    }
}
