// SPDX-License-Identifier: MIT
// The report of a training run as one HTML file that needs nothing else, and beside it the same as JSON. Part of
// data2vec::images.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/encode.hpp>
#include <data2vec/evaluation/axis.hpp>
#include <data2vec/evaluation/bar_chart.hpp>
#include <data2vec/evaluation/heat_map.hpp>
#include <data2vec/evaluation/html.hpp>
#include <data2vec/evaluation/line_chart.hpp>
#include <data2vec/evaluation/run_report.hpp>
#include <data2vec/io/file.hpp>
#include <data2vec/io/json.hpp>

namespace data2vec::inline v0 {

namespace detail {

inline std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_integer()) return grouped_number(value.get<std::int64_t>());
  if (value.is_number()) return short_number(value.get<double>(), 6);
  return value.is_null() ? "n/a" : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

inline std::string percent(double value, double spread = not_measured) {
  if (!std::isfinite(value)) return "n/a";
  const std::string text = fixed_number(100 * value, 2);
  return std::isfinite(spread) && spread > 0 ? text + " \xC2\xB1 " + fixed_number(100 * spread, 2) : text;
}

/// Small images are enlarged by a whole number to some `side` pixels, large ones are shown at that width.
inline std::string picture(const Image& image, int side, const std::string& alt) {
  const int longer = std::max({image.height, image.width, 1}), times = std::max(1, side / longer);
  int height = image.height * times, width = image.width * times;
  if (longer > side) height = std::max(1, height * side / longer), width = std::max(1, width * side / longer);
  return html_image(png_bytes(image), "image/png", height, width, alt);
}

inline std::string captioned(const std::string& markup, const char* style, const std::string& caption_markup) {
  return "<figure class=\"" + std::string(style) + "\">" + markup + "<figcaption>" + caption_markup +
         "</figcaption></figure>";
}

/// One field of the curve as points over updates.
inline std::vector<std::pair<double, double>> points_of(const RunReport& report, double CurvePoint::*field) {
  std::vector<std::pair<double, double>> points;
  for (const CurvePoint& p : report.curve) points.emplace_back(static_cast<double>(p.update), p.*field);
  return points;
}

/// Running medians over a twentieth of the points, at up to some 400 of them; what is not finite does not count.
inline std::vector<std::pair<double, double>> smoothed(const std::vector<std::pair<double, double>>& points) {
  const std::size_t half = points.size() / 40, stride = std::max<std::size_t>(1, points.size() / 400);
  std::vector<std::pair<double, double>> out;
  std::vector<double> window;
  for (std::size_t i = 0; i < points.size(); i += stride) {
    window.clear();
    for (std::size_t j = i < half ? 0 : i - half; j < std::min(points.size(), i + half + 1); ++j)
      if (std::isfinite(points[j].second)) window.push_back(points[j].second);
    const auto middle = window.begin() + static_cast<std::ptrdiff_t>(window.size() / 2);
    if (!window.empty()) std::nth_element(window.begin(), middle, window.end());
    out.emplace_back(points[i].first, window.empty() ? not_measured : *middle);
  }
  return out;
}

inline void add_curves(HtmlPage& page, const RunReport& report) {
  struct Curve {
    const char *title, *label, *caption;
    bool log, noisy;
    std::vector<std::pair<const char*, double CurvePoint::*>> fields;
  };
  const Curve curves[] = {
      {"Loss", "loss, logarithmic", "The loss on its own targets: it says that training runs, not how good the "
       "features are. Targets change as the teacher improves, so it need not fall all the time.", true, true,
       {{"loss", &CurvePoint::loss}}},
      {"Variation of targets and predictions", "standard deviation over tokens",
       "Near 0 the representation has collapsed: everything looks the same to the encoder.", false, true,
       {{"targets", &CurvePoint::target_var}, {"predictions", &CurvePoint::pred_var}}},
      {"Gradient norm", "norm before clipping, logarithmic", "", true, true, {{"norm", &CurvePoint::gradient_norm}}},
      {"Learning rate", "learning rate", "", false, false, {{"learning rate", &CurvePoint::learning_rate}}}};
  if (report.curve.empty()) return;
  page.heading(2, "Learning curves");
  for (const Curve& curve : curves) {
    LineChart chart{.title = curve.title, .x_label = "update", .y_label = curve.label, .series = {},
                    .log_y = curve.log, .height = curve.title == curves[0].title ? 300.0 : 230.0};
    bool measured = false;
    int style = 0;
    for (const auto& [name, field] : curve.fields) {
      const auto points = points_of(report, field);
      measured = measured || std::any_of(points.begin(), points.end(), [](auto p) { return std::isfinite(p.second); });
      const bool median = curve.noisy && points.size() > 50;
      if (median)
        chart.series.push_back({style == 0 ? "single updates" : "", points, /*faint=*/true, style});
      chart.series.push_back({median ? std::string(name) + ", running median" : curve.fields.size() > 1 ? name : "",
                              median ? smoothed(points) : points, /*faint=*/false, style});
      ++style;
    }
    if (measured) page.figure(svg(chart), curve.caption);
  }
}

inline void add_accuracy(HtmlPage& page, const RunReport& report) {
  if (!report.accuracy.empty()) {
    page.heading(2, "How good the features are");
    BarChart chart{.title = "Accuracy", .label = report.accuracy_of + ", %", .series = {}, .groups = {},
                   .decimals = 2};
    const auto place = [](auto& list, const std::string& name, auto&& name_of) {  // where it is, or behind the last
      const auto found = std::find_if(list.begin(), list.end(), [&](const auto& x) { return name_of(x) == name; });
      return static_cast<std::size_t>(found - list.begin());
    };
    const auto series_of = [&](const AccuracyRow& row) { return place(chart.series, row.method, std::identity{}); };
    for (const AccuracyRow& row : report.accuracy)
      if (series_of(row) == chart.series.size()) chart.series.push_back(row.method);
    std::vector<std::vector<std::string>> rows;
    for (const AccuracyRow& row : report.accuracy) {
      const std::size_t group = place(chart.groups, row.name, [](const BarGroup& g) { return g.name; });
      const std::vector<double> none(chart.series.size(), not_measured);
      if (group == chart.groups.size()) chart.groups.push_back({row.name, none, none});
      chart.groups[group].values[series_of(row)] = 100 * row.value;
      chart.groups[group].spreads[series_of(row)] = 100 * row.spread;
      const bool several = std::isfinite(row.spread);
      rows.push_back({row.name, row.method, percent(row.value), several ? fixed_number(100 * row.spread, 2) : "-",
                      row.note});
    }
    page.figure(svg(chart), "");
    page.table({"encoder or baseline", "by", "accuracy, %", "spread", "note"}, rows,
               "Spread: standard deviation over seeds, where there are several.");
  }
  const FewLabels& few = report.few_labels;
  if (few.rows.empty()) return;
  page.heading(2, "With few labels");
  BarChart chart{.title = "Accuracy by " + few.what, .label = "accuracy, %", .series = few.methods, .groups = {}};
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> header{few.what};
  header.insert(header.end(), few.methods.begin(), few.methods.end());
  for (const FewLabels::Row& row : few.rows) {
    BarGroup group{grouped_number(row.labels), {}, {}};
    rows.push_back({grouped_number(row.labels)});
    for (const Score& score : row.scores) {
      group.values.push_back(100 * score.value), group.spreads.push_back(100 * score.spread);
      rows.back().push_back(percent(score.value, score.spread));
    }
    chart.groups.push_back(std::move(group));
  }
  page.figure(svg(chart), "");
  page.table(header, rows, "Accuracy in %, \xC2\xB1 standard deviation over seeds, where there are several.");
}

inline void add_sections(HtmlPage& page, const RunReport& report) {
  for (const ReportSection& section : report.sections) {
    page.heading(2, section.title);
    if (!section.paragraph.empty()) page.paragraph(section.paragraph);
    if (!section.rows.empty()) page.table(section.header, section.rows);
    if (!section.text.empty()) page.preformatted(section.text);
    std::string row;
    for (const auto& p : section.pictures)
      row += captioned(picture(p.image, 420, p.caption), "", html_escape(p.caption));
    if (!row.empty()) page.row(row);
  }
}

inline void add_galleries(HtmlPage& page, const RunReport& report) {
  if (!report.masks.empty()) {
    page.heading(2, "What the student sees");
    page.paragraph("Each image is masked several times. The student gets the visible patches only (checked grey: "
                   "hidden) and predicts what the teacher, who sees the whole image, makes of the hidden ones.");
    for (const MaskedImage& image : report.masks) {
      const std::string name = image.caption.empty() ? "image" : image.caption;
      std::string row = captioned(picture(image.original, 84, name + ", original"), "query", "original");
      for (std::size_t m = 0; m < image.visible.size(); ++m) {
        const std::string mask = "mask " + std::to_string(m + 1);
        row += captioned(picture(image.visible[m], 84, name + ", visible patches of " + mask), "", mask);
      }
      if (!image.caption.empty()) page.heading(3, image.caption);
      page.row(row);
    }
  }
  if (report.neighbours.empty()) return;
  page.heading(2, "Nearest neighbours");
  struct Count {
    std::string by;
    std::size_t right = 0, all = 0;
  };
  std::vector<Count> counts;  // of each encoder, in the order of the rows
  for (const NeighbourRow& row : report.neighbours) {
    auto count = std::find_if(counts.begin(), counts.end(), [&](const Count& c) { return c.by == row.by; });
    if (count == counts.end()) count = counts.insert(count, Count{row.by});
    for (const auto& n : row.nearest)
      if (!row.label.empty()) ++count->all, count->right += n.label == row.label;
  }
  std::string found;
  for (const Count& c : counts)
    if (c.all > 0)
      found += (found.empty() ? "" : "; ") + (c.by.empty() ? "here " : c.by + ": ") + std::to_string(c.right) + " of " +
               std::to_string(c.all) + " are right";
  page.paragraph("Test images (in a frame) and the training images whose features are most similar, nearest first." +
                 (found.empty() ? std::string()
                                : " Labels were not used in pre-training: \xE2\x9C\x93 same label, \xE2\x9C\x97 "
                                  "another one (dashed); " + found + "."));
  for (const NeighbourRow& row : report.neighbours) {
    std::string markup = captioned(picture(row.query, 56, "query: " + row.label), "tile query",
                                   "<b>" + html_escape(row.label) + "</b>" +
                                       (row.by.empty() ? "" : "<br/>" + html_escape(row.by)));
    for (std::size_t i = 0; i < row.nearest.size(); ++i) {
      const auto& n = row.nearest[i];
      const bool known = !row.label.empty(), same = n.label == row.label;
      const std::string sign = !known ? "" : same ? "<b>\xE2\x9C\x93</b> " : "<b>\xE2\x9C\x97</b> ";
      const std::string number = std::isfinite(n.similarity) ? fixed_number(n.similarity, 2) : "";
      markup += captioned(picture(n.image, 56, "neighbour " + std::to_string(i + 1) + ": " + n.label +
                                                   (!known ? "" : same ? ", right" : ", wrong")),
                          !known ? "tile" : same ? "tile right" : "tile wrong",
                          sign + number + "<br/>" + html_escape(n.label));
    }
    page.row(markup);
  }
}

inline void add_confusion(HtmlPage& page, const RunReport& report) {
  if (!report.confusion) return;
  const Confusion& confusion = *report.confusion;
  HeatMap map{.title = "Confusion matrix", .row_label = "true class", .column_label = "predicted class", .rows = {},
              .columns = {}, .counts = {}};
  for (int t = 0; t < confusion.classes(); ++t) {
    map.rows.push_back(class_name(report, t));
    map.counts.emplace_back();
    for (int p = 0; p < confusion.classes(); ++p) map.counts.back().push_back(confusion.count(t, p));
  }
  map.columns = map.rows;
  page.heading(2, "What is taken for what");
  page.figure(svg(map), "Tint: square root of the part of the true class. At the end of a row: how much of the class "
                        "is found (recall). Empty: 0. Accuracy " + percent(confusion.accuracy()) + " %, macro F1 " +
                        fixed_number(confusion.macro_f1(), 4) + ", " + grouped_number(confusion.total()) + " samples.");
  std::vector<std::vector<std::string>> rows;
  for (int c = 0; c < confusion.classes(); ++c)
    rows.push_back({class_name(report, c), percent(confusion.precision(c)), percent(confusion.recall(c)),
                    percent(confusion.f1(c)), grouped_number(confusion.support(c))});
  page.table({"class", "precision, %", "recall, %", "F1, %", "samples"}, rows, "By class");
  rows.clear();
  for (const Confusion::Pair& pair : confusion.top_confused(5))
    rows.push_back({class_name(report, pair.truth), class_name(report, pair.predicted), grouped_number(pair.count),
                    percent(static_cast<double>(pair.count) / static_cast<double>(confusion.support(pair.truth)))});
  if (rows.empty()) return;
  page.table({"true class", "taken for", "samples", "% of the class"}, rows, "Most frequent mistakes");
}

inline void add_facts(HtmlPage& page, const RunReport& report) {
  const auto add = [&](const char* title, const std::vector<std::vector<std::string>>& rows) {
    if (rows.empty()) return;
    page.heading(3, title);
    page.table({}, rows);
  };
  const auto rows_of = [](const std::vector<Fact>& facts) {
    std::vector<std::vector<std::string>> rows;
    for (const Fact& fact : facts) rows.push_back({fact.name, text_of(fact.value)});
    return rows;
  };
  std::vector<std::vector<std::string>> machine;
  for (const auto& [name, value] : {std::pair("machine", &report.machine), std::pair("processor", &report.cpu),
                                    std::pair("threads", &report.threads), std::pair("instruction set", &report.isa),
                                    std::pair("commit", &report.commit), std::pair("date", &report.date)})
    if (!value->empty()) machine.push_back({name, *value});
  if (report.dataset.empty() && report.model.empty() && report.training.empty() && machine.empty() &&
      report.seconds.empty() && report.configuration.is_null())
    return;
  page.heading(2, "The run");
  add("Data", rows_of(report.dataset));
  add("Model", rows_of(report.model));
  add("Training", rows_of(report.training));
  add("Seconds", rows_of(report.seconds));
  add("Machine and program", machine);
  if (report.configuration.is_null()) return;
  page.heading(3, "Configuration");
  page.preformatted(report.configuration.dump(1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace detail

/// The report as a page. Throws MismatchError where lists of the report do not fit each other (a score for every
/// method, a name for every class), and what png_bytes throws for its images.
inline std::string html(const RunReport& report) {
  const auto classes = report.confusion ? static_cast<std::size_t>(report.confusion->classes()) : 0;
  if (report.confusion && !report.class_names.empty() && report.class_names.size() != classes)
    throw MismatchError("report: expected " + std::to_string(classes) + " class names, found " +
                        std::to_string(report.class_names.size()));
  HtmlPage page(report.title);
  if (!report.command.empty()) page.preformatted(report.command);
  if (!report.alarms.empty()) page.box("Alarms", report.alarms, true);
  if (!report.notes.empty()) page.box("Notes", report.notes, false);
  detail::add_accuracy(page, report);
  detail::add_sections(page, report);
  detail::add_curves(page, report);
  detail::add_galleries(page, report);
  detail::add_confusion(page, report);
  detail::add_facts(page, report);
  return page.str();
}

/// Writes `dir`/report.html and `dir`/report.json, each whole or not at all; `dir` is made if it is not there. Both are
/// complete in memory before the first is written. Throws FileError, and what html and json throw.
inline void write_report(const std::string& dir, const RunReport& report) {
  const std::pair<const char*, std::string> files[] = {
      {"report.html", html(report)},
      {"report.json", json(report).dump(1, ' ', false, Json::error_handler_t::replace) + "\n"}};
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) throw FileError(dir, "cannot make the folder of the report: " + error.message());
  for (const auto& [name, text] : files) {
    AtomicFile file((std::filesystem::path(dir) / name).string(), text.size());
    file.write(std::as_bytes(std::span(text)));
    file.commit();
  }
}

}  // namespace data2vec::inline v0
