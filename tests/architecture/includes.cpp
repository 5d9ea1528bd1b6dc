// SPDX-License-Identifier: MIT
// The graph of rooms as a table, held against every #include of the tree, and what else a header may not contain.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using Strings = std::vector<std::string>;

/// A room, and the rooms that its files may include besides their own.
const std::map<std::string, std::set<std::string>>& rooms() {
  static const auto table = [] {
    std::map<std::string, std::set<std::string>> t;
    t["core"] = {};
    t["io"] = t["device"] = t["masking"] = {"core"};
    t["layers"] = {"core", "device"};
    t["modality"] = t["decoder"] = {"core", "device", "layers"};
    t["model"] = {"core", "device", "layers", "masking", "modality", "decoder"};
    t["objective"] = t["model"];
    t["objective"].insert("model");
    t["distributed"] = {"core", "device"};
    t["training"] = t["objective"];
    t["training"].insert({"objective", "distributed", "io"});
    t["data"] = {"core", "io"};
    t["finetune"] = t["training"];
    t["finetune"].insert({"training", "data"});
    t["evaluation"] = t["finetune"];
    return t;
  }();
  return table;
}

/// The one file of model/ that rooms below it may include, and those rooms; itself it may include core/ only.
constexpr std::string_view config = "model/config.hpp";
const std::set<std::string> config_readers{"layers", "masking", "modality", "decoder"};
/// Umbrellas include everything and are included by nothing; version.hpp is included by everything.
const std::set<std::string> umbrellas{"data2vec.hpp", "cuda.cuh"};

bool starts(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }
bool ends(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}
std::string room_of(std::string_view file) {
  const auto slash = file.find('/');
  return std::string(slash == std::string_view::npos ? "" : file.substr(0, slash));
}
bool is_cuda(std::string_view file) { return ends(file, ".cuh") || starts(file, "device/cuda/"); }

/// The line without comments; `inside` says whether a block comment is open. With `strings` false, literals are empty.
std::string code_of(const std::string& line, bool& inside, bool strings) {
  std::string code;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const std::string_view two = std::string_view(line).substr(i, 2);
    if (inside) {
      if (two == "*/") inside = false, ++i;
    } else if (quote) {
      if (line[i] == quote) quote = 0, code += line[i];
      else if (strings) code += line[i];
      if (line[i] == '\\') ++i;
    } else if (two == "//") {
      break;
    } else if (two == "/*") {
      inside = true, ++i;
    } else {
      const bool digit_separator = line[i] == '\'' && i > 0 && std::isxdigit(static_cast<unsigned char>(line[i - 1]));
      if ((line[i] == '"' || line[i] == '\'') && !digit_separator) quote = line[i];
      code += line[i];
    }
  }
  return code;
}

/// What a directive `#word` says: {word, rest}, or two empty strings.
std::pair<std::string, std::string> directive(const std::string& code) {
  std::istringstream in(code);
  std::string hash, word, rest;
  char c = 0;
  if (!(in >> c) || c != '#' || !(in >> word)) return {};
  std::getline(in >> std::ws, rest);
  while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.back()))) rest.pop_back();
  return {word, rest};
}

/// Why `file` may not include `target` (both relative to include/data2vec), or an empty string.
std::string forbidden_arrow(const std::string& file, const std::string& target) {
  if (umbrellas.count(target)) return "nothing may include the umbrella " + target;
  if (umbrellas.count(file))
    return file == "data2vec.hpp" && is_cuda(target) ? "the umbrella for the CPU includes CUDA" : "";
  if (target == "version.hpp") return {};
  const std::string from = room_of(file), to = room_of(target);
  if (!rooms().count(from)) return "no room of the table holds this file";
  if (!rooms().count(to)) return "no room of the table holds " + target;
  if (file == config) return to == "core" ? "" : std::string(config) + " may include core/ only, not " + target;
  if (target == config && config_readers.count(from)) return {};
  if (from == to || rooms().at(from).count(to)) return {};
  return from + "/ may not include " + to + "/ (" + target + ")";
}

