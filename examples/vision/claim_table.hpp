// SPDX-License-Identifier: MIT
// What the runs of the comparison of systems came to: accuracy over time with its spread, and how much sooner one
// system reaches what another ends with. Where that is not reached or spreads overlap, no ratio is given.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <data2vec/evaluation/line_chart.hpp>
#include <data2vec/io/json.hpp>

#include "examples/common/files.hpp"
#include "examples/common/program.hpp"

namespace demo {

/// Accuracies of several seeds at one time.
struct ClaimPoint {
  double seconds = 0;  ///< the mean
  std::vector<double> accuracy;
  double mean() const {
    double sum = 0;
    for (const double a : accuracy) sum += a;
    return sum / static_cast<double>(accuracy.size());
  }
  double least() const { return *std::min_element(accuracy.begin(), accuracy.end()); }
  double most() const { return *std::max_element(accuracy.begin(), accuracy.end()); }
};

struct ClaimCurve {
  std::string system, title;
  std::vector<ClaimPoint> points;
};

/// The curves of the runs in a folder, by system; runs of other lengths than the first are refused.
inline std::vector<ClaimCurve> claim_curves(const std::string& folder, const char* measure) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::map<std::string, ClaimCurve> curves;
  for (const auto& file : files) {
    const d2v::Json run = read_json(file.string());
    if (!run.contains("system") || !run.contains("rows")) continue;
    ClaimCurve& curve = curves[run["system"]];
    curve.system = run["system"], curve.title = run["title"];
    const d2v::Json& rows = run["rows"];
    if (curve.points.empty()) curve.points.resize(rows.size());
    if (curve.points.size() != rows.size())
      throw d2v::FileError(file.string(), "expected " + std::to_string(curve.points.size()) +
                                              " times as in the runs before, found " + std::to_string(rows.size()));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      ClaimPoint& point = curve.points[i];
      const auto n = static_cast<double>(point.accuracy.size());
      point.seconds = (n * point.seconds + rows[i]["seconds"].get<double>()) / (n + 1);
      point.accuracy.push_back(rows[i][measure]);
    }
  }
  std::vector<ClaimCurve> all;
  for (auto& [name, curve] : curves) all.push_back(std::move(curve));
  return all;
}

/// When the mean of `curve` reaches `accuracy`, between points by a straight line; nothing if it does not.
inline std::optional<double> time_to(const ClaimCurve& curve, double accuracy) {
  for (std::size_t i = 0; i < curve.points.size(); ++i) {
    const double here = curve.points[i].mean();
    if (here < accuracy) continue;
    if (i == 0) return curve.points[0].seconds;
    const ClaimPoint& before = curve.points[i - 1];
    const double part = (accuracy - before.mean()) / (here - before.mean());
    return before.seconds + part * (curve.points[i].seconds - before.seconds);
  }
  return {};
}

/// The sentence that compares `ours` with the end of `theirs`.
inline std::string claim_sentence(const ClaimCurve& ours, const ClaimCurve& theirs) {
  const ClaimPoint &end = theirs.points.back(), &own = ours.points.back();
  const std::string what = formatted("%s ends at %.2f %% (%.2f to %.2f, %zu seeds): ", theirs.title.c_str(),
                                     100 * end.mean(), 100 * end.least(), 100 * end.most(), end.accuracy.size());
  const auto reached = time_to(ours, end.mean());
  if (!reached)
    return what + formatted("%s does not reach it, but ends at %.2f %% (%.2f to %.2f).", ours.title.c_str(),
                            100 * own.mean(), 100 * own.least(), 100 * own.most());
  if (own.mean() < end.mean())
    return what + formatted("%s is there on the way, but ends at %.2f %% (%.2f to %.2f): no ratio.", ours.title.c_str(),
                            100 * own.mean(), 100 * own.least(), 100 * own.most());
  if (own.least() <= end.most())
    return what + formatted("%s ends at %.2f %% (%.2f to %.2f): the spreads overlap, no ratio.", ours.title.c_str(),
                            100 * own.mean(), 100 * own.least(), 100 * own.most());
  return what + formatted("%s is there after %s%.1f s of %.1f s, %.2f of the time.", ours.title.c_str(),
                          *reached <= ours.points.front().seconds ? "at most " : "", *reached, end.seconds,
                          *reached / end.seconds);
}

/// Writes table.md and accuracy.svg of the runs in a folder, and prints the table.
inline void write_claim(const std::string& folder) {
  std::string text;
  for (const char* measure : {"probe", "knn"}) {
    const auto curves = claim_curves(folder, measure);
    if (curves.empty()) throw MissingData(folder + ": expected runs (*.json), found none");
    text += formatted("%s, %% of the judged images (least to most of the seeds)\n\n",
                      measure == std::string("probe") ? "Linear probe" : "Nearest neighbours");
    text += "| system | seconds | accuracy |\n| --- | --- | --- |\n";
    d2v::LineChart chart{.title = measure, .x_label = "seconds of pre-training", .y_label = "accuracy, %"};
    const ClaimCurve* ours = nullptr;
    for (const ClaimCurve& curve : curves) {
      if (curve.system == "data2vec2") ours = &curve;
      d2v::Series line{.name = curve.title};
      for (const ClaimPoint& p : curve.points) {
        text += formatted("| %s | %.1f | %.2f (%.2f to %.2f) |\n", curve.title.c_str(), p.seconds, 100 * p.mean(),
                          100 * p.least(), 100 * p.most());
        line.points.emplace_back(p.seconds, 100 * p.mean());
      }
      chart.series.push_back(line);
    }
    text += "\n";
    if (ours)
      for (const ClaimCurve& curve : curves)
        if (&curve != ours) text += claim_sentence(*ours, curve) + "\n";
    text += "\n";
    std::ofstream(folder + "/accuracy_" + measure + ".svg") << d2v::svg(chart);
  }
  std::ofstream(folder + "/table.md") << text;
  std::printf("%stable.md, accuracy_probe.svg and accuracy_knn.svg: %s\n", text.c_str(), folder.c_str());
}

}  // namespace demo
