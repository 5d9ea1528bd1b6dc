// SPDX-License-Identifier: MIT
// JSON files of the example programs.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <data2vec/io/file.hpp>
#include <data2vec/io/json.hpp>

namespace demo {

namespace d2v = data2vec;

/// Writes a JSON file, whole or not at all.
inline void write_json(const std::string& path, const d2v::Json& json) {
  const std::string text = json.dump(1) + "\n";
  d2v::AtomicFile file(path, text.size());
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

inline d2v::Json read_json(const std::string& path) {
  const std::vector<std::byte> bytes = d2v::read_file(path);
  return d2v::parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

}  // namespace demo
