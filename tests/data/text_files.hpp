// SPDX-License-Identifier: MIT
// Text files for the tests of data/: a folder that goes away, what an error says, and bytes without end.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include <data2vec/core/error.hpp>
#include <data2vec/core/random.hpp>

namespace text_files {

struct Folder {
  std::filesystem::path path;
  explicit Folder(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("d2v_" + name + "_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string text() const { return path.string(); }
  std::string write(const std::string& name, std::string_view content) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << content;
    return (path / name).string();
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

/// What the library's exception says; empty if there is none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const data2vec::Error& error) {
    return error.what();
  }
  return "";
}

/// `size` characters of `alphabet`; the same for the same seed.
inline std::string noise(std::size_t size, std::uint64_t seed, std::string_view alphabet) {
  data2vec::Rng rng({.seed = seed});
  std::string text(size, ' ');
  for (char& c : text) c = alphabet[rng.below(static_cast<std::uint32_t>(alphabet.size()))];
  return text;
}

/// The same of all 256 bytes.
inline std::string any_bytes(std::size_t size, std::uint64_t seed) {
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(static_cast<unsigned char>(b));
  return noise(size, seed, all);
}

/// The folder `what` of D2V_SHARED, or an empty string.
inline std::string shared(const std::string& what) {
  namespace fs = std::filesystem;
  const char* const given = std::getenv("D2V_SHARED");
  for (const fs::path& folder : {fs::path(given ? given : ""), fs::path(D2V_SOURCE_DIR) / ".." / "shared",
                                 fs::path(D2V_SOURCE_DIR) / "shared"})
    if (!folder.empty() && fs::exists(folder / what)) return (folder / what).string();
  return "";
}

/// A line of the test vectors of a BPE.
struct Vector {
  std::string tag, text;
  std::vector<std::int32_t> gpt2, fairseq;
};

inline std::vector<Vector> read_vectors(const std::string& path) {
  std::ifstream in(path);
  std::vector<Vector> vectors;
  std::string line;
  std::getline(in, line);  // the header
  while (std::getline(in, line)) {
    std::vector<std::string> fields(1);
    for (const char c : line)
      if (c == '\t') fields.emplace_back();
      else fields.back() += c;
    const auto ids = [](const std::string& text) {
      std::vector<std::int32_t> numbers;
      const char* at = text.c_str();
      for (char* end = nullptr; *at != '\0'; at = end) numbers.push_back(static_cast<int>(std::strtol(at, &end, 10)));
      return numbers;
    };
    Vector v{fields.at(0), "", ids(fields.at(2)), ids(fields.at(3))};
    for (std::size_t i = 0; i < fields[1].size(); i += 2)
      v.text += static_cast<char>(std::stoi(fields[1].substr(i, 2), nullptr, 16));
    vectors.push_back(v);
  }
  return vectors;
}

}  // namespace text_files
