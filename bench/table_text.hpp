// SPDX-License-Identifier: MIT
// What the tables of results are made with: numbers of JSON files, rows of Markdown.
#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/io/json.hpp>

namespace bench::tables {

namespace d2v = data2vec;
namespace fs = std::filesystem;
using d2v::Json;

template <class... Args>
std::string formatted(const char* format, Args... args) {
  char text[1024];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}
inline std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw d2v::FileError(path.string(), "expected a file that can be read");
  return {std::istreambuf_iterator<char>(file), {}};
}
inline double number(const Json& j, const char* key) { return j.at(key).get<double>(); }
inline std::string text(const Json& j, const char* key) { return j.at(key).get<std::string>(); }

/// A row of a Markdown table.
inline std::string row(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += " " + cell + " |";
  return line + "\n";
}
inline std::string header(const std::vector<std::string>& cells) {
  return row(cells) + row(std::vector<std::string>(cells.size(), "---"));
}
/// "AMD EPYC (family 25, model 17), 2 cores, 23.5 GiB, Linux 6.18".
inline std::string machine_text(const Json& m) {
  return formatted("%s (family %s, model %s), %d cores, %.1f GiB, Linux %s", text(m, "cpu").c_str(),
                   text(m, "family").c_str(), text(m, "model").c_str(), m.at("cores").get<int>(),
                   number(m, "memory_gib"), text(m, "kernel").c_str());
}

}  // namespace bench::tables