/// Why `file` may not include the foreign header `target`, or an empty string.
std::string forbidden_foreign(const std::string& file, const std::string& target) {
  if ((starts(target, "Eigen/") || starts(target, "unsupported/Eigen/")) && !starts(file, "device/cpu/"))
    return "Eigen belongs to device/cpu/";
  if (starts(target, "nlohmann/") && !starts(file, "io/")) return "JSON belongs to io/";
  for (const char* name : {"cuda", "cublas", "cub/", "thrust/", "nccl", "curand", "mma.h", "cooperative_groups"})
    if (starts(target, name) && !is_cuda(file)) return "CUDA belongs to device/cuda/ and .cuh";
  return {};
}

/// Every rule that `text`, the content of `file`, breaks: one sentence each.
Strings violations(const std::string& file, const std::string& text) {
  Strings found;
  std::istringstream in(text);
  bool inside = false, once = false;
  int number = 0;
  const bool may_branch =
      file == "core/macros.hpp" || file == "core/buffer.hpp" || file == "version.hpp" || starts(file, "device/cpu/") ||
      is_cuda(file);
  for (std::string line; std::getline(in, line);) {
    const auto report = [&, at = ++number](const std::string& what) {
      if (!what.empty()) found.push_back(file + ":" + std::to_string(at) + ": " + what);
    };
    if (number == 1 && line != "// SPDX-License-Identifier: MIT") report("the first line is not the licence's");
    bool was_inside = inside;
    const auto [word, rest] = directive(code_of(line, was_inside, true));
    const std::string code = code_of(line, inside, false);
    if (word == "pragma" && rest == "once") once = true;
    if (word == "include") {
      const std::string target = rest.size() < 2 ? rest : rest.substr(1, rest.find_last_of(">\"") - 1);
      if (rest[0] != '<') report("own headers are included as <data2vec/...>, not as " + rest);
      report(starts(target, "data2vec/") ? forbidden_arrow(file, target.substr(9)) : forbidden_foreign(file, target));
    }
    const bool branch = word == "if" || word == "ifdef" || word == "ifndef";
    if (branch && !may_branch) report("#" + word + " outside its places");
    for (std::size_t i = 0; i < code.size();) {
      std::size_t j = i;
      while (j < code.size() && (std::isalnum(static_cast<unsigned char>(code[j])) || code[j] == '_')) ++j;
      const std::string name = code.substr(i, j - i);
      for (const char* printer : {"cout", "cerr", "clog", "printf", "fprintf", "puts", "putchar", "fputs", "perror"})
        if (name == printer && word.empty()) report("a header of the library prints: " + name);
      i = std::max(j, i + 1);
    }
  }
  if (!once) found.push_back(file + ": no #pragma once");
  if (number > 400) found.push_back(file + ": " + std::to_string(number) + " lines, 400 is the limit");
  return found;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A header that breaks nothing but what `line` breaks.
Strings of_line(const std::string& file, const std::string& line) {
  return violations(file, "// SPDX-License-Identifier: MIT\n#pragma once\n" + line + "\n");
}

}  // namespace

