// SPDX-License-Identifier: MIT
// The parts of a demo: each is a function of weights and options, is kept in parts.json as soon as it is complete, and
// is not done again by --resume.
#pragma once

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/program.hpp"

namespace demo {

/// Ends a demo whose signal came; what is complete is kept.
struct Stopped {};

/// Results by name, in a file that is written anew behind every part.
class Parts {
 public:
  explicit Parts(const std::string& folder, bool resume) : path_(folder + "/parts.json") {
    if (resume && std::filesystem::exists(path_)) {
      json_ = read_json(path_);
    } else {
      std::filesystem::remove(path_);
      json_ = {{"seconds", d2v::Json::object()}, {"alarms", d2v::Json::array()}, {"results", d2v::Json::object()}};
    }
  }

  /// The result of a part: what is kept, or what `make()` returns. Its line says `text(result)` and the seconds. Throws
  /// Stopped when a signal came before it was complete.
  template <class Make, class Text>
  const d2v::Json& operator()(const std::string& name, Make&& make, Text&& text) {
    d2v::Json& results = json_["results"];
    if (!results.contains(name)) {
      if (interrupted) throw Stopped{};
      const auto start = std::chrono::steady_clock::now();
      d2v::Json result = make();
      if (interrupted) throw Stopped{};
      results[name] = std::move(result);
      add_seconds(name, seconds_since(start));
    }
    std::printf("%-46s %s  [%.1f s]\n", name.c_str(), std::string(text(results[name])).c_str(), seconds(name));
    std::fflush(stdout);
    return results[name];
  }

  /// Adds to what a part took, and writes the file.
  void add_seconds(const std::string& name, double seconds) {
    json_["seconds"][name] = this->seconds(name) + seconds;
    write_json(path_, json_);
  }
  void add_alarms(const std::vector<std::string>& alarms) {
    for (const std::string& alarm : alarms) json_["alarms"].push_back(alarm);
  }

  double seconds(const std::string& name) const { return json_["seconds"].value(name, 0.0); }
  const d2v::Json& results() const { return json_["results"]; }
  const d2v::Json& all_seconds() const { return json_["seconds"]; }
  const d2v::Json& alarms() const { return json_["alarms"]; }

 private:
  std::string path_;
  d2v::Json json_;
};

}  // namespace demo
