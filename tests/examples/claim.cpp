// SPDX-License-Identifier: MIT
// The comparison of systems: what is said of curves, and a run of it that is stopped, gone on with, and put in a table.
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include <data2vec/io/json.hpp>

#include "examples/common/claim_table.hpp"
#include "tests/examples/small_images.hpp"
#include "tests/examples/small_recordings.hpp"
#include "tests/examples/small_texts.hpp"

using namespace data2vec;
using namespace processes;

namespace {

/// Two seeds at 10, 20, ... seconds, 2 `spread` apart.
demo::ClaimCurve curve(const char* title, const std::vector<double>& means, double spread) {
  demo::ClaimCurve made{title, title, {}};
  double seconds = 0;
  for (const double mean : means) made.points.push_back({seconds += 10, {mean - spread, mean + spread}});
  return made;
}

/// A run of the comparison without what depends on the machine.
Json without_times(const std::string& path) {
  Json run = parse_json(text_of(path), path);
  for (const char* name : {"seconds", "wall_seconds", "judging_seconds", "machine"}) {
    CHECK(run.contains(name));
    run.erase(name);
  }
  for (Json& row : run["rows"])
    for (const char* name : {"seconds", "wall_seconds"}) {
      CHECK(row[name].get<double>() > 0);
      row.erase(name);
    }
  return run;
}

/// The same run twice, once stopped on its way: the same results, in folders of nothing but these. `tuned` is what they
/// call the fine-tuning.
void stop_and_go_on(const Folder& folder, const std::string& program, const std::string& data,
                    const std::string& tuned = "finetune") {
  const auto claim = [&](const std::string& out, Strings options, const std::string& until = "") {
    Strings command{program, "--data", data, "--out", folder / out, "--updates", "40", "--times", "2",
                    "--labels", "60", "--tuning-labels", "20", "--tuning-updates", "3"};
    command.insert(command.end(), options.begin(), options.end());
    return run(folder, command, until);
  };
  const Ended whole = claim("whole", {});
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  CHECK(contains(whole.out, "update      20"));
  CHECK(contains(whole.out, tuned));
  const Ended stopped = claim("cut", {}, "update      20");
  CHECK(stopped.status == 143);
  CHECK(contains(stopped.out, "the same command goes on"));
  CHECK_FALSE(fs::exists(folder / "cut/data2vec2-1.json"));
  const Ended other = claim("cut", {"--lr", "0.5"});
  CHECK(other.status == 2);
  CHECK(contains(other.err, "choose another --out"));
  const Ended resumed = claim("cut", {});
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK_FALSE(contains(resumed.out, "update      20"));
  const Json a = without_times(folder / "whole/data2vec2-1.json");
  CHECK(a == without_times(folder / "cut/data2vec2-1.json"));
  CHECK(a["rows"].size() == 2);
  for (const std::string& name : {std::string("probe"), std::string("knn"), tuned}) CHECK(a["rows"][1].contains(name));
  CHECK(std::distance(fs::directory_iterator(folder / "cut"), {}) == 1);
  CHECK(contains(claim("cut", {}).out, "data2vec2-1.json: done"));
}

}  // namespace

TEST_CASE("claim: the time to another's accuracy, and when there is none") {
  const auto theirs = curve("theirs", {0.5, 0.6}, 0.01);
  const auto sentence = [&](const std::vector<double>& means) {
    return demo::claim_sentence(curve("ours", means, 0.01), theirs);
  };
  CHECK(*demo::time_to(theirs, 0.55) == doctest::Approx(15));
  CHECK_FALSE(demo::time_to(theirs, 0.65).has_value());
  CHECK(contains(sentence({0.5, 0.7}), "ours is there after 15.0 s of 20.0 s, 0.75 of the time"));
  CHECK(contains(sentence({0.65, 0.7}), "ours is there after at most 10.0 s of 20.0 s, 0.50 of the time"));
  CHECK(contains(sentence({0.4, 0.55}), "ours does not reach it, but ends at 55.00 % (54.00 to 56.00)"));
  CHECK(contains(sentence({0.55, 0.615}), "the spreads overlap, no ratio"));
  demo::ClaimCurve one = curve("ours", {0.5, 0.7}, 0.01);
  for (demo::ClaimPoint& point : one.points) point.accuracy.resize(1);
  CHECK(contains(demo::claim_sentence(one, theirs), "of one seed no spread is known, no ratio"));
  CHECK(contains(sentence({0.65, 0.55}), "there on the way, but ends at 55.00 % (54.00 to 56.00): no ratio"));
}

