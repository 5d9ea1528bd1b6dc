// SPDX-License-Identifier: MIT
// Pages, drawings and the tables of README.md and docs/performance.md, made of bench/results/*.json: no figure is typed
// by hand. bench/table.cpp writes them, tests/docs/tables.cpp checks that they are what the results give.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "bench/table_compile.hpp"
#include "bench/table_scaling.hpp"
#include "bench/table_text.hpp"

namespace bench::tables {

// --- beside PyTorch ----------------------------------------------------------------------------------------------

/// Whether threads of the best process waited for a core for over a twentieth of the time: as bench/peer/compare.py.
inline bool contended(const Json& implementation, int threads) {
  const Json* best = nullptr;
  for (const Json& process : implementation.at("processes"))
    if (best == nullptr || number(process, "min") < number(*best, "min")) best = &process;
  return number(*best, "queue_wait_median") > 0.05 * threads * number(*best, "median");
}
inline double mean_load(const Json& peer_row) {
  double sum = 0, count = 0;
  for (const auto& implementation : peer_row.at("implementations"))
    for (const Json& process : implementation.at("processes")) sum += number(process, "load"), ++count;
  return sum / count;
}

/// Of every row and number of threads on a machine the newest result, of one day that of the least load: the table, and
/// behind it where it is from.
inline std::string peer_table(const std::vector<Json>& results) {
  struct Choice {
    const Json *result = nullptr, *row = nullptr;
  };
  const std::vector<std::string> order{"vision/tiny28", "vision/small32", "vision/vit_base", "vision/vit_large"};
  std::map<std::tuple<std::string, std::size_t, std::string, int>, Choice> chosen;
  for (const Json& result : results)
    for (const Json& r : result.at("rows")) {
      const std::string name = text(r, "row");
      const auto place = static_cast<std::size_t>(std::find(order.begin(), order.end(), name) - order.begin());
      Choice& best = chosen[{text(result.at("machine"), "name"), place, name, r.at("threads").get<int>()}];
      const bool newer = best.row == nullptr || text(result, "date") > text(*best.result, "date") ||
                         (text(result, "date") == text(*best.result, "date") && mean_load(r) < mean_load(*best.row));
      if (newer) best = {&result, &r};
    }
  std::string out =
      header({"one step or call (batch, masks)", "threads", "data2vec", "with OpenBLAS", "best PyTorch", "ratio", "memory",
              "commit"});
  std::string sources;
  bool marked = false;
  for (const auto& [key, choice] : chosen) {
    const Json& r = *choice.row;
    const int threads = r.at("threads").get<int>();
    const Json &us = r.at("implementations").at("data2vec"), &them = r.at("implementations").at(text(r, "opponent"));
    const Json& all = r.at("implementations");
    const auto blas = all.find("data2vec, OpenBLAS");
    const bool busy = contended(us, threads) || contended(them, threads);
    marked = marked || busy;
    out += row({formatted("%s (%d, %d)", text(r, "row").c_str(), r.at("batch").get<int>(), r.at("masks").get<int>()),
                std::to_string(threads), formatted("%.4g s", number(us, "best")),
                blas == all.end() ? "-" : formatted("%.4g s", number(*blas, "best")),
                formatted("%.4g s, %s", number(them, "best"), text(r, "opponent").c_str()),
                formatted("**%.2f**%s", number(r, "ratio"), busy ? " †" : ""),
                formatted("%.0f / %.0f MiB", number(us, "peak_rss_bytes") / (1 << 20),
                          number(them, "peak_rss_bytes") / (1 << 20)),
                text(*choice.result, "commit")});
    const std::string source = machine_text(choice.result->at("machine")) + ", " + text(*choice.result, "date") +
                               ", torch " + text(r, "torch") + ": `" + text(*choice.result, "command") + "`";
    if (sources.find(source) == std::string::npos) sources += "- " + source + "\n";
  }
  out += "\nThe best call of several processes that take turns, ours over theirs; float32.";
  if (marked) out += " †: another job had part of the\nmachine.";
  return out + " Made by:\n\n" + sources;
}

// --- the files ---------------------------------------------------------------------------------------------------

/// `page` with what stands between the lines `<!-- begin NAME: ... -->` and `<!-- end NAME -->` replaced.
inline std::string with_block(const std::string& page, const std::string& name, const std::string& content,
                              const std::string& where) {
  const auto begin = page.find("<!-- begin " + name + ":"), end = page.find("<!-- end " + name + " -->");
  if (begin == std::string::npos || end == std::string::npos || end < begin)
    throw d2v::FileError(where,
                         "expected a block between <!-- begin " + name + ": ... --> and <!-- end " + name + " -->");
  return page.substr(0, page.find('\n', begin) + 1) + "\n" + content + "\n" + page.substr(end);
}

/// Every file that is made of results, with what it is to say; paths are relative to `root`. What there are no results
/// for says so.
inline std::map<std::string, std::string> generated_files(const fs::path& root) {
  const auto json = [&](const std::string& path) { return d2v::parse_json(text_of(root / path), path); };
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root / "bench/results"))
    if (entry.path().extension() == ".json") names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  const auto have = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  std::vector<Json> peers;
  for (const std::string& name : names)
    if (name.starts_with("peer-")) peers.push_back(json("bench/results/" + name));

  std::map<std::string, std::string> files;
  std::string readme = text_of(root / "README.md"), performance = text_of(root / "docs/performance.md");
  const auto put = [](std::string& page, const char* name, const std::string& content, const char* where) {
    page = with_block(page, name, content, where);
  };
  const auto none = [](const char* command) { return "No results yet: `" + std::string(command) + "`.\n"; };
  const std::string peer = peers.empty() ? none("./run bench peer") : peer_table(peers);
  put(readme, "peer", peer, "README.md");
  put(performance, "peer", peer, "docs/performance.md");
  std::string scaling = none("./run bench scaling"), compile = none("./run bench compile");
  if (have("scaling.json")) {
    const Json results = json("bench/results/scaling.json");
    files["bench/results/scaling.md"] = scaling_page(results);
    files["bench/results/scaling.svg"] = scaling_drawing(results);
    scaling = scaling_summary(results);
  }
  if (have("compile_cost.json")) {
    const Json results = json("bench/results/compile_cost.json");
    files["bench/results/compile_cost.md"] = compile_page(results);
    compile = compile_summary(results);
  }
  put(performance, "scaling", scaling, "docs/performance.md");
  put(performance, "compile", compile, "docs/performance.md");
  files["README.md"] = readme;
  files["docs/performance.md"] = performance;
  return files;
}

}  // namespace bench::tables
