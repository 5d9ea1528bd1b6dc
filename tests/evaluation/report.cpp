// SPDX-License-Identifier: MIT
// The page of a run: well-formed, all texts escaped, nothing from outside, sections only where there is something.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/evaluation/report.hpp>
#include <tests/data/image_files.hpp>
#include <tests/evaluation/markup.hpp>

using namespace data2vec;

namespace {

const std::string bad = "<x>&\"'";

/// Everything, and every text hostile.
RunReport full() {
  RunReport r;
  r.title = r.command = r.machine = r.cpu = r.threads = r.isa = r.commit = r.date = r.accuracy_of = bad;
  r.dataset = {{bad, bad}}, r.model = {{bad, 1234567}, {"rate", 0.5}}, r.training = {{bad, true}};
  for (int i = 0; i < 200; ++i)
    r.curve.push_back({i * 10, i * 0.5, i == 20 ? std::nan("") : std::exp(-i / 50.0), 0.5 + 0.001 * i, 0.4, 2.0, 1e-3});
  r.accuracy = {{bad, 0.8125, 0.01, bad}, {"b", not_measured, not_measured, ""}};
  r.few_labels = {bad, {bad, "b"}, {{1, {{0.25, 0.05}, {0.3}}}, {10, {{0.5}, {}}}}};
  const Image image = image_files::pattern(8, 8, 3), grey = image_files::pattern(6, 300, 1);
  r.masks = {{bad, image, {image, image}}};
  r.neighbours = {{grey, bad, {{image, bad, 0.9}, {image, "other", 0.8}}}, {image, "", {{image, "", not_measured}}}};
  r.confusion = Confusion(std::vector<int>{0, 1, 1, 0}, std::vector<int>{0, 1, 0, 0}, 2);
  r.class_names = {bad, "b"};
  r.notes = {bad}, r.alarms = {bad};
  return r;
}

std::vector<std::string> headings(const markup::Document& document) {
  std::vector<std::string> out;
  for (const auto& h : document.all("h2")) out.push_back(h.text);
  return out;
}

std::string text_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("report: a page of everything is well-formed and its texts are texts") {
  const std::string page = html(full());
  const auto document = markup::parse(page);
  CHECK(document.error == "");
  CHECK(document.all("x").empty());
  CHECK(headings(document) == std::vector<std::string>{"How good the features are", "With few labels",
                                                       "Learning curves", "What the student sees",
                                                       "Nearest neighbours", "What is taken for what", "The run"});
  CHECK(document.all("svg").size() == 2 + 4 + 1);
  for (const char* expected : {"81.25", "1,234,567", "25.00 \xC2\xB1 5.00", "n/a"})
    CHECK_MESSAGE(page.find(expected) != std::string::npos, expected);
}

TEST_CASE("report: nothing comes from outside, every picture has a text and a size") {
  const auto document = markup::parse(html(full()));
  const auto images = document.all("img");
  CHECK(images.size() == 3 + 3 + 2);  // original and two masks; a query with two neighbours, one with one
  for (const auto& image : images) {
    CHECK(image.attributes.at("src").rfind("data:image/png;base64,iVBORw0KGgo", 0) == 0);  // the signature of PNG
    CHECK(!image.attributes.at("alt").empty());
    CHECK(std::stoi(image.attributes.at("width")) >= 1);
    CHECK(std::stoi(image.attributes.at("height")) >= 1);
  }
  CHECK(images[0].attributes.at("width") == "80");   // 8 pixels by a whole number, up to 84
  CHECK(images[3].attributes.at("width") == "56");   // 300 pixels are shrunk
  CHECK(images[3].attributes.at("height") == "1");
  for (const char* name : {"script", "link", "iframe", "object"}) CHECK(document.all(name).empty());
  for (const auto& e : document.elements)
    for (const auto& [key, value] : e.attributes) {
      CHECK(key.rfind("on", 0) != 0);
      if (key != "xmlns" && key != "src") CHECK(value.find("//") == std::string::npos);
      if (key == "href") CHECK(value[0] == '#');
    }
}

TEST_CASE("report: right and wrong are told by a sign and a word, not by colour alone") {
  const std::string page = html(full());
  const auto document = markup::parse(page);
  std::size_t right = 0, wrong = 0;
  for (const auto& b : document.all("b")) right += b.text == "\xE2\x9C\x93", wrong += b.text == "\xE2\x9C\x97";
  CHECK(right == 1);
  CHECK(wrong == 1);
  CHECK(page.find("neighbour 2: other, wrong") != std::string::npos);
  CHECK(page.find("here 1 of 2 are right") != std::string::npos);
}

TEST_CASE("report: what is empty has no section; one point and NaN are no accident") {
  RunReport report;
  report.title = "t";
  auto document = markup::parse(html(report));
  CHECK(document.error == "");
  CHECK(headings(document).empty());
  report.curve = {{.update = 3, .loss = 0.5}};
  document = markup::parse(html(report));
  CHECK(document.error == "");
  CHECK(document.all("svg").size() == 1);  // only the loss was measured
  report.curve.clear();
  for (int i = 0; i < 100; ++i) report.curve.push_back({.update = i});
  document = markup::parse(html(report));
  CHECK(document.error == "");
  CHECK(document.all("svg").empty());
  for (CurvePoint& p : report.curve) p.loss = std::numeric_limits<double>::infinity(), p.target_var = 1;
  CHECK(markup::parse(html(report)).all("svg").size() == 1);
}

TEST_CASE("report: a running median follows the level and not a peak") {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 1000; ++i) points.emplace_back(i, i == 500 ? 1e6 : i % 100 == 0 ? not_measured : 2);
  const auto smooth = detail::smoothed(points);
  CHECK(smooth.size() == 500);  // every second
  for (const auto& [x, y] : smooth) CHECK(y == 2);
  CHECK(detail::smoothed({}).empty());
}

TEST_CASE("report: lists that do not fit are errors") {
  RunReport names = full(), scores = full();
  names.class_names = {"one"};
  CHECK_THROWS_WITH_AS(html(names), "report: expected 2 class names, found 1", MismatchError);
  scores.few_labels.rows[0].scores.pop_back();
  CHECK_THROWS_AS(html(scores), MismatchError);
}

TEST_CASE("report: both files are written, and read back the same") {
  const image_files::Folder folder("report");
  const std::string dir = folder.text() + "/new/deep";
  write_report(dir, full());
  CHECK(text_of_file(dir + "/report.html") == html(full()));
  const Json written = parse_json(text_of_file(dir + "/report.json"), "report.json");
  CHECK(written == parse_json(json(full()).dump(), "json"));  // NaN is null in both
  RunReport wrong = full();
  wrong.model = {{"a", 1}, {"a", 2}};
  CHECK_THROWS_AS(write_report(dir, wrong), OptionError);
  CHECK(text_of_file(dir + "/report.html") == html(full()));  // as it was
  RunReport bytes;
  bytes.title = "not UTF-8: \xff";
  write_report(dir, bytes);
  CHECK(parse_json(text_of_file(dir + "/report.json"), "report.json")["title"] == "not UTF-8: \xEF\xBF\xBD");
  CHECK_THROWS_AS(write_report(dir + "/report.html", full()), FileError);  // a file where the folder should be
  CHECK(std::distance(std::filesystem::directory_iterator(dir), std::filesystem::directory_iterator()) == 2);
}
