// SPDX-License-Identifier: MIT
// What the results of the benches say of the machine: the keys that bench/peer/compare.py writes.
#pragma once

#include <sys/utsname.h>
#include <unistd.h>

#include <cctype>
#include <cmath>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>

namespace bench {

struct Machine {
  std::string name;  ///< for file names
  std::string cpu, family, model, kernel;
  int cores = 0;
  double memory_gib = 0;
};

inline Machine this_machine() {
  const auto cpuinfo = [](const std::string& key) -> std::string {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      const auto colon = line.find(':');
      if (colon == std::string::npos || colon + 2 > line.size()) continue;
      if (line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1) == key) return line.substr(colon + 2);
    }
    return {};
  };
  utsname system{};
  uname(&system);
  Machine m{.name = {},
            .cpu = cpuinfo("model name"),
            .family = cpuinfo("cpu family"),
            .model = cpuinfo("model"),
            .kernel = system.release,
            .cores = static_cast<int>(std::thread::hardware_concurrency()),
            .memory_gib = 0};
  if (m.cpu.empty()) m.cpu = system.machine;
  const double memory = static_cast<double>(sysconf(_SC_PAGESIZE)) * static_cast<double>(sysconf(_SC_PHYS_PAGES));
  m.memory_gib = std::round(10 * memory / (1 << 30)) / 10;
  for (const char c : m.cpu + " " + m.family + " " + m.model) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u))
      m.name += static_cast<char>(std::tolower(u));
    else if (!m.name.empty() && m.name.back() != '-')
      m.name += '-';
  }
  while (!m.name.empty() && m.name.back() == '-') m.name.pop_back();
  m.name += "-" + std::to_string(m.cores) + "core";
  return m;
}

/// Today by the local clock: 2026-11-24.
inline std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

}  // namespace bench
