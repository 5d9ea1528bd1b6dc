// SPDX-License-Identifier: MIT
// Bars: lengths in proportion, spreads, values that are written, values that are missing.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include <data2vec/evaluation/bar_chart.hpp>
#include <tests/evaluation/markup.hpp>

using namespace data2vec;

namespace {

markup::Document checked(const BarChart& chart) {
  const auto document = markup::parse(svg(chart));
  CHECK(document.error == "");
  return document;
}
std::size_t texts(const markup::Document& document, const std::string& text) {
  std::size_t count = 0;
  for (const auto& t : document.all("text")) count += t.text == text;
  return count;
}
double width(const markup::Element& bar) { return std::stod(bar.attributes.at("width")); }

}  // namespace

TEST_CASE("bar chart: bars in proportion from 0, values with their spread") {
  const auto document = checked({.title = "t", .label = "accuracy, %", .series = {""},
                                 .groups = {{"a <b>", {40}, {}}, {"c", {80}, {2.5}}}});
  const auto bars = document.all("rect");
  REQUIRE(bars.size() == 2);
  CHECK(std::abs(width(bars[1]) - 2 * width(bars[0])) <= 0.15);  // both are written to a tenth
  CHECK(texts(document, "a &lt;b&gt;") == 1);
  CHECK(texts(document, "40.0") == 1);
  CHECK(texts(document, "80.0 \xC2\xB1 2.5") == 1);
  std::size_t errors = 0;
  for (const auto& path : document.all("path")) errors += path.attributes.at("class") == "error";
  CHECK(errors == 3);  // a line and two ends, for the one that has a spread
}

TEST_CASE("bar chart: bars of a group differ in filling, and the legend names them") {
  const auto document = checked({.title = "t", .label = "l", .series = {"one", "two"},
                                 .groups = {{"g", {1, 2}, {0.1, 0.1}}}});
  const auto rects = document.all("rect");
  REQUIRE(rects.size() == 4);
  CHECK(rects[0].attributes.at("class") == rects[2].attributes.at("class"));
  CHECK(rects[1].attributes.at("class") == rects[3].attributes.at("class"));
  CHECK(rects[0].attributes.at("class") != rects[1].attributes.at("class"));
  CHECK(texts(document, "two") == 1);
}

TEST_CASE("bar chart: nothing, missing, zero and negative values") {
  CHECK(texts(checked({.title = "t", .label = "l", .series = {}, .groups = {}}), "no data") == 1);
  const auto missing = checked({.title = "t", .label = "l", .series = {""}, .groups = {{"g", {NAN}, {0.5}}}});
  CHECK(missing.all("rect").empty());
  CHECK(texts(missing, "n/a") == 1);
  const auto zero = checked({.title = "t", .label = "l", .series = {""}, .groups = {{"g", {0}, {}}}});
  CHECK(width(zero.all("rect").at(0)) == 0);
  const auto both = checked({.title = "t", .label = "l", .series = {""}, .groups = {{"a", {-3}, {}}, {"b", {3}, {}}}});
  const auto rects = both.all("rect");
  CHECK(std::abs(width(rects.at(0)) - width(rects.at(1))) <= 0.11);
  CHECK(std::stod(rects[0].attributes.at("x")) + width(rects[0]) ==
        doctest::Approx(std::stod(rects[1].attributes.at("x"))).epsilon(0.001));
}

TEST_CASE("bar chart: a group of another size is an error that names it") {
  CHECK_THROWS_WITH_AS(svg(BarChart{.title = "t", .label = "l", .series = {"a", "b"}, .groups = {{"g", {1}, {}}}}),
                       "bar chart \"t\", group \"g\": expected 2 values and spreads, found 1 and 0", MismatchError);
}
