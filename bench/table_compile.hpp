// SPDX-License-Identifier: MIT
// The page of bench/results/compile_cost.json: what headers and trainers cost to compile.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "bench/table_text.hpp"

namespace bench::tables {

inline std::string cost_row(const std::string& name, const Json& unit) {
  return row({name, formatted("%.2f", number(unit, "cpu_seconds")), formatted("%.2f", number(unit, "references")),
              formatted("%.0f", number(unit, "peak_bytes") / 1e6),
              formatted("%.1f", number(unit, "object_bytes") / 1e3),
              unit.at("instantiations").is_null() ? "" : formatted("%.0f", number(unit, "instantiations"))});
}
inline std::string cost_header(const char* what) {
  return header({what, "CPU seconds", "references", "memory, MB", "object, kB", "instantiations"});
}
inline bool is_trainer(const Json& unit) { return text(unit, "name").starts_with("trainer/"); }

/// The trainers, the umbrella, and of every room the dearest header.
inline std::string compile_summary(const Json& cost) {
  std::string out = cost_header("compiled alone");
  std::map<std::string, const Json*> dearest;
  for (const Json& unit : cost.at("units")) {
    const std::string name = text(unit, "name");
    if (is_trainer(unit)) {
      out += cost_row("the trainer of " + name.substr(8), unit);
    } else if (name == "data2vec.hpp") {
      out += cost_row("`data2vec.hpp`", unit);
    } else if (name.find('/') != std::string::npos) {
      const Json*& best = dearest[name.substr(0, name.find('/'))];
      if (best == nullptr || number(unit, "cpu_seconds") > number(*best, "cpu_seconds")) best = &unit;
    }
  }
  for (const auto& [room, unit] : dearest)
    out += cost_row("dearest of " + room + "/: `" + text(*unit, "name") + "`", *unit);
  return out + formatted("\n%s, %s,\ncommit %s; all headers: [compile_cost.md](../bench/results/compile_cost.md).\n",
                         machine_text(cost.at("machine")).c_str(), text(cost, "date").c_str(),
                         text(cost, "commit").c_str());
}

inline std::string compile_page(const Json& cost) {
  std::string out = "# What it costs to compile, " + text(cost, "date") + "\n\n" + machine_text(cost.at("machine")) +
                    ";\ncommit " + text(cost, "commit") + "; " + text(cost, "compiler") + "; instantiations\nas " +
                    (text(cost, "clang").empty() ? "nobody" : text(cost, "clang")) + " counts them.\n\n    " +
                    text(cost, "command") +
                    "\n\nA reference is the same run's cost of a fixed source of standard containers: budgets\n"
                    "(`tests/architecture/budgets.txt`) count in it. Seconds are processor time of one unit.\n\n## The "
                    "trainer of a model (`" +
                    text(cost, "flags") + "`)\n\n" + cost_header("model");
  double seconds = 0, headers = 0;
  for (const Json& unit : cost.at("units")) {
    if (is_trainer(unit))
      out += cost_row(text(unit, "name").substr(8), unit);
    else
      seconds += number(unit, "cpu_seconds"), ++headers;
  }
  out += "\n## A header as the only include (no flags)\n\n" + cost_header("header");
  for (const Json& unit : cost.at("units"))
    if (!is_trainer(unit)) out += cost_row("`" + text(unit, "name") + "`", unit);
  return out + formatted("\n%.0f headers, %.0f CPU seconds in all.\n", headers, seconds);
}

}  // namespace bench::tables
