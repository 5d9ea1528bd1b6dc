// SPDX-License-Identifier: MIT
// What the programs say of a training's memory before it begins, against what the kernel saw: of tiny28, for one thread
// and for two.
#include <doctest/doctest.h>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "bench/configs.hpp"
#include "examples/common/program.hpp"

namespace {

using Tiny = bench::Model<bench::Tiny28>;
constexpr int batch = 32;

/// A line of /proc/self/status in bytes: VmRSS is resident now, VmHWM at most so far.
double status_bytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key + ":")) return 1024 * std::stod(line.substr(key.size() + 1));
  return 0;
}

/// The planner's bytes, from its text: "memory: ... (A of weights, ..., threads x B of workspace, ...".
double planned_bytes(int threads) {
  const std::string text = demo::plan_text<Tiny>(batch, threads, 0);
  const auto begin = text.rfind('(');
  REQUIRE(begin != std::string::npos);
  double state = 0, own = 0;
  int found = 0;
  REQUIRE(std::sscanf(text.c_str() + begin, "(%lf of weights, teacher, gradient and moments, %d x %lf of workspace",
                      &state, &found, &own) == 3);
  REQUIRE(found == threads);
  return 1e6 * (state + threads * own);
}

/// Resident growth of a process that trains, from before its trainer exists to the most there was, without the pages of
/// the program's file that are touched meanwhile.
double seen_bytes(int threads) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);  // pages of 4 KiB, whatever the machine is set to
    std::vector<float> samples(static_cast<std::size_t>(batch) * Tiny::First::M::sample_size, 0.5f);
    std::vector<std::uint32_t> ids(batch);
    std::iota(ids.begin(), ids.end(), 0u);
    const double before = status_bytes("VmRSS") - status_bytes("RssFile");
    bench::d2v::Trainer<Tiny, bench::d2v::Cpu> trainer(bench::options_of<Tiny>(threads));
    for (int i = 0; i < 2; ++i) trainer.step({samples, ids});
    const double grown = status_bytes("VmHWM") - status_bytes("RssFile") - before;
    _exit(write(ends[1], &grown, sizeof grown) == sizeof grown ? 0 : 1);
  }
  double grown = 0;
  int status = 0;
  close(ends[1]);
  const bool told = read(ends[0], &grown, sizeof grown) == sizeof grown;
  close(ends[0]);
  waitpid(child, &status, 0);
  REQUIRE(told);
  REQUIRE(status == 0);
  return grown;
}

}  // namespace

TEST_CASE("the planner's memory is within 5 % of what a training of tiny28 takes") {
  for (const int threads : {1, 2}) {
    const double planned = planned_bytes(threads), seen = seen_bytes(threads);
    CAPTURE(threads);
    CAPTURE(planned);
    CAPTURE(seen);
    CHECK(std::abs(planned / seen - 1) < 0.05);
  }
}
