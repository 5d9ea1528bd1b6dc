// SPDX-License-Identifier: MIT
// Bars in groups with their spread: scores of several methods, each from several seeds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/evaluation/axis.hpp>
#include <data2vec/evaluation/svg.hpp>

namespace data2vec::inline v0 {

/// Bars of one name: a value and a spread (0 or not finite: none) for every series of the chart.
struct BarGroup {
  std::string name = {};
  std::vector<double> values = {}, spreads = {};
};

struct BarChart {
  std::string title = {}, label = {};    ///< what the values are, with their unit
  std::vector<std::string> series = {};  ///< names of the bars within a group; one may be empty
  std::vector<BarGroup> groups = {};
  int decimals = 1;                      ///< of the values that are written behind the bars
  double width = 760;
};

/// Horizontal bars from 0, with the spread as an error bar and the value behind. Throws MismatchError where a group has
/// not one value and one spread (or no spreads) for every series.
inline std::string svg(const BarChart& chart) {
  double low = 0, high = 0, names_width = 0, values_width = 0;
  const auto spread_of = [](const BarGroup& g, std::size_t s) {
    const bool known = s < g.spreads.size() && can_plot(g.spreads[s], false) && can_plot(g.values[s], false);
    return known ? std::abs(g.spreads[s]) : 0.0;
  };
  const auto text_of = [&](const BarGroup& g, std::size_t s) {
    const std::string text = fixed_number(g.values[s], chart.decimals);
    return spread_of(g, s) > 0 ? text + " \xC2\xB1 " + fixed_number(spread_of(g, s), chart.decimals) : text;
  };
  for (const BarGroup& g : chart.groups) {
    if (g.values.size() != chart.series.size() || (!g.spreads.empty() && g.spreads.size() != chart.series.size()))
      throw MismatchError("bar chart \"" + chart.title + "\", group \"" + g.name + "\": expected " +
                          std::to_string(chart.series.size()) + " values and spreads, found " +
                          std::to_string(g.values.size()) + " and " + std::to_string(g.spreads.size()));
    names_width = std::max(names_width, text_width(shortened(g.name, 44)));
    for (std::size_t s = 0; s < g.values.size(); ++s) {
      values_width = std::max(values_width, text_width(text_of(g, s)));
      if (!can_plot(g.values[s], false)) continue;
      low = std::min(low, g.values[s] - spread_of(g, s));
      high = std::max(high, g.values[s] + spread_of(g, s));
    }
  }
  Svg out;
  const auto bar_style = [](std::size_t s) {
    const std::string n = std::to_string(s % 6);
    return "class=\"bar s" + n + " f" + n + " p" + n + "\"";
  };
  out.text(0, 13, "title", chart.title);
  const double top = 6 + draw_legend(out, chart.series, 0, chart.width, 30, [&](double x, double y, std::size_t s) {
    out.rect(x + 4, y - 5, 28, 10, bar_style(s));
  });
  constexpr double bar = 15, gap = 4, between = 12;
  const double left = names_width + 12, right = std::max(left + 160, chart.width - values_width - 16);
  const double rows = static_cast<double>(chart.series.size()) * (bar + gap) + between;
  const double bottom = top + std::max(1.0, static_cast<double>(chart.groups.size())) * rows;
  Axis axis = axis_over(low, high, false, true, left, right);
  auto ticks = axis.ticks(6);
  if (ticks.size() > 1) {  // from tick to tick
    const double step = ticks[1].value - ticks[0].value;
    axis.low = step * std::floor(axis.low / step + 1e-9), axis.high = step * std::ceil(axis.high / step - 1e-9);
    ticks = linear_ticks(axis.low, axis.high, static_cast<int>(std::lround((axis.high - axis.low) / step)));
  }
  for (const Tick& tick : ticks) {
    out.line(axis(tick.value), top, axis(tick.value), bottom, "grid");
    out.text(axis(tick.value), bottom + 16, "dim mid", tick.label);
  }
  double y = top + between / 2;
  for (const BarGroup& g : chart.groups) {
    out.text(left - 8, y + (rows - between - gap) / 2 + 4, "end", shortened(g.name, 44));
    for (std::size_t s = 0; s < g.values.size(); ++s, y += bar + gap) {
      double end = axis(0);
      if (can_plot(g.values[s], false)) {
        const double value = axis(g.values[s]), spread = axis(spread_of(g, s)) - axis(0), middle = y + bar / 2;
        out.rect(std::min(value, end), y, std::abs(value - end), bar, bar_style(s), g.name + ": " + text_of(g, s));
        if (spread > 0) {
          const std::string d = "M" + Svg::at(value - spread) + " " + Svg::at(middle) + "H" +
                                Svg::at(value + spread);
          for (const char* style : {"halo", "error"}) {  // it is read on the bar and on the page
            out.path(d, style);
            for (const double cap : {value - spread, value + spread}) out.line(cap, middle - 4, cap, middle + 4, style);
          }
        }
        end = std::max(end, value + spread);
      }
      out.text(end + 7, y + bar / 2 + 4, "", text_of(g, s));
    }
    y += between;
  }
  out.line(axis(0), top, axis(0), bottom, "axis");
  out.text(right, bottom + 34, "dim end", chart.label);
  if (chart.groups.empty()) out.text((left + right) / 2, (top + bottom) / 2 + 4, "dim mid", "no data");
  return out.str(chart.width, bottom + 40, chart.title + ": " + chart.label);
}

}  // namespace data2vec::inline v0
