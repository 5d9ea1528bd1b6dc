// SPDX-License-Identifier: MIT
// Lines: what is drawn stays inside the drawing, gaps are gaps, and nothing, one point or NaN is no accident.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/evaluation/line_chart.hpp>
#include <tests/evaluation/markup.hpp>

using namespace data2vec;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
using Points = std::vector<std::pair<double, double>>;

/// Well-formed, without "nan" or "inf", every absolute coordinate inside the view box.
markup::Document checked(const LineChart& chart) {
  const std::string text = svg(chart);
  const auto document = markup::parse(text);
  CHECK(document.error == "");
  CHECK(text.find("\"nan") == std::string::npos);
  CHECK(text.find("n/a") == std::string::npos);
  CHECK(text.find("inf") == std::string::npos);
  double x = 0, y = 0, width = 0, height = 0;
  std::istringstream(document.all("svg").at(0).attributes.at("viewBox")) >> x >> y >> width >> height;
  for (const auto& path : document.all("path")) {
    std::string d = path.attributes.at("d");
    if (path.attributes.at("class").rfind("mark", 0) == 0) d = d.substr(0, d.find('m'));
    std::replace_if(d.begin(), d.end(), [](char c) { return c == 'M' || c == 'L'; }, ' ');
    std::istringstream in(d);
    while (in >> x >> y) CHECK((x >= 0 && x <= width && y >= 0 && y <= height));
    CHECK(in.eof());
  }
  for (const auto& t : document.all("text")) CHECK(std::stod(t.attributes.at("y")) <= height);
  return document;
}

std::vector<markup::Element> lines(const markup::Document& document) {
  auto paths = document.all("path");
  std::erase_if(paths, [](const auto& p) { return p.attributes.at("class").rfind("line", 0) != 0; });
  return paths;
}
std::vector<markup::Element> marks(const markup::Document& document) {
  auto paths = document.all("path");
  std::erase_if(paths, [](const auto& p) { return p.attributes.at("class").rfind("mark", 0) != 0; });
  return paths;
}
bool says(const markup::Document& document, const std::string& text) {
  for (const auto& t : document.all("text"))
    if (t.text == text) return true;
  return false;
}

}  // namespace

TEST_CASE("line chart: title, labels, legend and ticks are there") {
  const auto document = checked({.title = "Loss & more", .x_label = "update", .y_label = "loss (nat)",
                                 .series = {{"first", {{0, 1}, {10, 0.5}}}, {"second", {{0, 0.2}, {10, 0.4}}}}});
  for (const char* text : {"Loss &amp; more", "update", "loss (nat)", "first", "second", "0", "10", "0.0", "1.0"})
    CHECK_MESSAGE(says(document, text), text);
  CHECK(lines(document).size() == 4);  // two, and their samples in the legend
  CHECK(lines(document)[2].attributes.at("class") != lines(document)[3].attributes.at("class"));
}

TEST_CASE("line chart: nothing, one point, a constant, values that are not finite") {
  CHECK(says(checked({.title = "t", .series = {}}), "no data"));
  CHECK(says(checked({.title = "t", .series = {{"s", {}}}, .log_y = true}), "no data"));
  const auto one = checked({.title = "t", .series = {{"", {{5, 7}}}}});
  CHECK(lines(one).size() == 1);
  CHECK(marks(one).size() >= 1);  // a line of one point alone could not be seen
  checked({.title = "t", .series = {{"", {{0, 3}, {1, 3}, {2, 3}}}}});
  checked({.title = "t", .series = {{"", {{0, 0}, {1, 0}}}}});
  checked({.title = "t", .series = {{"", {{-1e99, -1e99}, {1e99, 1e99}}}}});
  const auto none = checked({.title = "t", .series = {{"", {{0, NAN}, {1, infinity}, {NAN, 1}}}}});
  CHECK(says(none, "no data"));
  CHECK(says(none, "3 values are not finite"));
  CHECK(says(checked({.title = "t", .series = {{"", {{0, 1}, {1, -1}, {2, 10}}}}, .log_y = true}),
             "1 value is not above 0 or not finite"));
}

TEST_CASE("line chart: a value that is missing is a gap") {
  const auto document = checked({.title = "t", .series = {{"", {{0, 1}, {1, 2}, {2, NAN}, {3, 3}, {4, 1}, {5, 2}}}}});
  const std::string d = lines(document).at(0).attributes.at("d");
  CHECK(std::count(d.begin(), d.end(), 'M') == 2);
  CHECK(std::count(d.begin(), d.end(), 'L') == 3);
}

TEST_CASE("line chart: a long line is thinned to the pixels and keeps its peaks") {
  Points points;
  for (int i = 0; i < 200'000; ++i) points.emplace_back(i, i == 123'457 ? 50 : i == 150'001 ? -50 : std::sin(i));
  const LineChart chart{.title = "t", .series = {{"", points}}};
  const auto document = checked(chart);
  const std::string d = lines(document).at(0).attributes.at("d");
  CHECK(std::count(d.begin(), d.end(), 'L') < 4 * chart.width);
  std::string numbers = d;
  std::replace_if(numbers.begin(), numbers.end(), [](char c) { return c == 'M' || c == 'L'; }, ' ');
  std::istringstream in(numbers);
  double least = infinity, greatest = -infinity, before = -infinity;
  for (double x, y; in >> x >> y; before = x) {
    CHECK(x >= before);
    least = std::min(least, y), greatest = std::max(greatest, y);
  }
  // The two peaks are 100 of a range of 108 (4 % of room at both ends), of a plot that is 200 pixels high at least.
  CHECK(greatest - least > 200 * 100.0 / 108);
}

TEST_CASE("thinned: first, extremes and last of a pixel column, once each, in their order") {
  const Points column{{3.0, 5}, {3.1, 9}, {3.2, 6}, {3.3, 1}, {3.4, 4}, {4.0, 2}};
  CHECK(detail::thinned(column) == Points{{3.0, 5}, {3.1, 9}, {3.3, 1}, {3.4, 4}, {4.0, 2}});
  CHECK(detail::thinned({{1, 1}}) == Points{{1, 1}});
  CHECK(detail::thinned({}).empty());
  CHECK(detail::thinned({{1, 2}, {1.5, 2}, {1.7, 2}}) == Points{{1, 2}, {1.7, 2}});
}
