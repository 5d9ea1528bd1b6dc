// SPDX-License-Identifier: MIT
// What drawings are made of: coordinates, text that is cut between characters, marks, legends.
#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/evaluation/svg.hpp>
#include <tests/evaluation/markup.hpp>

using namespace data2vec;

TEST_CASE("svg: coordinates are plain numbers") {
  CHECK(Svg::at(0) == "0");
  CHECK(Svg::at(-0.04) == "0");
  CHECK(Svg::at(12.34) == "12.3");
  CHECK(Svg::at(12345.06) == "12345.1");  // no comma between thousands
}

TEST_CASE("svg: text is cut between characters, never within one") {
  CHECK(shortened("abc", 3) == "abc");
  CHECK(shortened("abcd", 3) == "ab\xE2\x80\xA6");
  CHECK(shortened("\xC3\xA4\xC3\xB6\xC3\xBC", 3) == "\xC3\xA4\xC3\xB6\xC3\xBC");
  CHECK(shortened("\xC3\xA4\xC3\xB6\xC3\xBC\xC3\x9F", 3) == "\xC3\xA4\xC3\xB6\xE2\x80\xA6");
  CHECK(characters("\xC3\xA4\xE2\x80\xA6x") == 3);
  CHECK(text_width("ab") == 2 * text_width("a"));
}

TEST_CASE("svg: a drawing is well-formed and says what it is") {
  Svg svg;
  svg.rect(1, 2, 3, 4, "class=\"bar\"", "<hint>");
  svg.text(5, 6, "mid", "a & b", -45);
  for (std::size_t s = 0; s < 6; ++s) svg.mark(1, 1, s);
  const auto document = markup::parse(svg.str(10, 20, "\"label\""));
  CHECK(document.error == "");
  CHECK(document.all("svg").at(0).attributes.at("aria-label") == "&quot;label&quot;");
  CHECK(document.all("svg").at(0).attributes.at("viewBox") == "0 0 10 20");
  CHECK(document.all("title").at(0).text == "&lt;hint&gt;");
  const auto marks = document.all("path");
  REQUIRE(marks.size() == 6);
  for (std::size_t a = 0; a < 6; ++a)  // told apart without their hue: shape, or hollow
    for (std::size_t b = 0; b < a; ++b) {
      const bool hollow = marks[a].attributes.at("class").find("p1") != std::string::npos;
      const bool other_hollow = marks[b].attributes.at("class").find("p1") != std::string::npos;
      CHECK((marks[a].attributes.at("d") != marks[b].attributes.at("d") || hollow != other_hollow));
    }
}

TEST_CASE("svg: a drawing as a file has its style, its size and the same elements") {
  Svg svg;
  svg.text(5, 6, "mid", "a & b");
  const SvgBody body = svg_body(svg.str(10.5, 20, "inner"));
  CHECK(body.width == 10.5);
  CHECK(body.height == 20);
  const std::string file = svg_file(body.width, body.height, "\"label\"", body.elements);
  const auto document = markup::parse(file);
  const auto frame = document.all("svg").at(0);
  CHECK(document.all("svg").size() == 1);
  CHECK(frame.attributes.at("viewBox") == "-10 -10 30.5 40");
  CHECK(frame.attributes.at("width") == "30.5");
  CHECK(frame.attributes.at("aria-label") == "&quot;label&quot;");
  CHECK(document.all("style").size() == 1);
  CHECK(document.all("text").size() == 1);
  CHECK(file.find("min-width: 30rem") == file.npos);  // of a drawing in a page
  CHECK(file.find("var(") == file.npos);              // most converters know no custom properties
  CHECK(file.find(".s0 { stroke: #1768ac; } .s1 { stroke: #c2500a; }") != file.npos);
  CHECK(document.all("rect").at(0).attributes.at("style") == "fill:#ffffff");
}

TEST_CASE("svg: a legend goes on in the next row, and leaves out what has no name") {
  Svg svg;
  std::vector<std::pair<double, double>> places;
  const double wide = 2 * (40 + text_width("name") + 16);
  const double end = draw_legend(svg, {"name", "", "name", "name"}, 0, wide, 30,
                                 [&](double x, double y, std::size_t) { places.emplace_back(x, y); });
  REQUIRE(places.size() == 3);
  CHECK(places[0] == std::pair(0.0, 30.0));
  CHECK(places[1] == std::pair(wide / 2, 30.0));
  CHECK(places[2] == std::pair(0.0, 48.0));
  CHECK(end == 66);
  CHECK(draw_legend(svg, {""}, 0, wide, 30, [](double, double, std::size_t) { FAIL("drawn"); }) == 30);
}
