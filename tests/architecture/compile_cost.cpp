// SPDX-License-Identifier: MIT
// How the cost of compiling is measured and judged: that what should fail does.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>

#include "bench/compile_cost.hpp"
#include "bench/machine.hpp"

using namespace bench;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "compile_cost_test.XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() {
    std::error_code none;
    fs::remove_all(path, none);
  }
};

Budgets budgets_of(const std::string& text) {
  std::istringstream in(text);
  return Budgets::read(in);
}

}  // namespace

TEST_CASE("compile cost: twice the budget is allowed, more is named with its limit") {
  const Cost budget{.cpu = 2, .peak_bytes = 100e6, .object_bytes = 50e3, .instantiations = 1000};
  CHECK(over_budget(budget, budget).empty());
  CHECK(over_budget({4, 200e6, 100e3, 2000}, budget).empty());
  CHECK(over_budget({4.5, 0, 0, 0}, budget) == "cpu 4.5 > 4");
  CHECK(over_budget({0, 250e6, 0, 0}, budget) == "memory (MB) 250 > 200");
  CHECK(over_budget({0, 0, 101e3, 2001}, budget) == "object (kB) 101 > 100, instantiations 2001 > 2000");
  CHECK(over_budget({0.15, 100e6, 7e3, 900}, {}).empty());  // small numbers are chance
  CHECK(over_budget({0.25, 0, 0, 0}, {}) == "cpu 0.25 > 0.2");
}

TEST_CASE("compile cost: a unit without a row has the budget of the dearest of its folder, or of all") {
  const Budgets budgets = budgets_of(
      "# a comment\n"
      "core/view.hpp 0.5 40 1 100\n"
      "core/error.hpp 0.25 50 2 50\n"
      "device/cpu/linear.hpp 2 300 8 9000\n");
  CHECK(!budgets.empty());
  CHECK(budgets_of("# nothing\n").empty());
  CHECK(budgets.of("core/view.hpp").cpu == 0.5);
  CHECK(budgets.of("core/view.hpp").peak_bytes == 40e6);
  CHECK(budgets.of("core/new.hpp").cpu == 0.5);
  CHECK(budgets.of("core/new.hpp").peak_bytes == 50e6);
  CHECK(budgets.of("core/new.hpp").object_bytes == 2e3);
  CHECK(budgets.of("core/new.hpp").instantiations == 100);
  CHECK(budgets.of("device/new.hpp").instantiations == 9000);
  CHECK(budgets.of("corel/new.hpp").instantiations == 9000);
}

TEST_CASE("compile cost: a process is measured with its children, and its failure is seen") {
  const Folder folder;
  const auto output = folder.path / "output";
  CHECK(run_child({"sh", "-c", "echo said; exit 3"}, output).status == 3);
  CHECK(text_of(output) == "said\n");
  CHECK(run_child({"sh", "-c", "kill -9 $$"}, output).status == -1);
  CHECK(run_child({"no-such-program-of-any-machine"}, output).status != 0);
  const Child idle = run_child({"sh", "-c", "sleep 0.2"}, output);
  const Child busy = run_child({"sh", "-c", "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; true"}, output);
  CHECK(idle.status == 0);
  CHECK(idle.cpu_seconds < 0.2);  // time asleep is not processor time
  CHECK(busy.cpu_seconds > idle.cpu_seconds);
  CHECK(busy.peak_bytes > 1e5);
}

TEST_CASE("compile cost: what does not compile is reported with what the compiler says") {
  const Folder folder;
  Compilers compilers(folder.path, "sh", "", {"-c", "echo wrong thing; exit 1"});  // stands in for a compiler
  Cost cost;
  std::string problem;
  CHECK(!compilers.measure({"a.hpp", "int main;\n"}, cost, problem));
  CHECK(problem == "wrong thing\n");
}

TEST_CASE("compile cost: the units are every header and the trainer of every published model") {
  const fs::path root = D2V_SOURCE_DIR;
  std::set<std::string> names;
  for (const auto& units : {header_units(root), trainer_units(root, {"-O3"})})
    for (const Unit& unit : units) CHECK(names.insert(unit.name).second);
  for (const char* name : {"data2vec.hpp", "core/view.hpp", "device/cpu/linear.hpp", "trainer/VisionBase",
                           "trainer/VisionLarge", "trainer/VisionHuge", "trainer/VisionHuge14", "trainer/tiny28"})
    CHECK(names.count(name) == 1);
  std::size_t together = 0;  // what clang checks by folders is every header once
  for (const Unit& folder : folder_units(header_units(root)))
    for (auto at = folder.source.find("#include"); at != std::string::npos; at = folder.source.find("#include", at + 1))
      ++together;
  CHECK(together == header_units(root).size());
  // The representative units that the tests compile have rows of their own.
  std::istringstream in(text_of(root / "tests/architecture/budgets.txt"));
  const Budgets budgets = Budgets::read(in);
  for (const char* name : {"trainer/VisionBase", "trainer/tiny28"}) CHECK(budgets.of(name).instantiations > 0);
}

TEST_CASE("bench machine: what results say of it") {
  const Machine m = this_machine();
  CHECK(m.cores >= 1);
  CHECK(m.memory_gib > 0);
  CHECK(!m.cpu.empty());
  CHECK(m.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos);
  CHECK(m.name.ends_with(std::to_string(m.cores) + "core"));
  CHECK(today().size() == 10);
}
