// SPDX-License-Identifier: MIT
// Numbers as text and ticks: round, rising, inside, with labels that differ.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <data2vec/evaluation/axis.hpp>

using namespace data2vec;

namespace {

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> out;
  for (const Tick& tick : ticks) out.push_back(tick.label);
  return out;
}

void check_ticks(const std::vector<Tick>& ticks, double low, double high, std::size_t most) {
  CAPTURE(low);
  CAPTURE(high);
  CHECK(ticks.size() >= 2);
  CHECK(ticks.size() <= most);
  std::set<std::string> seen;
  for (std::size_t i = 0; i < ticks.size(); ++i) {
    // the slack of the search, and the rounding of an end of its own
    const double slack = 1.001e-9 * std::max(high - low, std::abs(high));
    CHECK(ticks[i].value >= low - slack);
    CHECK(ticks[i].value <= high + slack);
    if (i > 0) CHECK(ticks[i].value > ticks[i - 1].value);
    CHECK_MESSAGE(seen.insert(ticks[i].label).second, "twice: " << ticks[i].label);
  }
}

using Labels = std::vector<std::string>;
constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("numbers as text") {
  CHECK(grouped_number(0) == "0");
  CHECK(grouped_number(999) == "999");
  CHECK(grouped_number(-1000) == "-1,000");
  CHECK(grouped_number(1234567) == "1,234,567");
  CHECK(grouped_number(std::numeric_limits<std::int64_t>::min()) == "-9,223,372,036,854,775,808");
  CHECK(fixed_number(1234.5678, 2) == "1,234.57");
  CHECK(fixed_number(-0.001, 2) == "0.00");
  CHECK(fixed_number(-123456, 0) == "-123,456");
  CHECK(fixed_number(NAN, 2) == "n/a");
  CHECK(fixed_number(std::numeric_limits<double>::max(), 1).size() == 309 + 102 + 2);
  CHECK(short_number(0) == "0");
  CHECK(short_number(0.25) == "0.25");
  CHECK(short_number(1873) == "1,873");
  CHECK(short_number(99999.6) == "100,000");
  CHECK(short_number(0.00012345, 3) == "0.000123");
  CHECK(short_number(0.000012) == "1.2e-5");
  CHECK(short_number(-3e20) == "-3e20");
  CHECK(short_number(9999999.9) == "1e7");
  CHECK(short_number(-infinity) == "n/a");
}

TEST_CASE("linear ticks: round steps") {
  CHECK(labels(linear_ticks(0, 1)) == Labels{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(labels(linear_ticks(0, 90, 6)) == Labels{"0", "20", "40", "60", "80"});
  CHECK(labels(linear_ticks(-1, 1, 4)) == Labels{"-1.0", "-0.5", "0.0", "0.5", "1.0"});
  CHECK(labels(linear_ticks(0, 20000, 4)) == Labels{"0", "5,000", "10,000", "15,000", "20,000"});
  CHECK(linear_ticks(0, 1)[3].value == 0.6);  // not 0.6000000000000001
}

TEST_CASE("linear ticks: rising, inside and distinct over forty orders of magnitude") {
  for (int power = -20; power <= 20; ++power)
    for (const double low : {-7.3, -1.0, 0.0, 0.31, 1.0, 99.9})
      for (const double span : {0.013, 0.7, 1.0, 3.3, 250.0})
        for (const int about : {2, 5, 9}) {
          const double scale = std::pow(10.0, power);
          // steps are rounded by at most 3.5 / 2 either way, so there are at most 1.75 about + 1 ticks
          check_ticks(linear_ticks(low * scale, (low + span) * scale, about + 1), low * scale, (low + span) * scale,
                      static_cast<std::size_t>(2 * (about + 1) + 1));
        }
}

TEST_CASE("logarithmic ticks: rising, inside and distinct") {
  CHECK(labels(log_ticks(0.01, 1)) == Labels{"0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"});
  CHECK(labels(log_ticks(0.1, 100)) == Labels{"0.1", "0.3", "1", "3", "10", "30", "100"});
  CHECK(labels(log_ticks(1e-8, 1e8, 4)) == Labels{"1e-8", "0.0001", "1", "10,000", "1e8"});
  for (int power = -20; power <= 20; ++power)
    for (const double mantissa : {1.0, 1.7, 4.0, 9.99})
      for (const double decades : {0.02, 0.5, 1.0, 1.3, 2.2, 2.6, 4.1, 7.0, 30.0}) {
        const double low = mantissa * std::pow(10.0, power);
        check_ticks(log_ticks(low, low * std::pow(10.0, decades)), low, low * std::pow(10.0, decades), 11);
      }
}

TEST_CASE("ticks and axes of nothing") {
  CHECK(labels(linear_ticks(5, 5)) == Labels{"5"});
  CHECK(labels(linear_ticks(1, 1 + 1e-12)) == Labels{"1"});
  CHECK(linear_ticks(-1e308, 1e308).size() == 1);  // the span overflows
  CHECK(log_ticks(3, 3).size() == 1);
  for (const bool log : {false, true})
    for (const double value : {1e-99, 0.5, 7e90}) {
      const Axis axis = axis_over(value, value, log, false, 100, 0);
      CHECK(axis.low < value);
      CHECK(axis.high > value);
      CHECK(axis(value) > 0);
      CHECK(axis(value) < 100);
    }
  const Axis zero = axis_over(0, 0, false, true, 0, 10);
  CHECK(zero(0) == 0);
  CHECK(zero(1) == 10);
}

TEST_CASE("axis: ends and middle") {
  const Axis linear = axis_over(2, 4, false, false, 10, 30);
  CHECK(linear(2) == 10);
  CHECK(linear(3) == 20);
  CHECK(axis_over(2, 4, false, true, 10, 30)(0) == 10);
  CHECK(axis_over(-2, 4, false, true, 0, 60)(0) == 20);
  const Axis log = axis_over(1, 100, true, false, 200, 0);
  CHECK(log(10) == doctest::Approx(100));
  CHECK(labels(axis_over(1.2, 16, true, false, 200, 0).ticks(5)) == Labels{"2", "4", "6", "8", "10", "12", "16"});
  CHECK(labels(axis_over(1.2, 16, true, false, 75, 0).ticks(5)) == Labels{"2", "4", "8", "14"});
  CHECK(!can_plot(0, true));
  CHECK(!can_plot(NAN, false));
  CHECK(!can_plot(1e300, false));
  CHECK(can_plot(-1, false));
}
