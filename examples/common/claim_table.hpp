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

/// What an encoder is judged by: its name in a run's file, and in the table.
struct ClaimMeasure {
  const char *key, *title;
};
inline constexpr ClaimMeasure claim_measures[] = {
    {"probe", "Linear probe"}, {"knn", "Nearest neighbours"}, {"finetune", "Fine-tuning with few labels"},
    {"letters", "Fine-tuning to letters: those that are right"}};

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

/// The complete runs in a folder, in the order of their names. Throws MissingData where there are none, and FileError
/// for one that was run with other options than the first: seed, learning rate and batch aside.
inline std::vector<d2v::Json> claim_runs(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(folder))
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<d2v::Json> runs;
  d2v::Json first;
  for (const auto& file : files) {
    d2v::Json run = read_json(file.string());
    if (!run.contains("system") || !run.contains("rows") || run["rows"].empty()) continue;
    d2v::Json options = run["options"];
    for (const char* own : {"seed", "lr", "batch"}) options.erase(own);
    if (runs.empty()) first = options;
    if (options != first)
      throw d2v::FileError(file.string(), "expected a run with " + first.dump() + " as in the ones before, found " +
                                              options.dump());
    runs.push_back(std::move(run));
  }
  if (runs.empty()) throw MissingData(folder + ": expected runs (*.json), found none");
  return runs;
}

/// The curves of runs by system; none where they were not judged by this.
inline std::vector<ClaimCurve> claim_curves(const std::vector<d2v::Json>& runs, const char* measure) {
  std::map<std::string, ClaimCurve> curves;
  for (const d2v::Json& run : runs) {
    const d2v::Json& rows = run["rows"];
    if (!rows[0].contains(measure)) continue;
    ClaimCurve& curve = curves[run["system"]];
    curve.system = run["system"], curve.title = run["title"];
    curve.points.resize(rows.size());
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
  const std::string what = formatted("%s ends at %.2f %% (%.2f to %.2f, %zu seed%s): ", theirs.title.c_str(),
                                     100 * end.mean(), 100 * end.least(), 100 * end.most(), end.accuracy.size(),
                                     end.accuracy.size() == 1 ? "" : "s");
  if (std::min(own.accuracy.size(), end.accuracy.size()) < 2)
    return what + formatted("%s ends at %.2f %%; of one seed no spread is known, no ratio.", ours.title.c_str(),
                            100 * own.mean());
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

/// The curves as a file with a figure: means, with the least and the most of the seeds as thin lines.
inline std::string claim_figure(const std::vector<ClaimCurve>& curves, const ClaimMeasure& measure) {
  d2v::LineChart chart{.title = measure.title, .x_label = "processor seconds of pre-training",
                       .y_label = "accuracy, %"};
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const int style = static_cast<int>(i);
    d2v::Series mean{.name = curves[i].title, .style = style}, least{.faint = true, .style = style}, most = least;
    for (const ClaimPoint& p : curves[i].points) {
      mean.points.emplace_back(p.seconds, 100 * p.mean());
      least.points.emplace_back(p.seconds, 100 * p.least());
      most.points.emplace_back(p.seconds, 100 * p.most());
    }
    for (d2v::Series* line : {&mean, &least, &most}) chart.series.push_back(std::move(*line));
  }
  const d2v::SvgBody drawing = d2v::svg_body(d2v::svg(chart));
  return d2v::svg_file(drawing.width, drawing.height, measure.title, drawing.elements);
}

/// Writes table.md and a figure of each measure for the runs in a folder, and prints the table.
inline void write_claim(const std::string& folder) {
  const std::vector<d2v::Json> runs = claim_runs(folder);
  std::string text;
  for (const ClaimMeasure& measure : claim_measures) {
    const auto curves = claim_curves(runs, measure.key);
    if (curves.empty()) continue;
    text += formatted("%s: %% of what is judged, mean of the seeds (least to most)\n\n", measure.title);
    text += "| system | processor seconds | accuracy |\n| --- | --- | --- |\n";
    const ClaimCurve* ours = nullptr;
    for (const ClaimCurve& curve : curves) {
      if (curve.system == "data2vec2") ours = &curve;
      for (const ClaimPoint& p : curve.points)
        text += formatted("| %s | %.1f | %.2f (%.2f to %.2f) |\n", curve.title.c_str(), p.seconds, 100 * p.mean(),
                          100 * p.least(), 100 * p.most());
    }
    text += "\n";
    if (ours && curves.size() > 1) {
      for (const ClaimCurve& curve : curves)
        if (&curve != ours) text += "- " + claim_sentence(*ours, curve) + "\n";
      text += "\n";
    }
    std::ofstream(folder + "/accuracy_" + measure.key + ".svg") << claim_figure(curves, measure);
  }
  text.pop_back();
  std::ofstream(folder + "/table.md") << text;
  std::printf("%s\ntable.md and accuracy_*.svg: %s\n", text.c_str(), folder.c_str());
}

}  // namespace demo
