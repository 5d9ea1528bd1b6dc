// SPDX-License-Identifier: MIT
// The page and the drawing of bench/results/scaling.json: how the cost of a step grows, beside what the types say.
#pragma once

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/evaluation/line_chart.hpp>

#include "bench/table_text.hpp"

namespace bench::tables {

/// What the types say a step takes: operations at one rate, bytes at the memory's, shared by the threads as units are.
/// The rate is the one number that is fitted: at tiny28 as it is (8 masks), on one thread.
struct CostModel {
  double rate, bandwidth;
  double seconds(const Json& p) const {
    const double units = number(p, "units"), threads = number(p, "threads");
    return of(number(p.at("flops"), "total"), number(p, "bytes")) * std::ceil(units / threads) / units;
  }
  double of(double flops, double bytes) const { return flops / rate + bytes / bandwidth; }
};
inline const Json& axis_of(const Json& scaling, std::string_view name) {
  for (const Json& axis : scaling.at("axes"))
    if (text(axis, "name") == name) return axis;
  throw d2v::FileError("scaling.json", "expected an axis " + std::string(name));
}
inline CostModel cost_model(const Json& scaling) {
  const double bandwidth = number(scaling, "bandwidth_bytes_per_s");
  for (const Json& p : axis_of(scaling, "masks").at("points"))
    if (number(p, "masks") == 8)
      return {number(p.at("flops"), "total") / (number(p.at("seconds"), "min") - number(p, "bytes") / bandwidth),
              bandwidth};
  throw d2v::FileError("scaling.json", "expected a point of 8 masks");
}
/// How busy the machine was before and behind the measurements; one thread of theirs makes a load of 1.
inline std::string load_text(const Json& scaling) {
  return formatted("load %.1f before, %.1f behind", scaling.at("load").at(0).get<double>(),
                   scaling.at("load").at(1).get<double>());
}
inline double best_seconds(const Json& point) { return number(point.at("seconds"), "min"); }

/// What the axes show, a line each: the last point against the first.
inline std::string scaling_summary(const Json& scaling) {
  struct Line {
    const char *axis, *what, *per;
    double power;  // of x that the cost is divided by
  };
  const CostModel model = cost_model(scaling);
  std::string out = header({"more of", "from", "to", "a step takes", "by operations and bytes", "that is"});
  for (const Line& line : {Line{"masks", "masks per sample", "per mask", 1}, Line{"tokens", "tokens", "per token", 1},
                           Line{"width", "width", "per width squared", 2},
                           Line{"visible", "visible tokens, of as many in all", "per visible token", 1},
                           Line{"batch", "samples", "per sample", 1}, Line{"threads", "threads", "", 0}}) {
    const Json& points = axis_of(scaling, line.axis).at("points");
    const Json &first = points.front(), &last = points.back();
    const double more = best_seconds(last) / best_seconds(first), x = number(last, "x") / number(first, "x");
    out += row({line.what, formatted("%g", number(first, "x")), formatted("%g", number(last, "x")),
                formatted("x %.2f", more), formatted("x %.2f", model.seconds(last) / model.seconds(first)),
                line.power == 0 ? "" : formatted("x %.2f %s", more / std::pow(x, line.power), line.per)});
  }
  return out + formatted("\n%s, %s,\ncommit %s, %s; details and drawings: [scaling.md](../bench/results/scaling.md).\n",
                         machine_text(scaling.at("machine")).c_str(), text(scaling, "date").c_str(),
                         text(scaling, "commit").c_str(), load_text(scaling).c_str());
}

inline std::string scaling_table(const Json& axis, const CostModel& model) {
  const std::string name = text(axis, "name");
  const bool masks = name == "masks";
  std::vector<std::string> titles{text(axis, "x_label"),
                                  "V / T",
                                  "batch",
                                  "GFLOP",
                                  "student",
                                  "teacher",
                                  "decoder",
                                  "MB moved",
                                  "best ms",
                                  "median",
                                  "model ms",
                                  "best / model",
                                  "GFLOP/s"};
  if (masks) titles.push_back("ms per mask");
  std::string out = header(titles);
  for (const Json& p : axis.at("points")) {
    const Json& flops = p.at("flops");
    const double total = number(flops, "total"), seconds = best_seconds(p), expected = model.seconds(p);
    const auto part = [&](const char* key) { return formatted("%.0f %%", 100 * number(flops, key) / total); };
    std::vector<std::string> cells{formatted("%g", number(p, "x")),
                                   formatted("%g / %g", number(p, "visible"), number(p, "tokens")),
                                   formatted("%g", number(p, "batch")),
                                   formatted("%.2f", total / 1e9),
                                   part("student"),
                                   part("teacher"),
                                   part("decoder"),
                                   formatted("%.0f", number(p, "bytes") / 1e6),
                                   formatted("%.2f", 1e3 * seconds),
                                   formatted("%.2f", 1e3 * number(p.at("seconds"), "median")),
                                   formatted("%.2f", 1e3 * expected),
                                   formatted("%.2f", seconds / expected),
                                   formatted("%.1f", total / seconds / 1e9)};
    if (masks) cells.push_back(formatted("%.2f", 1e3 * seconds / number(p, "masks")));
    out += row(cells);
  }
  return out;
}

inline std::string scaling_page(const Json& scaling) {
  const CostModel model = cost_model(scaling);
  std::string out = "# How the cost of a step grows, " + text(scaling, "date") + "\n\n" +
                    machine_text(scaling.at("machine")) + ";\ncommit " + text(scaling, "commit") + "; " +
                    text(scaling, "compiler") + " `" + text(scaling, "flags") + "`, " + text(scaling, "isa") +
                    ";\nfloat32, one thread where nothing else is said; " + load_text(scaling) + ".\n\n    " +
                    text(scaling, "command") + "\n\n![Six drawings of the tables below](scaling.svg)\n\n";
  out += formatted(
      "tiny28 of `bench/configs.hpp` with one number changed at a time. The model is operations / %.1f "
      "GFLOP/s + bytes / %.1f GB/s,\nboth known from the types. The rate is the only fitted number: what "
      "tiny28 with 8 masks reached (one core does\n%.1f in registers). The other is the memory's for one "
      "thread; it is charged for bytes that stay in cache as well.\n",
      model.rate / 1e9, model.bandwidth / 1e9, number(scaling, "fma_peak_flops_per_s") / 1e9);
  for (const Json& axis : scaling.at("axes"))
    out += "\n## " + text(axis, "title") + "\n\n" + scaling_table(axis, model);
  const Json& masks = axis_of(scaling, "masks").at("points");
  const Json &one = masks.front(), &most = masks.back();
  const double per_one = best_seconds(one), per_most = best_seconds(most) / number(most, "masks");
  out += formatted(
      "\nMasks: with %g of them a mask costs %.2f of what a single one does (by the model %.2f): teacher "
      "and local encoder run\nonce per sample, whatever the number of masks. ",
      number(most, "masks"), per_most / per_one, model.seconds(most) / number(most, "masks") / model.seconds(one));
  const Json& visible = axis_of(scaling, "visible").at("points");
  const Json &few = visible.front(), &many = visible.back();
  const double dv = number(many, "visible") - number(few, "visible");
  const double rest = best_seconds(few) - (best_seconds(many) - best_seconds(few)) / dv * number(few, "visible");
  const auto others = [&](const Json& p) {
    return model.of(number(p.at("flops"), "total") - number(p.at("flops"), "student"), 0);
  };
  out += formatted(
      "Visible tokens: by the types a hidden token\ncosts the student no operation. Measured, the line "
      "through the first and the last point meets zero visible tokens at\n%.1f ms, where teacher, decoder "
      "and local encoder are left (by the model %.1f ms).\n",
      1e3 * rest, 1e3 * others(few));
  return out;
}

/// Six charts of measured and expected milliseconds, as a file of its own.
inline std::string scaling_drawing(const Json& scaling) {
  const CostModel model = cost_model(scaling);
  constexpr double width = 480, gap = 30;
  std::string body;
  double y = 0, row_height = 0;
  int column = 0;
  for (const Json& axis : scaling.at("axes")) {
    const std::string name = text(axis, "name");
    d2v::Series measured{.name = "measured", .style = 0}, expected{.name = "model", .style = 1};
    d2v::Series others{.name = "all but the student", .style = 2};
    for (const Json& p : axis.at("points")) {
      const double x = number(p, "x"), unit = name == "masks" ? 1e3 / number(p, "masks") : 1e3;
      measured.points.emplace_back(x, unit * best_seconds(p));
      expected.points.emplace_back(x, unit * model.seconds(p));
      others.points.emplace_back(x,
                                 unit * model.of(number(p.at("flops"), "total") - number(p.at("flops"), "student"), 0));
    }
    d2v::LineChart chart{.title = text(axis, "title"),
                         .x_label = text(axis, "x_label"),
                         .y_label = name == "masks" ? "ms per mask" : "ms per step",
                         .series = {measured, expected},
                         .width = width,
                         .height = 260};
    if (name == "visible") chart.series.push_back(others);
    const d2v::SvgBody drawing = d2v::svg_body(svg(chart));
    body += formatted("<g transform=\"translate(%g %g)\">\n", column * (width + gap), y) + drawing.elements +
            "</g>\n";
    row_height = std::max(row_height, drawing.height);
    if (++column == 2) column = 0, y += row_height + gap, row_height = 0;
  }
  if (column != 0) y += row_height + gap;
  return d2v::svg_file(2 * width + gap, y - gap, "How the cost of a step grows", body);
}

}  // namespace bench::tables
