// SPDX-License-Identifier: MIT
// What it costs to compile a unit (a header alone, or the training step of a model): processor seconds, memory, object
// size, template instantiations; and budgets for them. Seconds count in units of a reference that is compiled in the
// same run, so that a budget holds on slow and on busy machines.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <istream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

using Words = std::vector<std::string>;

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What a process and its own children took.
struct Child {
  int status = -1;  ///< exit status; -1: it did not start, or a signal ended it
  double cpu_seconds = 0, peak_bytes = 0;
};

/// Runs a program (looked up in PATH); what it says goes to the file `output`.
inline Child run_child(const Words& command, const std::filesystem::path& output) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t id = 0;
  const int problem = posix_spawnp(&id, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  Child child;
  if (problem != 0) return child;
  int status = 0;
  rusage usage{};
  while (wait4(id, &status, 0, &usage) < 0 && errno == EINTR) {}
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  child.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  child.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  child.peak_bytes = 1024.0 * static_cast<double>(usage.ru_maxrss);  // of the largest of its processes
  return child;
}

/// Costs of a unit; what was not measured is 0.
struct Cost {
  double cpu = 0;         ///< processor time, in times of the reference's
  double peak_bytes = 0;  ///< of the compiler
  double object_bytes = 0;
  double instantiations = 0;  ///< of classes and functions, as clang counts them
};

/// A budget is what was measured once; a unit may take twice that, and small numbers, which are mostly chance and the
/// compiler's own, may be as large as `floor`.
inline constexpr double budget_factor = 2;
inline constexpr Cost floor_cost{.cpu = 0.1, .peak_bytes = 64e6, .object_bytes = 4e3, .instantiations = 500};

/// In which way a cost is over its budget, or an empty string.
inline std::string over_budget(const Cost& cost, const Cost& budget) {
  std::string found;
  const auto compare = [&](const char* what, double Cost::*part, double unit) {
    const double limit = budget_factor * std::max(budget.*part, floor_cost.*part);
    if (cost.*part <= limit) return;
    std::ostringstream sentence;
    sentence << (found.empty() ? "" : ", ") << what << " " << cost.*part / unit << " > " << limit / unit;
    found += sentence.str();
  };
  compare("cpu", &Cost::cpu, 1);
  compare("memory (MB)", &Cost::peak_bytes, 1e6);
  compare("object (kB)", &Cost::object_bytes, 1e3);
  compare("instantiations", &Cost::instantiations, 1);
  return found;
}

/// Rows `name cpu memory/MB object/kB instantiations`; `#` begins a comment.
class Budgets {
 public:
  static Budgets read(std::istream& in) {
    Budgets budgets;
    for (std::string line; std::getline(in, line);) {
      std::istringstream row(line);
      std::string name;
      Cost c;
      if (!(row >> name) || name[0] == '#') continue;
      if (row >> c.cpu >> c.peak_bytes >> c.object_bytes >> c.instantiations)
        budgets.rows_[name] = {c.cpu, 1e6 * c.peak_bytes, 1e3 * c.object_bytes, c.instantiations};
    }
    return budgets;
  }

  bool empty() const { return rows_.empty(); }

  /// A unit without a row may be as dear as the dearest of its folder, or, in a folder without any, of all.
  Cost of(const std::string& name) const {
    if (const auto row = rows_.find(name); row != rows_.end()) return row->second;
    for (std::string folder = name; !folder.empty();) {
      folder.resize(folder.find_last_of('/') == std::string::npos ? 0 : folder.find_last_of('/'));
      Cost most;
      bool any = false;
      for (const auto& [other, c] : rows_) {
        if (!folder.empty() && !other.starts_with(folder + "/")) continue;
        any = true;
        most = {std::max(most.cpu, c.cpu), std::max(most.peak_bytes, c.peak_bytes),
                std::max(most.object_bytes, c.object_bytes), std::max(most.instantiations, c.instantiations)};
      }
      if (any) return most;
    }
    return {};
  }

 private:
  std::map<std::string, Cost> rows_;
};

/// What is compiled: one source.
struct Unit {
  std::string name, source;
  Words flags = {};  ///< besides those of all units
  bool checked_only = false;  ///< clang looks for errors and warnings, and counts nothing
};

/// Every header of include/data2vec alone, by name.
inline std::vector<Unit> header_units(const std::filesystem::path& root) {
  const auto include = root / "include" / "data2vec";
  std::vector<Unit> units;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(include))
    if (entry.path().extension() == ".hpp") {
      const std::string name = entry.path().lexically_relative(include).generic_string();
      units.push_back({name, "#include <data2vec/" + name + ">\n"});
    }
  std::sort(units.begin(), units.end(), [](const Unit& a, const Unit& b) { return a.name < b.name; });
  return units;
}

/// The headers of each folder together, to be checked only.
inline std::vector<Unit> folder_units(const std::vector<Unit>& headers) {
  std::map<std::string, Unit> folders;
  for (const Unit& header : headers) {
    const std::size_t slash = header.name.find_last_of('/');
    const std::string name = slash == std::string::npos ? "data2vec" : header.name.substr(0, slash);
    Unit& unit = folders[name];
    unit.name = name;
    unit.source += header.source;
    unit.checked_only = true;
  }
  std::vector<Unit> units;
  for (auto& [name, unit] : folders) units.push_back(std::move(unit));
  return units;
}

