// SPDX-License-Identifier: MIT
// What the benches measure with: wall, processor and run-queue seconds as bench/peer/peer_timing.py takes them, what
// the machine says of itself, and how many multiply-adds its cores can do.
#pragma once

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <data2vec/device/cpu/threads.hpp>
#include <data2vec/device/cpu/vec.hpp>

namespace bench {

namespace d2v = data2vec;

inline double clock_seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Seconds since the kernel started this process (Linux), to 10 ms; 0 where it does not say.
inline double process_age() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  text.erase(0, text.rfind(')') + 1);  // the name before it may hold spaces
  const char* at = text.c_str();
  for (int field = 2; field < 21 && *at != '\0'; ++field)  // starttime is field 22, the name field 2
    at = std::find(at + 1, text.c_str() + text.size(), ' ');
  const double ticks = std::atof(at);
  return ticks > 0 ? clock_seconds(CLOCK_BOOTTIME) - ticks / static_cast<double>(sysconf(_SC_CLK_TCK)) : 0;
}

/// Seconds that this process's threads have waited for a core so far (Linux): shows a shared machine.
inline double queue_wait() {
  double nanoseconds = 0, running = 0, waiting = 0;
  std::error_code none;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", none))
    if (std::ifstream(task.path() / "schedstat") >> running >> waiting) nanoseconds += waiting;
  return 1e-9 * nanoseconds;
}

inline std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.find(':') + 2, line.size()));
  return "unknown";
}

/// Most memory that was resident at any time.
inline double peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

/// Seconds of one call: wall, processor time of all threads, time that threads waited for a core.
using Seconds = std::array<double, 3>;

struct Measured {
  std::vector<Seconds> calls;         ///< after the warm-up
  double first = 0;                   ///< wall seconds of the very first call
  double process_start_to_first = 0;  ///< from the start of the process to that call's end
};

struct Spread {
  double min, median, max;
};
inline Spread spread(const Measured& measured, std::size_t column) {
  std::vector<double> v;
  for (const Seconds& call : measured.calls) v.push_back(call[column]);
  std::sort(v.begin(), v.end());
  return {v.front(), 0.5 * (v[(v.size() - 1) / 2] + v[v.size() / 2]), v.back()};
}

/// Calls run() `warmup` + `steps` times, steps >= 1; stops early once `budget` seconds (0: none) are spent after the
/// warm-up.
template <class F>
Measured measure(F&& run, int warmup, int steps, double budget) {
  Measured measured;
  double begun = 0;
  for (int i = 0; i < warmup + steps; ++i) {
    const double wall = clock_seconds(CLOCK_MONOTONIC);
    if (i <= warmup) begun = wall;
    const double wait = queue_wait(), cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    const double from = clock_seconds(CLOCK_MONOTONIC);
    run();
    const double to = clock_seconds(CLOCK_MONOTONIC);
    const Seconds call{to - from, clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, queue_wait() - wait};
    if (i == 0) {
      measured.first = call[0];
      measured.process_start_to_first = process_age();
    }
    if (i < warmup) continue;
    measured.calls.push_back(call);
    if (budget > 0 && to - begun > budget) break;
  }
  return measured;
}

/// Floating-point operations per second of `threads` cores that do nothing but multiply and add in registers: the best
/// of many bursts of some milliseconds, so that other work on the machine shows little.
template <class Isa>
double fma_peak(int threads) {
  using L = d2v::Lanes<float, Isa>;
  constexpr int chains = 12;  // more than latency times units, fewer than registers of any set
  constexpr int rounds = 500'000, bursts = 30;
  d2v::ThreadTeam team(threads);
  std::vector<float> sink(static_cast<std::size_t>(team.size()) * 16);
  double best = 0;
  for (int burst = 0; burst < bursts; ++burst) {
    const double begun = clock_seconds(CLOCK_MONOTONIC);
    team.run([&](int thread) {
      const auto factor = L::all(1 - 1e-6f * static_cast<float>(burst)), addend = L::all(1e-6f);
      typename L::V sums[chains];
      for (int c = 0; c < chains; ++c) sums[c] = L::all(static_cast<float>(c));
      for (int i = 0; i < rounds; ++i)
        for (int c = 0; c < chains; ++c) sums[c] = L::fma(sums[c], factor, addend);
      for (int c = 1; c < chains; ++c) sums[0] += sums[c];
      sink[static_cast<std::size_t>(thread) * 16] += sums[0][0];
    });
    const double work = 2.0 * chains * L::size * rounds * team.size();
    best = std::max(best, work / (clock_seconds(CLOCK_MONOTONIC) - begun));
  }
  volatile float keep = sink[0];  // the sums are used
  static_cast<void>(keep);
  return best;
}

}  // namespace bench
