// SPDX-License-Identifier: MIT
// Fine-tuning runs of several starts and seeds in one folder: each is kept in results.json as soon as it is complete,
// and --resume goes on behind what is there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/io/lock.hpp>

#include "examples/common/files.hpp"
#include "examples/common/program.hpp"

namespace demo {

class TuningRuns {
 public:
  /// `described`: the options, by their names, that a resumed folder must have been begun with; `facts`: what else must
  /// be the same (how many samples there are), and is written beside them. Throws FileError for a folder with results
  /// unless it is resumed, UsageError and MismatchError for results of other options or facts.
  TuningRuns(const std::string& out, bool resume, d2v::Json described, d2v::Json facts)
      : out_(made(out)), lock_(out_), path_(out_ + "/results.json"), described_(std::move(described)),
        facts_(std::move(facts)) {
    if (std::filesystem::exists(path_)) {
      if (!resume)
        throw d2v::FileError(path_, "expected a folder without results, found some: --resume goes on from them");
      take(read_json(path_));
    }
    keep();  // what is resumed must have these options, from the first run on
  }

  const std::string& file() const { return path_; }
  const d2v::Json& runs() const { return runs_; }

  /// The result of a run, or null.
  const d2v::Json* find(const std::string& start, std::uint64_t seed) const {
    for (const d2v::Json& run : runs_)
      if (run.at("start") == start && run.at("seed") == seed) return &run;
    return nullptr;
  }

  /// Calls make(start, seed, folder) for each run that is not there yet: it trains in the folder, whose checkpoint is
  /// removed when the run is complete, and returns the result, or null when a signal came. Returns whether all are
  /// complete.
  template <class Make>
  bool complete(const std::vector<std::string>& starts, std::uint64_t first, int seeds, Make&& make) {
    for (std::uint64_t seed = first; seed < first + static_cast<std::uint64_t>(seeds); ++seed)
      for (const std::string& start : starts) {
        const std::string folder = folder_of(start, seed);
        if (!find(start, seed)) {
          d2v::Json result = make(start, seed, folder);
          if (result.is_null()) {
            std::printf("%zu complete runs are saved; --resume goes on from there\n", runs_.size());
            return false;
          }
          result["start"] = start, result["seed"] = seed;
          runs_.push_back(std::move(result));
          keep();
        }
        std::error_code error;
        std::filesystem::remove(folder + "/checkpoint.safetensors", error);  // large, and of use no more
      }
    return true;
  }

 private:
  static std::string made(const std::string& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw d2v::FileError(folder, "cannot make this folder: " + error.message());
    return folder;
  }
  std::string folder_of(const std::string& start, std::uint64_t seed) const {
    return out_ + "/" + (start == "pre-trained" ? "classifier" : "from-scratch") + "-seed" + std::to_string(seed);
  }

  void take(const d2v::Json& kept) {
    if (!kept.contains("options") || !kept.contains("runs"))
      throw d2v::FileError(path_, "expected results of this program, found something else");
    for (const auto& [name, value] : described_.items()) {
      const d2v::Json before = kept["options"].value(name, d2v::Json());
      std::string flag = "--" + name;
      std::replace(flag.begin(), flag.end(), '_', '-');
      if (before != value)
        throw UsageError(flag + ": expected " + before.dump() + ", with which " + path_ + " began, found " +
                         value.dump());
    }
    for (const auto& [name, value] : facts_.items())
      if (kept.value(name, d2v::Json()) != value)
        throw d2v::MismatchError(name + ": expected " + kept.value(name, d2v::Json()).dump() + ", with which " +
                                 path_ + " began, found " + value.dump());
    runs_ = kept["runs"];
  }
  void keep() const {
    d2v::Json all = {{"options", described_}, {"runs", runs_}};
    all.update(facts_);
    write_json(path_, all);
  }

  std::string out_;
  d2v::FolderLock lock_;
  std::string path_;
  d2v::Json described_, facts_, runs_ = d2v::Json::array();
};

}  // namespace demo
