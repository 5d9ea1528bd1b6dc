// SPDX-License-Identifier: MIT
// What every report of a demo says: the machine, and the learning curve from the log.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/utsname.h>

#include <data2vec/evaluation/report.hpp>

#include "examples/common/program.hpp"

namespace demo {

/// What a report says of the machine and the program.
inline void describe_machine(d2v::RunReport& report, int threads, const std::string& commit) {
  utsname host{};
  ::uname(&host);
  report.machine = std::string(host.sysname) + " " + host.machine + ", " +
                   std::to_string(std::thread::hardware_concurrency()) + " processors";
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; report.cpu.empty() && std::getline(file, line);)
    if (line.starts_with("model name")) report.cpu = line.substr(std::min(line.find(':') + 2, line.size()));
  report.threads = std::to_string(threads);
  report.isa = d2v::isa::Native::name;
  report.commit = (commit.empty() ? "" : commit + ", ") + "version " + d2v::version;
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
  report.date = text;
}

/// The learning curve of a log as run_loop writes it.
inline std::vector<d2v::CurvePoint> curve_of(const std::string& log) {
  std::vector<d2v::CurvePoint> curve;
  std::ifstream in(log);
  for (std::string line; std::getline(in, line);) {
    const d2v::Json json = d2v::parse_json(line, log);
    const auto number = [&](const char* key) {
      return json.contains(key) && json[key].is_number() ? json[key].get<double>() : d2v::not_measured;
    };
    curve.push_back({.update = json.at("update").get<std::int64_t>(),
                     .loss = number("loss"),
                     .target_var = number("target_var"),
                     .pred_var = number("pred_var"),
                     .gradient_norm = number("gradient_norm"),
                     .learning_rate = number("learning_rate")});
  }
  return curve;
}

}  // namespace demo
