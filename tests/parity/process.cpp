// SPDX-License-Identifier: MIT
// Child processes and the cache of programs; see process.hpp.
#include "process.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace data2vec::parity {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double compile_timeout = 300;          // seconds
std::atomic<pid_t> children[256];                // process groups, for the signal handler

void on_signal(int signal) {
  for (auto& child : children)
    if (const pid_t group = child.load(); group > 0) ::kill(-group, SIGKILL);
  ::_exit(128 + signal);
}

std::atomic<pid_t>* remember(pid_t child) {
  for (auto& slot : children) {
    pid_t none = 0;
    if (slot.compare_exchange_strong(none, child)) return &slot;
  }
  return nullptr;                                // more than 256 at once: this one outlives a signal
}

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// 128 bits of FNV-1a (Fowler, Noll, Vo) as hexadecimal digits, in two runs from different starts.
std::string hash_of(const std::string& text) {
  std::string digits;
  for (const std::uint64_t start : {std::uint64_t{0xcbf29ce484222325}, std::uint64_t{0x84222325cbf29ce4}}) {
    std::uint64_t hash = start;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    for (int shift = 60; shift >= 0; shift -= 4) digits += "0123456789abcdef"[hash >> shift & 15];
  }
  return digits;
}

std::string cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path base = cache && *cache ? fs::path(cache) : home && *home ? fs::path(home) / ".cache"
                                                                          : fs::temp_directory_path();
  return (base / "data2vec" / "parity").string();
}

/// The compiler's first error lines, at most six.
std::string first_errors(const std::string& output) {
  std::istringstream lines(output);
  std::string line, text;
  int count = 0;
  while (count < 6 && std::getline(lines, line)) {
    if (line.find("error") == line.npos && line.find("undefined reference") == line.npos) continue;
    if (count++ > 0) text += '\n';
    text += line.substr(0, 400);
  }
  return count ? text : output.substr(0, 1000);
}

}  // namespace

void kill_children_on_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGHUP, SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

Outcome run_process(const std::vector<std::string>& command, double timeout) {
  constexpr std::size_t most_output = 256 * 1024;
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const auto start = Clock::now();
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {                              // only calls that are safe after fork
    ::setpgid(0, 0);
    for (const int signal : {SIGHUP, SIGINT, SIGTERM}) ::signal(signal, SIG_DFL);
    ::dup2(pipe_ends[1], 1);
    ::dup2(pipe_ends[1], 2);
    ::execvp(arguments[0], arguments.data());
    static constexpr char message[] = "cannot be started\n";
    if (::write(2, message, sizeof message - 1) < 0) ::_exit(126);
    ::_exit(127);
  }
  ::setpgid(child, child);
  auto* slot = remember(child);
  ::close(pipe_ends[1]);
  Outcome outcome;
  const auto kill_late = [&] {
    if (outcome.timed_out || since(start) < timeout) return;
    outcome.timed_out = true;
    ::kill(-child, SIGKILL);
  };
  char buffer[4096];
  for (;;) {
    pollfd wait{pipe_ends[0], POLLIN, 0};
    if (::poll(&wait, 1, 100) > 0) {
      const ssize_t count = ::read(pipe_ends[0], buffer, sizeof buffer);
      if (count == 0 || (count < 0 && errno != EINTR)) break;
      if (count > 0 && outcome.output.size() < most_output)
        outcome.output.append(buffer, static_cast<std::size_t>(count));
    }
    kill_late();
  }
  ::close(pipe_ends[0]);
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {  // it may have closed its output and live on
    kill_late();
    ::usleep(2000);
  }
  if (slot) slot->store(0);
  outcome.seconds = since(start);
  outcome.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return outcome;
}

Toolchain Toolchain::of_build() {
  const auto words = [](const char* joined) {     // separated by |, since paths may hold spaces
    std::istringstream text(joined);
    std::vector<std::string> found;
    for (std::string word; std::getline(text, word, '|');)
      if (!word.empty()) found.push_back(word);
    return found;
  };
  return {D2V_PARITY_COMPILER, words(D2V_PARITY_FLAGS), D2V_PARITY_SOURCES, D2V_PARITY_INCLUDE, D2V_PARITY_LIBRARY,
          words(D2V_PARITY_DEVICE), words(D2V_PARITY_DEVICE_LINK)};
}