TEST_CASE("claim: the table and the figures of runs in a folder; runs that cannot be compared are named") {
  const SmallImages folder("claim_table");
  const auto keep = [&](const std::string& system, int seed, double accuracy, double minutes = 3) {
    const Json row = {{"seconds", 10.0}, {"probe", accuracy}, {"knn", accuracy / 2}};
    write(folder / ("runs/" + system + "-" + std::to_string(seed) + ".json"),
          Json{{"system", system},
               {"title", system},
               {"options", {{"minutes", minutes}, {"seed", seed}, {"lr", accuracy}}},
               {"rows", {row}}}.dump());
  };
  const Strings table{"vision/claim", "--table", "--out", folder / "runs"};
  const Ended none = run(folder, table);
  CHECK(none.status == 3);
  CHECK(contains(none.err, "expected runs (*.json), found none"));
  keep("data2vec2", 1, 0.8), keep("data2vec2", 2, 0.9), keep("mae", 1, 0.6), keep("mae", 2, 0.7);
  const Ended made = run(folder, table);
  REQUIRE(made.status == 0);
  CHECK(contains(made.out, "| data2vec2 | 10.0 | 85.00 (80.00 to 90.00) |"));
  CHECK(contains(made.out, "- mae ends at 65.00 % (60.00 to 70.00, 2 seeds): data2vec2 is there after at most 10.0 s"));
  CHECK(contains(made.out, text_of(folder / "runs/table.md")));
  CHECK(contains(text_of(folder / "runs/accuracy_probe.svg"), "<style>"));  // it is looked at by itself
  CHECK(fs::exists(folder / "runs/accuracy_knn.svg"));
  CHECK_FALSE(fs::exists(folder / "runs/accuracy_finetune.svg"));
  keep("mae", 3, 0.7, 15);
  const Ended refused = run(folder, table);
  CHECK(refused.status == 1);
  CHECK(contains(refused.err, "mae-3.json"));
  CHECK(contains(refused.err, "\"minutes\":15"));
}

TEST_CASE("claim: a run on images, stopped and gone on with") {
  const SmallImages folder("claim");
  stop_and_go_on(folder, "vision/claim", folder / "data");
}

TEST_CASE("claim: a run on text, stopped and gone on with") {
  const SmallTexts folder("claim_text");
  stop_and_go_on(folder, "text/claim", folder / "labelled");
}

TEST_CASE("claim: a run on recordings, stopped and gone on with") {
  const SmallRecordings folder("claim_speech");
  stop_and_go_on(folder, "speech/claim", folder / "data", "letters");
}

TEST_CASE("claim: the learning rate is chosen by training samples that are held out, once for all seeds") {
  const SmallImages folder("claim_search");
  const auto claim = [&](const char* seed) {
    return run(folder, {"vision/claim", "--data", folder / "data", "--out", folder / "runs", "--updates", "10",
                        "--times", "1", "--tuning-updates", "0", "--search", "--lr", "0.002", "--seed", seed});
  };
  const Ended first = claim("1");
  INFO(first.err);
  REQUIRE(first.status == 0);
  const Json kept = parse_json(text_of(folder / "runs/data2vec2-1.json"), "run");
  const Json tried = kept["search"];
  REQUIRE(tried.size() == 3);
  Json best = tried[0];
  for (const Json& one : tried) {
    const std::string rate = demo::formatted("%g", one["lr"].get<double>());
    const Json own = parse_json(text_of(folder / ("runs/lr-" + rate + "/data2vec2-1.json")), "tried");
    CHECK(own["options"]["validation"] == true);
    CHECK(own["updates"] == 2);
    CHECK(own["rows"][0]["probe"] == one["probe"]);
    if (one["probe"] > best["probe"]) best = one;
  }
  CHECK(kept["options"]["lr"] == best["lr"]);
  const Ended second = claim("2");
  REQUIRE(second.status == 0);
  CHECK(contains(second.out, "lr-0.001/data2vec2-1.json: done"));
  CHECK(parse_json(text_of(folder / "runs/data2vec2-2.json"), "run")["search"] == tried);
}
