// SPDX-License-Identifier: MIT
// Programs as processes: what they say, how they end, and what they do with a signal.
#pragma once

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <data2vec/io/safetensors.hpp>

namespace processes {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

inline std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}
inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
inline long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

/// A folder that goes away.
struct Folder {
  fs::path path;
  explicit Folder(const std::string& name)
      : path(fs::temp_directory_path() / ("data2vec_" + name + "_" + std::to_string(::getpid()))) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

struct Ended {
  int status = 0;  ///< 128 + signal where one ended it
  std::string out, err;
};

/// Runs a program of D2V_PROGRAMS. Once its output holds `until`, it gets `signal`.
inline Ended run(const Folder& folder, Strings command, const std::string& until = "", int signal = SIGTERM) {
  const std::string out = folder / "stdout", err = folder / "stderr";
  command[0] = std::string(D2V_PROGRAMS) + "/" + command[0];
  fs::remove(out), fs::remove(err);  // `until` must not be found in what the last one said
  const pid_t child = ::fork();
  if (child == 0) {
    for (const auto& [number, name] : {std::pair(1, out), std::pair(2, err)})
      ::dup2(::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), number);
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  int status = 0;
  if (!until.empty()) {
    while (::waitpid(child, &status, WNOHANG) == 0) {
      if (contains(text_of(out), until)) {
        ::kill(child, signal);
        ::waitpid(child, &status, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  } else {
    ::waitpid(child, &status, 0);
  }
  return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), text_of(out), text_of(err)};
}

/// A safetensors file written again with other metadata or bytes.
inline void rewrite(const std::string& from, const std::string& to, auto&& change) {
  const auto file = data2vec::SafetensorsFile::open(from);
  std::vector<std::vector<std::byte>> data;
  std::vector<data2vec::Tensor> tensors(file.begin(), file.end());
  data2vec::SafetensorsMetadata metadata(file.metadata().begin(), file.metadata().end());
  for (data2vec::Tensor& tensor : tensors) {
    data.emplace_back(tensor.data.begin(), tensor.data.end());
    tensor.data = data.back();
  }
  change(data, metadata);
  data2vec::write_safetensors(to, tensors, metadata);
}

}  // namespace processes
