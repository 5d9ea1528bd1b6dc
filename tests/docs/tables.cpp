// SPDX-License-Identifier: MIT
// What README.md, docs/performance.md and the pages of bench/results say of speed and cost is what the JSON files of
// bench/results give: `./run bench table` writes it.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/io/json.hpp>

#include "bench/table.hpp"
#include "tests/evaluation/markup.hpp"

using namespace bench::tables;

namespace {

Json process(double min, double wait, double load) {
  return {{"min", min}, {"median", 2 * min}, {"queue_wait_median", wait}, {"load", load}};
}
Json implementation(double best, double wait, double load) {
  return {{"best", best}, {"peak_rss_bytes", 1 << 21}, {"processes", Json::array({process(best, wait, load)})}};
}
/// A result of one row: their best seconds, ours being 1.
Json result(const std::string& date, const std::string& name, double theirs, double load, double wait = 0) {
  const Json machine{
      {"name", "m"}, {"cpu", "C"},      {"family", "1"},     {"model", "2"},
      {"cores", 4},  {"kernel", "6.1"}, {"memory_gib", 7.5},
  };
  const Json implementations{{"data2vec", implementation(1, wait, load)}, {"eager", implementation(theirs, 0, load)}};
  const Json one{{"row", name},  {"threads", 1},    {"batch", 64},         {"masks", 8},
                 {"torch", "2"}, {"ratio", theirs}, {"opponent", "eager"}, {"implementations", implementations}};
  return {{"date", date}, {"machine", machine}, {"commit", "c0"}, {"command", "run " + date}, {"rows", {one}}};
}
bool holds(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("tables of results are in the files, as ./run bench table writes them") {
  const fs::path root = D2V_SOURCE_DIR;
  const auto files = generated_files(root);
  CHECK(files.count("README.md") == 1);
  CHECK(files.count("docs/performance.md") == 1);
  for (const auto& file : files)
    CHECK_MESSAGE(text_of(root / file.first) == file.second,
                  file.first << " is not what bench/results gives: ./run bench table");
}

TEST_CASE("tables of results: the newest of a row stands there, of one day that of the least load") {
  const Json old = result("2026-01-01", "vision/tiny28", 5, 0), busy = result("2026-02-02", "vision/tiny28", 3, 6),
             quiet = result("2026-02-02", "vision/tiny28", 2, 1), other = result("2025-01-01", "features/tiny28", 4, 1);
  for (const auto& all : {std::vector{old, busy, quiet, other}, std::vector{other, quiet, busy, old}}) {
    const std::string table = peer_table(all);
    CHECK(holds(table, "| vision/tiny28 (64, 8) | 1 | 1 s | - | 2 s, eager | **2.00** | 2 / 2 MiB | c0 |"));
    CHECK(holds(table, "**4.00**"));
    CHECK(!holds(table, "**5.00**"));
    CHECK(!holds(table, "**3.00**"));
    CHECK(table.find("vision/tiny28") < table.find("features/tiny28"));
    CHECK(holds(table, "- C (family 1, model 2), 4 cores, 7.5 GiB, Linux 6.1, 2026-02-02, torch 2: `run 2026-02-02`"));
    CHECK(!holds(table, "2026-01-01"));
    CHECK(!holds(table, "†"));
  }
  // Waiting for a core over a twentieth of the time is said: 0.05 x 1 thread x a median of 2 s.
  CHECK(holds(peer_table({result("2026-01-01", "vision/tiny28", 2, 1, 0.11)}), "**2.00** †"));
  CHECK(!holds(peer_table({result("2026-01-01", "vision/tiny28", 2, 1, 0.09)}), "†"));
}

TEST_CASE("tables of results: a block is replaced between its lines, and one that is missing is an error") {
  const std::string page = "a\n<!-- begin x: note -->\nold\n<!-- end x -->\nb\n";
  const std::string made = with_block(page, "x", "new\n", "page");
  CHECK(made == "a\n<!-- begin x: note -->\n\nnew\n\n<!-- end x -->\nb\n");
  CHECK(with_block(made, "x", "new\n", "page") == made);
  CHECK_THROWS_AS(with_block(page, "y", "", "page"), const data2vec::FileError&);
  CHECK_THROWS_AS(with_block("<!-- end x -->\n<!-- begin x: -->\n", "x", "", "page"), const data2vec::FileError&);
}

TEST_CASE("scaling: the model of a step is fitted at 8 masks and shares units over threads") {
  const auto point = [](double masks, double threads, double flops, double seconds) {
    return Json{{"x", masks},
                {"masks", masks},
                {"units", 5},
                {"threads", threads},
                {"bytes", 2e9},
                {"flops", {{"total", flops}}},
                {"seconds", {{"min", seconds}}}};
  };
  const Json scaling{{"bandwidth_bytes_per_s", 1e9},
                     {"axes", {{{"name", "masks"}, {"points", {point(1, 1, 2e9, 3), point(8, 1, 8e9, 6)}}}}}};
  const CostModel model = cost_model(scaling);
  CHECK(model.rate == doctest::Approx(2e9));  // 8e9 operations in the 4 s that 2e9 bytes leave of 6
  CHECK(model.seconds(point(8, 1, 8e9, 0)) == doctest::Approx(6));
  CHECK(model.seconds(point(1, 1, 2e9, 0)) == doctest::Approx(3));
  CHECK(model.seconds(point(8, 2, 8e9, 0)) == doctest::Approx(3.6));  // 5 units on 2 threads: 3 of 5
  CHECK_THROWS_AS(axis_of(scaling, "width"), const data2vec::FileError&);
}

TEST_CASE("scaling: page, summary and drawing say what the results do") {
  // Seconds are 1 + the number of masks: the teacher costs as much as one mask does.
  const auto point = [](double x, double masks, double threads) {
    const Json flops{
        {"local", 0.0}, {"teacher", 1e9}, {"student", masks * 1e9}, {"decoder", 0.0}, {"total", (1 + masks) * 1e9}};
    const double seconds = (1 + masks) / threads;
    return Json{{"x", x},
                {"masks", masks},
                {"tokens", 49},
                {"visible", 9},
                {"batch", 16},
                {"units", 4},
                {"threads", threads},
                {"bytes", 0.0},
                {"flops", flops},
                {"seconds", {{"min", seconds}, {"median", 2 * seconds}}}};
  };
  Json scaling = result("2026-01-01", "", 1, 0);
  for (const char* key : {"compiler", "flags", "isa"}) scaling[key] = key;
  scaling["load"] = {0.5, 1.5};
  scaling["bandwidth_bytes_per_s"] = 1e9;
  scaling["fma_peak_flops_per_s"] = 2e9;
  for (const char* name : {"masks", "tokens", "width", "visible", "batch", "threads"}) {
    Json points = Json::array();
    for (const double x : {1, 8, 16}) {
      const std::string axis = name;
      points.push_back(point(x, axis == "masks" ? x : 8, axis == "threads" ? 4 : 1));
      if (axis == "visible") points.back()["visible"] = x;
    }
    scaling["axes"].push_back({{"name", name}, {"title", "T"}, {"x_label", name}, {"points", points}});
  }
  const std::string summary = scaling_summary(scaling), page = scaling_page(scaling);
  CHECK(holds(summary, "| masks per sample | 1 | 16 | x 8.50 | x 8.50 | x 0.53 per mask |"));  // 17 / 2, a sixteenth
  CHECK(holds(summary, "load 0.5 before, 1.5 behind"));
  CHECK(holds(page, "with 16 of them a mask costs 0.53 of what a single one does (by the model 0.53)"));
  CHECK(holds(page, "operations / 1.0 GFLOP/s"));
  CHECK(holds(page, "| 16 | 9 / 49 | 16 | 17.00 | 94 % | 6 % | 0 % | 0 | 17000.00 | 34000.00 | 17000.00 | 1.00 |"));
  const std::string drawing = scaling_drawing(scaling);
  const markup::Document document = markup::parse(drawing);
  CHECK(document.error.empty());
  CHECK(document.all("g").size() == 6);
}
