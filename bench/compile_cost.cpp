// SPDX-License-Identifier: MIT
// Measures what it costs to compile every header and the training step of every published model, for
// `./run bench compile`, or compares with tests/architecture/budgets.txt, for the tests. Needs nothing but the standard
// library, as the tests run it where optional parts are absent. CMake says which compilers and folders.
#include <cstdio>
#include <cstdlib>
#include <set>

#include "bench/compile_cost.hpp"
#include "bench/machine.hpp"

namespace {

using namespace bench;
namespace fs = std::filesystem;

struct Options {
  std::string units = "headers,trainers", use = "compiler,clang", only, excluded, budgets, write, json, commit, command;
};

struct Measured {
  Unit unit;
  Cost cost;
  double reference_seconds;
};

int usage(const std::string& problem) {
  std::fprintf(stderr,
               "compile_cost: %s\nusage: compile_cost [--units headers,trainers | folders] [--only NAME,NAME] "
               "[--use compiler,clang] [--excluded FILE]\n       [--budgets FILE] [--write FILE] [--json FILE] "
               "[--commit TEXT] [--command TEXT]\n",
               problem.c_str());
  return 2;
}

Words split(const std::string& text, char at) {
  Words words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, at);)
    if (!word.empty()) words.push_back(word);
  return words;
}
bool has(const std::string& list, const std::string& word) {
  const Words words = split(list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<Unit> units_of(const Options& o) {
  std::vector<Unit> units;
  std::istringstream lines(text_of(o.excluded));
  const std::set<std::string> excluded{std::istream_iterator<std::string>(lines), {}};
  if (has(o.units, "headers") || has(o.units, "folders"))
    for (Unit& unit : header_units(D2V_SOURCE_DIR)) {
      if (excluded.count(unit.name))
        std::printf("%-36s not compiled: needs an optional part that is absent\n", unit.name.c_str());
      else
        units.push_back(std::move(unit));
    }
  if (has(o.units, "folders")) units = folder_units(units);
  Words flags{"-O3", "-DNDEBUG"};
  if (!std::string(D2V_ARCH_FLAG).empty()) flags.push_back(D2V_ARCH_FLAG);
  if (has(o.units, "trainers"))
    for (Unit& unit : trainer_units(D2V_SOURCE_DIR, flags)) units.push_back(std::move(unit));
  if (!o.only.empty()) std::erase_if(units, [&](const Unit& unit) { return !has(o.only, unit.name); });
  return units;
}

/// Measures a unit; one that is over its budget is measured again, as other work on the machine may have been why.
bool measure(Compilers& compilers, const Unit& unit, const Budgets& budgets, Cost& cost, std::string& problem) {
  for (int i = 0; i < 3; ++i) {
    Cost again;
    if (!compilers.measure(unit, again, problem)) return false;
    if (i == 0 || again.cpu < cost.cpu) cost = again;
    problem = budgets.empty() ? "" : over_budget(cost, budgets.of(unit.name));
    if (problem.empty()) return true;
    compilers.measure_reference();
  }
  problem = "over its budget (tests/architecture/budgets.txt): " + problem;
  return false;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text)
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return out + "\"";
}
std::string number(double x, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, x);
  return text;
}

std::string first_line(const Words& command, const fs::path& folder) {
  run_child(command, folder / "version");
  return split(text_of(folder / "version"), '\n').empty() ? "" : split(text_of(folder / "version"), '\n')[0];
}

void write_json(const Options& o, const std::vector<Measured>& all, const fs::path& folder) {
  const Machine m = this_machine();
  std::ofstream out(o.json);
  out << "{\n \"what\": \"cost of compiling a header alone, or the trainer of a model\",\n \"date\": "
      << quoted(today()) << ",\n \"machine\": {\"name\": " << quoted(m.name) << ", \"cpu\": " << quoted(m.cpu)
      << ", \"family\": " << quoted(m.family) << ", \"model\": " << quoted(m.model) << ", \"cores\": " << m.cores
      << ", \"memory_gib\": " << number(m.memory_gib, 1) << ", \"kernel\": " << quoted(m.kernel)
      << "},\n \"commit\": " << quoted(o.commit) << ",\n \"command\": " << quoted(o.command)
      << ",\n \"compiler\": " << quoted(first_line({D2V_CXX, "--version"}, folder))
      << ",\n \"clang\": " << quoted(std::string(D2V_CLANG).empty() ? "" : first_line({D2V_CLANG, "--version"}, folder))
      << ",\n \"flags\": " << quoted("-O3 -DNDEBUG " D2V_ARCH_FLAG) << ",\n \"units\": [\n";
  for (const Measured& x : all) {
    out << "  {\"name\": " << quoted(x.unit.name)
        << ", \"cpu_seconds\": " << number(x.cost.cpu * x.reference_seconds, 2)
        << ", \"references\": " << number(x.cost.cpu, 3) << ", \"peak_bytes\": " << number(x.cost.peak_bytes, 0)
        << ", \"object_bytes\": " << number(x.cost.object_bytes, 0)
        << ", \"instantiations\": " << (std::string(D2V_CLANG).empty() ? "null" : number(x.cost.instantiations, 0))
        << "}" << (&x == &all.back() ? "\n" : ",\n");
  }
  out << " ]\n}\n";
}

