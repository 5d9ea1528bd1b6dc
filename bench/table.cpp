// SPDX-License-Identifier: MIT
// Writes the pages and drawings of bench/results and the marked blocks of README.md and docs/performance.md from the
// JSON files of bench/results. Without an argument those of the sources it was compiled from.
#include <cstdio>
#include <iostream>
#include <span>

#include <data2vec/io/file.hpp>

#include "bench/table.hpp"

int main(int argc, char** argv) {
  using namespace bench::tables;
  try {
    const fs::path root = argc > 1 ? argv[1] : D2V_SOURCE_DIR;
    for (const auto& [name, content] : generated_files(root)) {
      const fs::path path = root / name;
      if (fs::exists(path) && text_of(path) == content) continue;
      d2v::AtomicFile file(path.string(), content.size());
      file.write(std::as_bytes(std::span(content)));
      file.commit();
      std::printf("%s\n", name.c_str());
    }
  } catch (const std::exception& error) {
    std::cerr << "table: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
