// SPDX-License-Identifier: MIT
// Scores of a small confusion matrix, by hand.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/evaluation/metrics.hpp>

using namespace data2vec;

namespace {

// Rows are the truth: class 0: 3 0 1, class 1: 2 2 0, class 2: 0 0 0, class 3: never, never predicted.
const std::vector<int> truth{0, 0, 0, 0, 1, 1, 1, 1}, predicted{0, 0, 0, 2, 0, 0, 1, 1};

}  // namespace

TEST_CASE("confusion: scores by their definitions") {
  const Confusion c(truth, predicted, 4);
  CHECK(c.total() == 8);
  CHECK(c.correct() == 5);
  CHECK(c.accuracy() == 5.0 / 8);
  CHECK(c.count(1, 0) == 2);
  CHECK(c.support(0) == 4);
  CHECK(c.predicted(0) == 5);
  CHECK(c.precision(0) == 3.0 / 5);
  CHECK(c.recall(0) == 3.0 / 4);
  CHECK(c.f1(0) == 6.0 / 9);
  CHECK(c.f1(0) == doctest::Approx(2 / (1 / c.precision(0) + 1 / c.recall(0))));
  CHECK(c.precision(1) == 1);
  CHECK(c.f1(1) == 4.0 / 6);
  CHECK(c.recall(2) == 0);     // does not occur
  CHECK(c.precision(3) == 0);  // is never predicted
  CHECK(c.macro_f1() == doctest::Approx((6.0 / 9 + 4.0 / 6 + 0) / 3));  // class 3 is nowhere
}

TEST_CASE("confusion: what is confused most") {
  const Confusion c(truth, predicted, 4);
  using Pairs = std::vector<Confusion::Pair>;
  CHECK(c.top_confused(1) == Pairs{{1, 0, 2}});
  CHECK(c.top_confused(9) == Pairs{{1, 0, 2}, {0, 2, 1}});
  const std::vector<int> a{0, 1, 2}, b{1, 2, 0};
  CHECK(Confusion(a, b, 3).top_confused(2) == Pairs{{0, 1, 1}, {1, 2, 1}});  // equal counts: by class
}

TEST_CASE("confusion: parts add up to the whole") {
  Confusion sum(4);
  for (std::size_t i = 0; i < truth.size(); i += 4) {
    const std::span<const int> t(truth), p(predicted);
    sum += Confusion(t.subspan(i, 4), p.subspan(i, 4), 4);
  }
  CHECK(sum.table() == Confusion(truth, predicted, 4).table());
  CHECK(Confusion(3).accuracy() == 0);
  CHECK(Confusion(3).macro_f1() == 0);
}

TEST_CASE("confusion: the table") {
  const std::vector<std::string> names{"shirt", "bag", "coat", "boot"};
  CHECK(Confusion(truth, predicted, 4).table(names) ==
        "class   0 1 2 3  precision  recall      F1  samples\n"
        "shirt 0 3 0 1 0     0.6000  0.7500  0.6667        4\n"
        "bag   1 2 2 0 0     1.0000  0.5000  0.6667        4\n"
        "coat  2 0 0 0 0     0.0000  0.0000  0.0000        0\n"
        "boot  3 0 0 0 0     0.0000  0.0000  0.0000        0\n"
        "accuracy 0.6250, macro F1 0.4444, 8 samples\n");
  const std::string wide = Confusion(truth, predicted, 21).table();  // too many columns to read: scores alone
  CHECK(wide.substr(0, wide.find('\n')) == "class     precision  recall      F1  samples");
}

TEST_CASE("confusion: what is refused") {
  Confusion c(4);
  CHECK_THROWS_WITH_AS(c.add(4, 0), "confusion: expected a label from 0 to 3, found 4", OptionError);
  CHECK_THROWS_WITH_AS(c.add(0, -1), "confusion: expected a prediction from 0 to 3, found -1", OptionError);
  CHECK_THROWS_AS(Confusion(0), OptionError);
  CHECK_THROWS_AS(c += Confusion(3), MismatchError);
  CHECK_THROWS_AS(Confusion(truth, std::vector<int>{1}, 4), MismatchError);
  CHECK_THROWS_AS(c.table(std::vector<std::string>{"one"}), MismatchError);
  CHECK(c.total() == 0);
}
