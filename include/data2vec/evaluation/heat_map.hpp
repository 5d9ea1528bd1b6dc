// SPDX-License-Identifier: MIT
// A map of counts: which class is taken for which.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/evaluation/axis.hpp>
#include <data2vec/evaluation/svg.hpp>

namespace data2vec::inline v0 {

/// Counts by row and column.
struct HeatMap {
  std::string title = {}, row_label = {}, column_label = {};
  std::vector<std::string> rows = {}, columns = {};
  std::vector<std::vector<std::int64_t>> counts = {};  ///< (rows, columns), not negative
};

/// The counts as numbers (up to 24 columns) on a tint that is the square root of a cell's part of its row, so that rare
/// mistakes are seen too. Where rows and columns have the same names, the diagonal is framed and its part of the row is
/// written at the end. Throws MismatchError where counts and names do not fit.
inline std::string svg(const HeatMap& map) {
  const std::size_t columns = map.columns.size();
  if (map.counts.size() != map.rows.size())
    throw MismatchError("heat map \"" + map.title + "\": expected " + std::to_string(map.rows.size()) +
                        " rows, found " + std::to_string(map.counts.size()));
  std::int64_t most = 0;
  double names_width = 0, heads_width = 0;
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    if (map.counts[r].size() != columns)
      throw MismatchError("heat map \"" + map.title + "\", row " + std::to_string(r) + ": expected " +
                          std::to_string(columns) + " counts, found " + std::to_string(map.counts[r].size()));
    for (const std::int64_t n : map.counts[r]) most = std::max(most, n);
    names_width = std::max(names_width, text_width(shortened(map.rows[r], 20)));
  }
  for (const std::string& name : map.columns)
    heads_width = std::max(heads_width, text_width(shortened(name, 20)));
  const bool numbers = columns <= 24, square = map.rows == map.columns;
  const double side = numbers ? std::max(28.0, text_width(std::to_string(most)) + 10) : 12;
  const bool sloped = heads_width + 6 > side;
  const double height = numbers ? 28 : 12, left = names_width + 12, parts = square ? 64 : 12;
  const double top = 44 + (sloped ? 0.71 * heads_width + 8 : 14);
  const double right = left + side * static_cast<double>(columns);
  const double bottom = top + height * static_cast<double>(map.rows.size());
  Svg out;
  out.text(0, 13, "title", map.title);
  out.text(0, 32, "dim", map.row_label + " in rows, " + map.column_label + " in columns");
  for (std::size_t c = 0; c < columns; ++c) {
    const double x = left + side * (static_cast<double>(c) + 0.5);
    out.text(x + (sloped ? 4 : 0), top - 6, sloped ? "" : "mid", shortened(map.columns[c], 20), sloped ? -45 : 0);
  }
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    const double y = top + height * static_cast<double>(r), middle = y + height / 2 + 4;
    out.text(left - 8, middle, "end", shortened(map.rows[r], 20));
    std::int64_t sum = 0;
    for (const std::int64_t n : map.counts[r]) sum += n;
    for (std::size_t c = 0; c < columns; ++c) {
      const std::int64_t n = map.counts[r][c];
      const double tint = sum > 0 ? std::sqrt(static_cast<double>(n) / static_cast<double>(sum)) : 0;
      const double x = left + side * static_cast<double>(c);
      const std::string hint =
          map.rows[r] + ", " + map.columns[c] + ": " + grouped_number(n) + " of " + grouped_number(sum);
      if (n > 0) out.rect(x, y, side, height, "class=\"cell\" fill-opacity=\"" + fixed_number(tint, 3) + "\"", hint);
      // Up to 0.55 the tint leaves the page's ink readable, up to 0.7 black in light and dark.
      const char* ink = tint > 0.7 ? "mid t2" : tint > 0.55 ? "mid t1" : "mid";
      if (numbers && n > 0) out.text(x + side / 2, middle, ink, std::to_string(n));
      if (square && r == c) out.rect(x + 0.5, y + 0.5, side - 1, height - 1, "class=\"diagonal\"");
    }
    if (square && sum > 0)
      out.text(right + 10, middle, "dim",
               fixed_number(100 * static_cast<double>(map.counts[r][r]) / static_cast<double>(sum), 1) + " %");
  }
  out.rect(left, top, right - left, bottom - top, "class=\"frame\"");
  if (columns == 0 || map.rows.empty()) out.text(left + 4, top + 20, "dim", "no data");
  const double heads_end = right + (sloped ? 0.71 * heads_width - side / 2 + 8 : 0);
  return out.str(std::max({right + parts, heads_end, 320.0}), bottom + 14, map.title);
}

}  // namespace data2vec::inline v0