TEST_CASE("architecture: the checks see what they forbid") {
  struct { const char *file, *line; bool allowed; } const cases[] = {
      {"layers/a.hpp", "#include <data2vec/device/gelu.hpp>", true},
      {"device/a.hpp", "#include <data2vec/layers/linear.hpp>", false},
      {"core/a.hpp", "#include <data2vec/io/file.hpp>", false},
      {"core/a.hpp", "#include <data2vec/version.hpp>", true},
      {"masking/a.hpp", "  #  include  <data2vec/modality/vision.hpp>  // why not", false},
      {"masking/a.hpp", "#include <data2vec/model/config.hpp>", true},
      {"masking/a.hpp", "#include <data2vec/model/encoder.hpp>", false},
      {"device/a.hpp", "#include <data2vec/model/config.hpp>", false},
      {"model/config.hpp", "#include <data2vec/core/view.hpp>", true},
      {"model/config.hpp", "#include <data2vec/layers/block.hpp>", false},
      {"model/encoder.hpp", "#include <data2vec/layers/block.hpp>", true},
      {"training/a.hpp", "#include <data2vec/io/file.hpp>", true},
      {"objective/a.hpp", "#include <data2vec/io/file.hpp>", false},
      {"data/a.hpp", "#include <data2vec/layers/block.hpp>", false},
      {"finetune/a.hpp", "#include <data2vec/data/idx.hpp>", true},
      {"finetune/a.hpp", "#include <data2vec/evaluation/knn.hpp>", false},
      {"attic/a.hpp", "#include <data2vec/core/view.hpp>", false},
      {"data2vec.hpp", "#include <data2vec/training/trainer.hpp>", true},
      {"data2vec.hpp", "#include <data2vec/device/cuda/gelu.cuh>", false},
      {"layers/a.hpp", "#include <data2vec/data2vec.hpp>", false},
      {"layers/a.hpp", "#include \"block.hpp\"", false},
      {"layers/a.hpp", "#include <Eigen/Core>", false},
      {"device/cpu/a.hpp", "#include <Eigen/Core>", true},
      {"data/a.hpp", "#include <nlohmann/json.hpp>", false},
      {"io/a.hpp", "#include <nlohmann/json.hpp>", true},
      {"device/cpu/a.hpp", "#include <cuda_runtime.h>", false},
      {"device/cuda/a.cuh", "#include <cuda_runtime.h>", true},
      {"layers/a.hpp", "#ifdef __AVX2__", false},
      {"device/cpu/a.hpp", "#ifdef __AVX2__", true},
      {"layers/a.hpp", "  if (x) std::cout << x;", false},
      {"layers/a.hpp", "  printf(\"%d\", 1);", false},
      {"layers/a.hpp", "  std::snprintf(text, 8, \"printf\");  // not std::cout", true},
      {"layers/a.hpp", "/* std::cerr */ int a = 1'000;", true},
  };
  for (const auto& c : cases) {
    CAPTURE(c.file);
    CAPTURE(c.line);
    CHECK(of_line(c.file, c.line).empty() == c.allowed);
  }
  CHECK(violations("layers/a.hpp", "// SPDX-License-Identifier: MIT\n").size() == 1);  // no #pragma once
  CHECK(violations("layers/a.hpp", "#pragma once\n").size() == 1);                     // no licence
  CHECK(of_line("layers/a.hpp", std::string(397, '\n')).empty());
  CHECK(of_line("layers/a.hpp", std::string(398, '\n')).size() == 1);
}

TEST_CASE("architecture: the graph of rooms has no cycle") {
  for (const auto& entry : rooms())
    for (const auto& other : entry.second) {
      CAPTURE(entry.first);
      CAPTURE(other);
      REQUIRE(rooms().count(other) == 1);
      CHECK(rooms().at(other).count(entry.first) == 0);
      // What a room includes includes nothing that the room may not: with the line above, no way leads back.
      for (const auto& further : rooms().at(other)) CHECK(entry.second.count(further) == 1);
    }
}

TEST_CASE("architecture: every header keeps to its room") {
  const std::filesystem::path root = std::filesystem::path(D2V_SOURCE_DIR) / "include" / "data2vec";
  Strings files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
    if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(root).generic_string());
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() >= 7);
  for (const auto& file : files) {
    if (!ends(file, ".hpp") && !ends(file, ".cuh")) FAIL_CHECK(file, ": a header is named .hpp or .cuh");
    for (const auto& sentence : violations(file, read(root / file))) FAIL_CHECK(sentence);
  }
}