void write_budgets(const std::string& file, const std::vector<Measured>& all) {
  std::ofstream out(file);
  out << "# What it costs to compile a header alone (-O0), or the trainer of a model (-O3): measured, written by\n"
         "# `./run bench compile --write`. A unit may take twice that; one without a row twice the dearest of its "
         "folder.\n"
         "# name                                  cpu: times of the reference   memory/MB   object/kB   "
         "instantiations\n";
  for (const Measured& x : all) {
    char line[160];
    std::snprintf(line, sizeof line, "%-36s %8.3f %7.0f %7.1f %7.0f\n", x.unit.name.c_str(), x.cost.cpu,
                  x.cost.peak_bytes / 1e6, x.cost.object_bytes / 1e3, x.cost.instantiations);
    out << line;
  }
}

int run(const Options& o, const fs::path& folder) {
  const Words flags = split(D2V_FLAGS, '|');  // a path may hold a blank
  const bool counts = has(o.use, "clang") && !std::string(D2V_CLANG).empty();
  Compilers compilers(folder, has(o.use, "compiler") ? D2V_CXX : "", counts ? D2V_CLANG : "", flags);
  Budgets budgets;
  if (!o.budgets.empty()) {
    std::ifstream file(o.budgets);
    budgets = Budgets::read(file);
    if (budgets.empty()) return usage("no budgets in '" + o.budgets + "'");
  }
  std::vector<Measured> all;
  int failed = 0;
  const std::vector<Unit> units = units_of(o);
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (i % 24 == 0 && !compilers.measure_reference()) return usage("the reference does not compile");
    if (i == 0) compilers.measure_reference();  // the first compile reads the compiler from disk
    Cost cost;
    std::string problem;
    const bool good = measure(compilers, units[i], budgets, cost, problem);
    failed += !good;
    std::printf("%-36s %6.2f s %6.3f references %5.0f MB %7.1f kB %6.0f instantiations  %s\n", units[i].name.c_str(),
                cost.cpu * compilers.reference_seconds(), cost.cpu, cost.peak_bytes / 1e6, cost.object_bytes / 1e3,
                cost.instantiations, good ? "ok" : ("FAILED: " + problem).c_str());
    std::fflush(stdout);
    all.push_back({units[i], cost, compilers.reference_seconds()});
  }
  std::printf("%zu units, %d failed\n", units.size(), failed);
  if (units.empty() || failed > 0) return 1;
  if (!o.json.empty()) write_json(o, all, folder);
  if (!o.write.empty()) write_budgets(o.write, all);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  const std::map<std::string, std::string Options::*> options{
      {"--units", &Options::units},       {"--use", &Options::use},         {"--only", &Options::only},
      {"--excluded", &Options::excluded}, {"--budgets", &Options::budgets}, {"--write", &Options::write},
      {"--json", &Options::json},         {"--commit", &Options::commit},   {"--command", &Options::command}};
  for (int i = 1; i < argc; i += 2) {
    const auto option = options.find(argv[i]);
    if (option == options.end()) return usage("unknown argument '" + std::string(argv[i]) + "'");
    if (i + 1 == argc) return usage(std::string(argv[i]) + " needs a value");
    o.*option->second = argv[i + 1];
  }
  setenv("CCACHE_DISABLE", "1", 1);  // what is measured is a compilation
  setenv("LC_ALL", "C", 1);
  std::string name = (fs::temp_directory_path() / "compile_cost.XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) return usage("no temporary folder");
  const int status = run(o, name);
  std::error_code none;
  fs::remove_all(name, none);
  return status;
}
