// SPDX-License-Identifier: MIT
// Correlations by hand, and beside scipy's numbers.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <data2vec/evaluation/correlation.hpp>

using namespace data2vec;
using Numbers = std::vector<double>;

namespace {

constexpr double epsilon = std::numeric_limits<double>::epsilon();
/// Sums of 8 terms: 8 times a random walk of rounding errors.
const auto near = [](double x) { return doctest::Approx(x).epsilon(8 * epsilon * std::sqrt(8.0)); };

Confusion confusion(int classes, const std::vector<std::vector<int>>& counts) {
  Confusion c(classes);
  for (int t = 0; t < classes; ++t)
    for (int p = 0; p < classes; ++p)
      for (int i = 0; i < counts[static_cast<std::size_t>(t)][static_cast<std::size_t>(p)]; ++i) c.add(t, p);
  return c;
}

}  // namespace

TEST_CASE("matthews: two classes by the definition") {
  // tn 6, fp 2, fn 1, tp 3
  const Confusion c = confusion(2, {{6, 2}, {1, 3}});
  CHECK(matthews(c) == near((3 * 6 - 2 * 1) / std::sqrt(5.0 * 4 * 8 * 7)));
  CHECK(matthews(confusion(2, {{5, 0}, {0, 4}})) == near(1));
  CHECK(matthews(confusion(2, {{0, 5}, {4, 0}})) == near(-1));
  CHECK(matthews(confusion(2, {{4, 4}, {3, 3}})) == 0);
  CHECK(matthews(confusion(2, {{5, 0}, {4, 0}})) == 0);  // always the same answer
  CHECK(matthews(confusion(2, {{5, 3}, {0, 0}})) == 0);
  CHECK(matthews(Confusion(2)) == 0);
}

TEST_CASE("matthews: several classes") {
  // Gorodkin's formula by hand: n 10, correct 6, supports 4 3 3, predicted 3 4 3.
  const Confusion c = confusion(3, {{2, 1, 1}, {1, 2, 0}, {0, 1, 2}});
  CHECK(matthews(c) == near((10.0 * 6 - (4 * 3 + 3 * 4 + 3 * 3)) / std::sqrt((100.0 - 34) * (100 - 34))));
  CHECK(matthews(confusion(3, {{2, 0, 0}, {0, 3, 0}, {0, 0, 4}})) == near(1));
}

TEST_CASE("pearson and spearman: scipy's numbers") {
  const Numbers x{2.5, 0, 2.5, 7, -1.25, 3, 3, 3}, y{1, 0.5, 2, 6, 0.5, 2, 8, -3};  // with ties
  CHECK(pearson(x, y) == near(0.4784142382824656));
  CHECK(spearman(x, y) == near(0.5404665063240887));
  CHECK(pearson(x, y) == pearson(y, x));
}

TEST_CASE("pearson and spearman: lines, curves, constants") {
  const Numbers x{1, 2, 3, 4}, line{-1, -3, -5, -7}, curve{1, 8, 27, 1000}, same{5, 5, 5, 5};
  CHECK(pearson(x, line) == near(-1));
  CHECK(pearson(x, curve) < 0.9);
  CHECK(spearman(x, curve) == near(1));
  CHECK(pearson(x, same) == 0);
  CHECK(spearman(same, x) == 0);
  CHECK(detail::mean_ranks(Numbers{3, 1, 3, 2}) == Numbers{3.5, 1, 3.5, 2});
  const Numbers nan{1, std::numeric_limits<double>::quiet_NaN(), 2, 3};
  CHECK(std::isnan(pearson(x, nan)));
  CHECK(std::isnan(spearman(nan, x)));
}

TEST_CASE("pearson and spearman: what is refused") {
  CHECK_THROWS_WITH_AS(pearson(Numbers{1, 2}, Numbers{1}),
                       "pearson: expected two lists of one length, at least 2, found 2 and 1", MismatchError);
  CHECK_THROWS_AS(spearman(Numbers{1}, Numbers{1}), MismatchError);
}
