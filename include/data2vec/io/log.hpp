// SPDX-License-Identifier: MIT
// A log of JSON lines: one object a line, one line an update, complete lines only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <data2vec/io/file.hpp>
#include <data2vec/io/json.hpp>

namespace data2vec::inline v0 {

/// Appends to a file. On resume, lines of updates from `first` on (by their key "update") and an incomplete last line
/// are dropped: the interrupted training did them, the resumed one does them again. Throws FileError.
class JsonLog {
 public:
  JsonLog(const std::string& path, std::int64_t first) : path_(path) {
    if (std::filesystem::exists(path)) keep_before(first);
    out_.open(path, std::ios::app);
    if (!out_) throw FileError(path, "cannot open for writing");
  }

  void write(const Json& line) {
    out_ << line.dump() << '\n';
    out_.flush();
    if (!out_) throw FileError(path_, "cannot write a line (is the disk full?)");
  }

 private:
  void keep_before(std::int64_t first) const {
    std::ifstream in(path_);
    std::string kept;
    for (std::string line; std::getline(in, line) && !in.eof();) {
      const Json json = parse_json(line, path_);
      if (!json.contains("update") || json["update"].get<std::int64_t>() < first) kept += line + "\n";
    }
    AtomicFile file(path_, kept.size());
    file.write(std::as_bytes(std::span(kept)));
    file.commit();
  }

  std::string path_;
  std::ofstream out_;
};

}  // namespace data2vec::inline v0