ProgramCache::ProgramCache(Toolchain toolchain, bool keep)
    : tools_(std::move(toolchain)), keep_(keep), folder_(cache_folder()) {
  std::vector<std::string> macros{tools_.compiler};
  macros.insert(macros.end(), tools_.flags.begin(), tools_.flags.end());
  for (const char* flag : {"-dM", "-E", "-x", "c++", "/dev/null"}) macros.emplace_back(flag);
  const Outcome outcome = run_process(macros, 60);   // the compiler's version, and what -march=native means here
  if (outcome.status != 0) throw std::runtime_error("the compiler " + tools_.compiler + " fails: " + outcome.output);
  dependencies_ = outcome.output;
  for (const auto* const flags : {&tools_.flags, &tools_.device, &tools_.device_link})
    for (const std::string& flag : *flags) dependencies_ += flag + '\n';
  std::vector<fs::path> headers;
  for (const auto& entry : fs::recursive_directory_iterator(tools_.include))
    if (entry.is_regular_file()) headers.push_back(entry.path());
  for (const auto& entry : fs::directory_iterator(tools_.sources))
    if (entry.path().extension() == ".hpp" || entry.path().extension() == ".cuh") headers.push_back(entry.path());
  std::sort(headers.begin(), headers.end());
  for (const fs::path& header : headers) dependencies_ += header.string() + '\n' + read_text(header);
  dependencies_ += read_text(tools_.library);
  fs::create_directories(folder_);
  std::error_code error;
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(24 * 14);
  for (const auto& entry : fs::directory_iterator(folder_))
    if (fs::last_write_time(entry.path(), error) < old) fs::remove_all(entry.path(), error);
}

Program ProgramCache::get(const std::string& source, const std::string& device_source) const {
  const fs::path folder = fs::path(folder_) / hash_of(source + '\n' + device_source + '\n' + dependencies_),
                 binary = folder / "case";
  std::error_code error;
  if (fs::exists(binary, error)) {
    fs::last_write_time(folder, fs::file_time_type::clock::now(), error);
    return {binary.string(), "", 0};
  }
  const fs::path work = folder.string() + ".tmp" + std::to_string(::getpid());
  fs::create_directories(work);
  std::ofstream(work / "case.cpp") << source;
  Outcome outcome;
  std::vector<std::string> command{tools_.compiler};
  command.insert(command.end(), tools_.flags.begin(), tools_.flags.end());
  command.insert(command.end(), {"-I" + tools_.sources, "-I" + tools_.include, (work / "case.cpp").string(), "-o",
                                 (work / "case").string()});
  double device_seconds = 0;
  if (!device_source.empty()) {
    const std::string object = (work / "device.o").string();
    std::ofstream(work / "device.cu") << device_source;
    std::vector<std::string> device = tools_.device;
    device.insert(device.end(), {"-I" + tools_.sources, "-I" + tools_.include, "-c", (work / "device.cu").string(), "-o",
                                 object});
    outcome = run_process(device, compile_timeout);
    device_seconds = outcome.seconds;
    command.push_back(object);
  }
  command.push_back(tools_.library);
  if (!device_source.empty()) command.insert(command.end(), tools_.device_link.begin(), tools_.device_link.end());
  command.push_back("-pthread");
  if (outcome.status == 0 && !outcome.timed_out) outcome = run_process(command, compile_timeout);
  outcome.seconds += device_seconds;
  Program program{"", "", outcome.seconds};
  if (outcome.status == 0) {
    fs::rename(work, folder, error);              // fails if another process was faster: its program is the same
    if (fs::exists(binary)) program.path = binary.string();
    else program.error = "cannot write " + folder.string() + ": " + error.message();
  } else if (outcome.timed_out) {
    program.error = "compiling took more than " + std::to_string(static_cast<int>(compile_timeout)) + " s";
  } else {
    program.error = outcome.status > 128 ? "the compiler was killed by " + signal_name(outcome.status - 128)
                                         : first_errors(outcome.output);
  }
  if (keep_ && program.path.empty()) program.error += "\nkept: " + work.string();
  else fs::remove_all(work, error);
  return program;
}

}  // namespace data2vec::parity
