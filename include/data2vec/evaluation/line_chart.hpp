// SPDX-License-Identifier: MIT
// Lines over a number: learning curves.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/evaluation/axis.hpp>
#include <data2vec/evaluation/svg.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// Points of a line by pixel column: the first, least, greatest and last of each stay, so that no peak is lost.
inline std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points) {
  std::vector<std::pair<double, double>> out;
  for (std::size_t i = 0, j = 0; i < points.size(); i = j) {
    while (j < points.size() && std::floor(points[j].first) == std::floor(points[i].first)) ++j;
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(i);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>(j);
    const auto [least, greatest] =
        std::minmax_element(begin, end, [](const auto& a, const auto& b) { return a.second < b.second; });
    auto kept = {begin, std::min(least, greatest), std::max(least, greatest), end - 1};
    auto last = points.end();
    for (const auto& point : kept)
      if (point != last) out.push_back(*(last = point));
  }
  return out;
}

}  // namespace detail

/// Values over a number. A value that is not finite is a gap.
struct Series {
  std::string name = {};                               ///< in the legend; empty: not there
  std::vector<std::pair<double, double>> points = {};  ///< (x, y), rising in x
  bool faint = false;                                  ///< thin and without marks: raw values behind a mean
  int style = -1;                                      ///< hue, dashes and marks, 0 to 5; -1: by place in the list
};

struct LineChart {
  std::string title = {}, x_label = {}, y_label = {};  ///< labels with their units
  std::vector<Series> series = {};
  bool log_y = false;                                  ///< values that are not above 0 are gaps
  double width = 760, height = 300;
};

/// Lines with ticks, grid and legend. How many values are missing is said in the drawing.
inline std::string svg(const LineChart& chart) {
  double x_low = 0, x_high = 1, y_low = 0, y_high = 1;
  std::int64_t shown = 0, missing = 0;
  for (const Series& s : chart.series)
    for (const auto& [x, y] : s.points) {
      if (!can_plot(x, false) || !can_plot(y, chart.log_y)) {
        ++missing;
        continue;
      }
      const bool first = shown++ == 0;
      x_low = first ? x : std::min(x_low, x), x_high = first ? x : std::max(x_high, x);
      y_low = first ? y : std::min(y_low, y), y_high = first ? y : std::max(y_high, y);
    }
  if (shown == 0 && chart.log_y) y_low = 0.1;
  Svg out;
  const auto style = [&](std::size_t s) {
    const int own = chart.series[s].style;
    return (own >= 0 ? static_cast<std::size_t>(own) : s) % 6;
  };
  const auto line_style = [&](std::size_t s) {
    const std::string n = std::to_string(style(s));
    return "line s" + n + (chart.series[s].faint ? " faint" : " d" + n);
  };
  out.text(0, 13, "title", chart.title);
  std::vector<std::string> names;
  for (const Series& s : chart.series) names.push_back(s.name);
  double top = draw_legend(out, names, 0, chart.width, 30, [&](double x, double y, std::size_t s) {
    out.line(x, y, x + 34, y, line_style(s));
    if (!chart.series[s].faint) out.mark(x + 17, y, style(s));
  });
  out.text(0, top + 4, "dim", chart.y_label);
  top += chart.y_label.empty() ? 0 : 20;
  const double bottom = std::max(chart.height, top + 120) - 38;
  // Down to 0 where that costs less than half of the height, else with a little room.
  const bool zero = !chart.log_y && y_low >= 0 && y_low < 0.5 * y_high;
  if (!chart.log_y && y_high > y_low) {
    const double room = 0.04 * (y_high - y_low);
    y_low -= zero ? 0 : room, y_high += room;
  }
  Axis y_axis = axis_over(y_low, y_high, chart.log_y, zero, bottom, top);
  const auto y_ticks = y_axis.ticks(5);
  double left = 0;
  for (const Tick& tick : y_ticks) left = std::max(left, text_width(tick.label) + 8);
  Axis x_axis = axis_over(x_low, x_high, false, false, left, chart.width - 24);
  for (const Tick& tick : y_ticks) {
    out.line(left, y_axis(tick.value), chart.width - 24, y_axis(tick.value), "grid");
    out.text(left - 6, y_axis(tick.value) + 4, "dim end", tick.label);
  }
  for (const Tick& tick : x_axis.ticks(7)) {
    out.line(x_axis(tick.value), bottom, x_axis(tick.value), bottom + 4, "axis");
    out.text(x_axis(tick.value), bottom + 17, "dim mid", tick.label);
  }
  out.line(left, bottom, chart.width - 24, bottom, "axis");
  out.text(chart.width - 24, bottom + 34, "dim end", chart.x_label);
  if (missing > 0)
    out.text(0, bottom + 34, "dim", grouped_number(missing) + (missing == 1 ? " value is" : " values are") +
                                        (chart.log_y ? " not above 0 or not finite" : " not finite"));
  if (shown == 0) out.text((left + chart.width) / 2, (top + bottom) / 2, "dim mid", "no data");
  for (std::size_t s = 0; s < chart.series.size(); ++s) {
    std::vector<std::pair<double, double>> run, marks;
    std::string d;
    const auto finish = [&] {
      const auto kept = detail::thinned(run);
      for (std::size_t i = 0; i < kept.size(); ++i)
        d += (i == 0 ? "M" : "L") + Svg::at(kept[i].first) + " " + Svg::at(kept[i].second);
      if (run.size() == 1) marks.push_back(run[0]);  // a line of one point cannot be seen
      run.clear();
    };
    // Marks tell lines apart, some 90 pixels from each other and not at the same places as those of other series.
    double next = left + (static_cast<double>(s % 6) * 15);
    const bool few = chart.series[s].points.size() <= 12;
    for (const auto& [x, y] : chart.series[s].points) {
      if (!can_plot(x, false) || !can_plot(y, chart.log_y)) {
        finish();
        continue;
      }
      run.emplace_back(x_axis(x), y_axis(y));
      if (chart.series[s].faint || (!few && run.back().first < next)) continue;
      marks.push_back(run.back());
      next = run.back().first + 90;
    }
    finish();
    if (!d.empty()) out.path(d, line_style(s));
    for (const auto& [x, y] : marks) out.mark(x, y, style(s));
  }
  return out.str(chart.width, bottom + 38, chart.title + (chart.y_label.empty() ? "" : ": " + chart.y_label));
}

}  // namespace data2vec::inline v0
