// SPDX-License-Identifier: MIT
// A map of counts: every count is written, tints go by row, the diagonal is framed.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <data2vec/evaluation/heat_map.hpp>
#include <tests/evaluation/markup.hpp>

using namespace data2vec;

namespace {

std::vector<markup::Element> of_class(const markup::Document& document, const std::string& name) {
  auto rects = document.all("rect");
  std::erase_if(rects, [&](const auto& r) { return r.attributes.at("class") != name; });
  return rects;
}

}  // namespace

TEST_CASE("heat map: counts, tints by row, recall") {
  const HeatMap map{.title = "t", .row_label = "true", .column_label = "predicted", .rows = {"a<", "b"},
                    .columns = {"a<", "b"}, .counts = {{1, 3}, {0, 1600}}};
  const auto document = markup::parse(svg(map));
  CHECK(document.error == "");
  const auto cells = of_class(document, "cell");
  REQUIRE(cells.size() == 3);                                   // 0 leaves the page as it is
  CHECK(cells[0].attributes.at("fill-opacity") == "0.500");     // sqrt(1 / 4)
  CHECK(cells[1].attributes.at("fill-opacity") == "0.866");     // sqrt(3 / 4)
  CHECK(cells[2].attributes.at("fill-opacity") == "1.000");     // of its row, not of the map
  CHECK(of_class(document, "diagonal").size() == 2);
  std::vector<std::string> texts;
  for (const auto& t : document.all("text")) texts.push_back(t.text);
  CHECK(texts == std::vector<std::string>{"t", "true in rows, predicted in columns", "a&lt;", "b", "a&lt;", "1", "3",
                                          "25.0 %", "b", "1600", "100.0 %"});
  CHECK(document.all("title").at(0).text == "a&lt;, a&lt;: 1 of 4");
}

TEST_CASE("heat map: a tile is as wide as its greatest count, and long names slope inside the drawing") {
  const HeatMap map{.title = "t", .row_label = "r", .column_label = "c", .rows = {"x"},
                    .columns = {"a name that is far too long", "another long name"}, .counts = {{123456789, 1}}};
  const auto document = markup::parse(svg(map));
  CHECK(document.error == "");
  CHECK(std::stod(of_class(document, "cell").at(0).attributes.at("width")) > text_width("123456789"));
  CHECK(of_class(document, "diagonal").empty());
}

TEST_CASE("heat map: many classes without numbers, and none") {
  std::vector<std::string> names;
  std::vector<std::vector<std::int64_t>> counts(100, std::vector<std::int64_t>(100, 7));
  for (int i = 0; i < 100; ++i) names.push_back("class " + std::to_string(i));
  const auto many = markup::parse(
      svg(HeatMap{.title = "t", .rows = names, .columns = names, .counts = counts}));
  CHECK(many.error == "");
  CHECK(of_class(many, "cell").size() == 10'000);
  for (const auto& t : many.all("text")) CHECK(t.text != "7");
  const auto none = markup::parse(
      svg(HeatMap{.title = "t"}));
  CHECK(none.error == "");
  const auto empty_row = markup::parse(
      svg(HeatMap{.title = "t", .rows = {"a"}, .columns = {"a"}, .counts = {{0}}}));
  CHECK(empty_row.error == "");
  CHECK(of_class(empty_row, "cell").empty());
}

TEST_CASE("heat map: counts and names that do not fit") {
  CHECK_THROWS_AS(svg(HeatMap{.title = "t", .rows = {"a"}, .columns = {"a"}}), MismatchError);
  CHECK_THROWS_WITH_AS(svg(HeatMap{.title = "t", .rows = {"a"}, .columns = {"a", "b"}, .counts = {{1}}}),
                       "heat map \"t\", row 0: expected 2 counts, found 1", MismatchError);
}