/// The whole trainer of every published model (those that objective/models.hpp defines), and of tiny28 of the benches,
/// with `flags`.
inline std::vector<Unit> trainer_units(const std::filesystem::path& root, const Words& flags) {
  const auto source = [](const std::string& header, const std::string& model) {
    return "#include <data2vec/data2vec.hpp>\n" + header + "template class data2vec::Trainer<" + model +
           ", data2vec::Cpu>;\n";
  };
  std::vector<Unit> units{
      {"trainer/tiny28", source("#include \"bench/configs.hpp\"\n", "bench::Model<bench::Tiny28>"), flags}};
  std::istringstream models(text_of(root / "include/data2vec/objective/models.hpp"));
  for (std::string line; std::getline(models, line);) {
    if (!line.starts_with("struct ")) continue;
    const std::string name = line.substr(7, line.find_first_of(" :{", 7) - 7);
    units.push_back({"trainer/" + name, source("", "data2vec::" + name), flags});
  }
  return units;
}

/// Takes about as long as a header with some standard containers and code; nothing of it is ours, so it stays the same.
inline constexpr std::string_view reference_source = R"cpp(
#include <algorithm>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <unordered_map>
#include <vector>
  using Functions = std::map<std::string, std::function<int(int)>>;
  template <int n>
  int use(Functions& functions) {
    std::unordered_map<int, std::vector<std::string>> names;
    for (auto& [name, f] : functions) names[f(n)].push_back(name);
    std::vector<int> sizes;
    for (auto& [value, all] : names) {
      std::sort(all.begin(), all.end());
      sizes.push_back(value + static_cast<int>(all.size()));
    }
    std::stable_sort(sizes.begin(), sizes.end(), [](int a, int b) { return a % (n + 1) < b % (n + 1); });
    return sizes.empty() ? n : sizes[0];
  }
  int all(Functions& functions, const std::string& text) {
    return use<1>(functions) + use<2>(functions) + std::regex_match(text, std::regex("a*(b|c)"));
  }
)cpp";

/// Times that a string occurs in a file, which may be large.
inline double occurrences(const std::filesystem::path& path, std::string_view what) {
  const std::string text = text_of(path);
  double count = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++count;
  return count;
}

/// Compiles units in a folder of its own.
class Compilers {
 public:
  /// `compiler` and `clang` may be empty: what they measure is left out.
  Compilers(std::filesystem::path folder, std::string compiler, std::string clang, Words flags)
      : folder_(std::move(folder)),
        compiler_(std::move(compiler)),
        clang_(std::move(clang)),
        flags_(std::move(flags)) {}

  /// Compiles the reference, with the same compiler; false if that fails. Its seconds are what costs count in.
  bool measure_reference() {
    if (compiler_.empty()) return true;
    write("reference", reference_source);
    const Child child = run_child(
        {compiler_, "-std=c++20", "-O1", "-c", path("reference.cpp"), "-o", path("reference.o")}, folder_ / "output");
    seconds_.push_back(child.cpu_seconds);
    return child.status == 0;
  }
  /// Of the last two measurements, the mean: what the machine gives at present.
  double reference_seconds() const {
    if (seconds_.empty()) return 1;
    return 0.5 * (seconds_.back() + seconds_[seconds_.size() < 2 ? 0 : seconds_.size() - 2]);
  }

  /// False if the unit does not compile; `problem` is then what the compiler says.
  bool measure(const Unit& unit, Cost& cost, std::string& problem) {
    write("unit", unit.source);
    const auto compile = [&](const std::string& compiler, const Words& more) {
      Words command{compiler};
      command.insert(command.end(), flags_.begin(), flags_.end());
      command.insert(command.end(), unit.flags.begin(), unit.flags.end());
      command.insert(command.end(), more.begin(), more.end());
      command.push_back(path("unit.cpp"));
      const Child child = run_child(command, folder_ / "output");
      if (child.status != 0) problem = text_of(folder_ / "output").substr(0, 4000);
      return child;
    };
    cost = {};
    if (!compiler_.empty()) {
      const Child child = compile(compiler_, {"-c", "-o", path("unit.o")});
      if (child.status != 0) return false;
      cost.cpu = child.cpu_seconds / reference_seconds();
      cost.peak_bytes = child.peak_bytes;
      cost.object_bytes = static_cast<double>(std::filesystem::file_size(folder_ / "unit.o"));
    }
    if (!clang_.empty() && unit.checked_only) return compile(clang_, {"-fsyntax-only"}).status == 0;
    if (!clang_.empty()) {
      // Its trace has an event for each instantiation; without code generation, which would only make it longer.
      const Words trace{"-O1",
                        "-S",
                        "-emit-llvm",
                        "-Xclang",
                        "-disable-llvm-passes",
                        "-ftime-trace",
                        "-ftime-trace-granularity=0",
                        "-o",
                        path("unit.ll")};
      if (compile(clang_, trace).status != 0) return false;
      cost.instantiations = occurrences(folder_ / "unit.json", "\"name\":\"InstantiateClass\"") +
                            occurrences(folder_ / "unit.json", "\"name\":\"InstantiateFunction\"");
    }
    return true;
  }

 private:
  std::string path(const char* name) const { return (folder_ / name).string(); }
  void write(const std::string& name, std::string_view source) const {
    std::ofstream(folder_ / (name + ".cpp"), std::ios::binary) << source;
  }

  std::filesystem::path folder_;
  std::string compiler_, clang_;
  Words flags_;
  std::vector<double> seconds_ = {};
};

}  // namespace bench
