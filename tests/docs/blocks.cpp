// SPDX-License-Identifier: MIT
// Every code block of README.md and docs/ stands, line for line, in a file that is compiled.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
const fs::path root = D2V_SOURCE_DIR;

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

struct Block {
  std::string language, where;
  std::vector<std::string> lines;
};

std::vector<Block> blocks_of(const fs::path& page) {
  std::vector<Block> blocks;
  const auto lines = lines_of(page);
  bool inside = false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].rfind("```", 0) == 0) {
      if (!inside) blocks.push_back({lines[i].substr(3), page.filename().string() + ":" + std::to_string(i + 1), {}});
      inside = !inside;
    } else if (inside) {
      blocks.back().lines.push_back(lines[i]);
    }
  }
  CHECK_MESSAGE(!inside, page.string() << ": a code block is not closed");
  return blocks;
}

std::string without_indent(const std::string& line, std::size_t indent) {
  return line.size() >= indent ? line.substr(indent) : std::string();
}

/// Whether the block's lines follow one another in the file, all indented by the same number of blanks more.
bool contains(const std::vector<std::string>& file, const std::vector<std::string>& block) {
  for (std::size_t start = 0; start + block.size() <= file.size(); ++start) {
    const std::size_t at = file[start].find_first_not_of(' '), own = block[0].find_first_not_of(' ');
    if (at == std::string::npos || own == std::string::npos || at < own) continue;
    bool equal = true;
    for (std::size_t i = 0; equal && i < block.size(); ++i)
      equal = without_indent(file[start + i], at - own) == block[i];
    if (equal) return true;
  }
  return false;
}

std::vector<fs::path> pages() {
  std::vector<fs::path> found{root / "README.md"};
  for (const auto& entry : fs::directory_iterator(root / "docs"))
    if (entry.path().extension() == ".md") found.push_back(entry.path());
  return found;
}

std::vector<fs::path> compiled(const std::string& language) {
  std::vector<fs::path> found;
  for (const char* folder : {"examples", "tests/docs", "tests/consumer", "tests/compile_fail"})
    if (fs::exists(root / folder))
      for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
        const auto extension = entry.path().extension();
        const bool code = extension == ".cpp" || extension == ".hpp";
        if (language == "cmake" ? entry.path().filename() == "CMakeLists.txt" : code) found.push_back(entry.path());
      }
  return found;
}

}  // namespace

TEST_CASE("code blocks of README.md and docs are compiled files") {
  int checked = 0;
  for (const fs::path& page : pages())
    for (const Block& block : blocks_of(page)) {
      if (block.language != "cpp" && block.language != "cmake") continue;
      REQUIRE_MESSAGE(!block.lines.empty(), block.where << ": empty block");
      bool found = false;
      for (const fs::path& file : compiled(block.language)) found = found || contains(lines_of(file), block.lines);
      CHECK_MESSAGE(found, block.where << ": no compiled file contains this block");
      ++checked;
    }
  CHECK(checked >= 8);
}
