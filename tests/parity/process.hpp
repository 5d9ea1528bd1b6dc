// SPDX-License-Identifier: MIT
// Child processes with a time limit, and the cache of compiled programs.
#pragma once

#include <string>
#include <vector>

namespace data2vec::parity {

/// How a child process ended.
struct Outcome {
  int status = 0;          ///< exit status; 128 + signal if it was killed
  bool timed_out = false;
  double seconds = 0;
  std::string output;      ///< stdout and stderr, at most the first 256 KiB
};

/// Runs a program and waits; after `timeout` seconds it and its children are killed. Callable from many threads.
Outcome run_process(const std::vector<std::string>& command, double timeout);

/// On SIGHUP, SIGINT and SIGTERM: kills the children and ends this process with 128 + signal.
void kill_children_on_signals();

/// The name of a signal, "SIGSEGV".
std::string signal_name(int signal);

/// How the sources of cases are compiled; set by the build.
struct Toolchain {
  std::string compiler;
  std::vector<std::string> flags;          ///< of compiling and linking
  std::string sources;                     ///< the folder of tests/parity
  std::string include;                     ///< the library's include folder
  std::string library;                     ///< the static library parity_support
  std::vector<std::string> device;         ///< what compiles the half of a program for a GPU, with its flags; empty: no CUDA
  std::vector<std::string> device_link;    ///< flags of linking with it
  static Toolchain of_build();
};

/// A compiled program, or why there is none.
struct Program {
  std::string path;        ///< empty if it does not compile
  std::string error;       ///< the first error lines of the compiler
  double seconds = 0;      ///< of compiling; 0 from the cache
};

/// Compiles sources into programs and keeps them under ${XDG_CACHE_HOME:-~/.cache}/data2vec/parity/<hash>, a hash of
/// all that a program depends on: its source, every header, the support library, the compiler with its flags and the
/// instruction set that they stand for.
class ProgramCache {
 public:
  /// `keep`: leave the folder of a failed compilation.
  ProgramCache(Toolchain toolchain, bool keep);

  /// Callable from many threads, with different sources. `device_source`: the half for a GPU, if there is one.
  Program get(const std::string& source, const std::string& device_source = "") const;

 private:
  Toolchain tools_;
  bool keep_;
  std::string folder_, dependencies_;
};

}  // namespace data2vec::parity
