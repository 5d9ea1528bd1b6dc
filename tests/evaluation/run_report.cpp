// SPDX-License-Identifier: MIT
// What a report says as data: its keys, what was not measured, masks on images, scores over seeds.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <data2vec/evaluation/run_report.hpp>

using namespace data2vec;

namespace {

std::vector<std::string> keys(const Json& json) {
  std::vector<std::string> out;
  for (const auto& [key, value] : json.items()) out.push_back(key);
  return out;
}

RunReport sample() {
  RunReport r;
  r.title = "t", r.command = "c", r.machine = "m", r.cpu = "p", r.threads = "2", r.isa = "i";
  r.commit = "h", r.date = "d";
  r.dataset = {{"images", 60000}};
  r.model = {{"width", 128}};
  r.training = {{"minutes", 3.5}, {"resumed", false}};
  r.curve = {{.update = 7, .loss = 0.5}};
  r.accuracy = {{"pixels", 0.8, not_measured, "n"}};
  r.few_labels = {"labels per class", {"a"}, {{10, {{0.5, 0.1}}}}};
  r.sections = {{"own", "p", {"h"}, {{"1"}}, "text", {{"wave", {1, 1, 1, {9}}}}}};
  r.masks = {{"shoe", {1, 1, 1, {9}}, {{1, 1, 1, {9}}, {1, 1, 1, {9}}}}};
  r.neighbours = {{{1, 1, 1, {9}}, "x", {{{1, 1, 1, {9}}, "x", 0.9}, {{1, 1, 1, {9}}, "y", not_measured}}},
                  {{1, 1, 1, {9}}, "", {{{1, 1, 1, {9}}, "", 0.9}}}};
  r.confusion = Confusion(std::vector<int>{0, 1, 1}, std::vector<int>{0, 1, 0}, 2);
  r.configuration = {{"depth", 4}}, r.seconds = {{"pre-training", 1.5}};
  r.notes = {"n"}, r.alarms = {"a"};
  return r;
}

/// All keys of objects whose keys are fixed: those of facts are the run's own.
void collect(const Json& json, std::set<std::string>& found) {
  if (json.is_object())
    for (const auto& [key, value] : json.items()) {
      found.insert(key);
      const auto facts = {"dataset", "model", "training", "configuration", "seconds"};  // their keys are the program's
      if (std::find(facts.begin(), facts.end(), key) == facts.end()) collect(value, found);
    }
  if (json.is_array())
    for (const Json& value : json) collect(value, found);
}

}  // namespace

TEST_CASE("report.json: every key is there, of an empty report too") {
  const std::vector<std::string> top{"format", "version", "title", "command", "machine", "commit", "date", "dataset",
                                     "model", "training", "curve", "accuracy_of", "accuracy", "few_labels",
                                     "sections", "masks", "neighbours", "confusion", "configuration", "seconds", "notes", "alarms"};
  CHECK(keys(json(RunReport{})) == top);
  const Json full = json(sample());
  CHECK(keys(full) == top);
  CHECK(keys(full["machine"]) == std::vector<std::string>{"name", "cpu", "threads", "isa"});
  CHECK(json(RunReport{})["confusion"].is_null());
  CHECK(json(RunReport{})["dataset"].is_object());
  CHECK(json(RunReport{})["curve"].is_array());
}

TEST_CASE("report.json: values") {
  const Json j = json(sample());
  CHECK(j["dataset"] == Json{{"images", 60000}});
  CHECK(j["training"]["resumed"] == false);
  // What was not measured is null: JSON has no NaN.
  CHECK(j["curve"].dump() == R"([{"update":7,"seconds":null,"loss":0.5,"target_var":null,"pred_var":null,)"
                             R"("gradient_norm":null,"learning_rate":null}])");
  CHECK(j["accuracy"][0]["value"] == 0.8);
  CHECK(j["few_labels"]["rows"][0]["scores"][0]["spread"] == 0.1);
  CHECK(j["masks"] == Json::array({{{"caption", "shoe"}, {"count", 2}}}));
  CHECK(j["neighbours"][0]["nearest"][0]["right"] == true);
  CHECK(j["neighbours"][0]["nearest"][1]["right"] == false);
  CHECK(j["neighbours"][1]["nearest"][0]["right"].is_null());
  CHECK(j["confusion"]["classes"] == Json::array({"0", "1"}));
  CHECK(j["confusion"]["counts"] == Json::array({Json::array({1, 0}), Json::array({1, 1})}));
  CHECK(j["confusion"]["accuracy"] == 2.0 / 3);
}

TEST_CASE("report.json: docs/report.md names every key") {
  std::ifstream in(std::filesystem::path(D2V_SOURCE_DIR) / "docs" / "report.md");
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  std::set<std::string> found;
  collect(json(sample()), found);
  CHECK(found.size() > 40);
  for (const std::string& key : found)
    CHECK_MESSAGE(page.find("`" + key + "`") != std::string::npos, "docs/report.md does not name " << key);
}

TEST_CASE("report.json: a fact that occurs twice is an error, not a loss") {
  RunReport report;
  report.model = {{"width", 1}, {"width", 2}};
  CHECK_THROWS_WITH_AS(json(report), "report, model: expected names once, found \"width\" twice", OptionError);
}

TEST_CASE("visible patches: the hidden ones are covered, the others as they were") {
  Image image{8, 12, 3, std::vector<std::uint8_t>(8 * 12 * 3, 7)};
  const bool hidden[] = {false, true, false, false, false, true};  // grid 2 x 3, patches of 4 x 4
  const Image seen = visible_patches(image, {2, 3}, hidden);
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 12; ++x)
      for (int c = 0; c < 3; ++c) {
        const std::uint8_t value = seen.pixels[static_cast<std::size_t>((y * 12 + x) * 3 + c)];
        if (hidden[y / 4 * 3 + x / 4]) CHECK((value == 120 || value == 150));
        else CHECK(value == 7);
      }
  CHECK(seen.pixels[4 * 3] != seen.pixels[5 * 3]);  // checked: no plain grey of an image looks like it
  CHECK_THROWS_AS(visible_patches(image, {3, 2}, hidden), MismatchError);
  CHECK_THROWS_AS(visible_patches(image, {2, 3}, std::span<const bool>(hidden, 5)), MismatchError);
  CHECK_THROWS_AS(visible_patches(image, {-2, -3}, hidden), MismatchError);
}

TEST_CASE("scores over seeds: mean and standard deviation") {
  const std::vector<double> three{0.5, 0.7, 0.9};
  CHECK(score_of(three).value == doctest::Approx(0.7));
  CHECK(score_of(three).spread == doctest::Approx(0.2));  // sqrt((0.04 + 0.04) / 2)
  CHECK(score_of(std::vector<double>{0.5}).value == 0.5);
  CHECK(std::isnan(score_of(std::vector<double>{0.5}).spread));
  CHECK(std::isnan(score_of(std::vector<double>{}).value));
}
