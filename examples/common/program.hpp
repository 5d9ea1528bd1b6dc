// SPDX-License-Identifier: MIT
// What the example programs share: exit statuses, signals, a line of progress, and what is known before the first step.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>

namespace demo {

namespace d2v = data2vec;

/// The command line asks for something that cannot be: exit status 2.
struct UsageError : d2v::Error {
  using d2v::Error::Error;
};

/// Data that are not there, with the line that installs them: exit status 3.
struct MissingData : d2v::Error {
  using d2v::Error::Error;
};

/// The signal that asks the program to save and end; 0: none so far.
inline volatile std::sig_atomic_t interrupted = 0;

inline void catch_signals() {
  for (const int signal : {SIGHUP, SIGINT, SIGTERM})
    std::signal(signal, [](int number) {
      interrupted = number;
      std::signal(number, SIG_DFL);  // a second one is immediate
    });
}

/// A program's main(): parses the command line and calls run(). Returns 0; 1 failed; 2 usage; 3 missing data;
/// 128 + signal.
template <class Run>
int run_program(const char* name, CLI::App& app, int argc, char** argv, Run&& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  catch_signals();
  const auto failed = [name](const std::exception& error, int status) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return status;
  };
  try {
    run();
  } catch (const UsageError& error) {
    return failed(error, 2);
  } catch (const MissingData& error) {
    return failed(error, 3);
  } catch (const std::exception& error) {
    return failed(error, 1);
  }
  return interrupted ? 128 + interrupted : 0;
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Text by printf's rules.
template <class... Args>
std::string formatted(const char* format, Args... args) {
  char text[512];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

/// "1:02:03" or "2:03".
inline std::string clock_text(double seconds) {
  const long all = seconds > 0 ? static_cast<long>(seconds + 0.5) : 0;
  return all >= 3600 ? formatted("%ld:%02ld:%02ld", all / 3600, all / 60 % 60, all % 60)
                     : formatted("%ld:%02ld", all / 60, all % 60);
}

/// How far a training is: on a terminal one line with a bar that is rewritten, in a pipe or file a line now and then.
class Progress {
 public:
  /// Updates `first` to `end` of `samples` samples each, which are called `unit`.
  Progress(std::int64_t first, std::int64_t end, double samples, const char* unit = "images")
      : first_(first), end_(end), samples_(samples), unit_(unit), terminal_(isatty(STDOUT_FILENO) != 0) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { end_line(); }

  /// After update `update` (the first one is 0), with its loss, and more to say of it.
  void show(std::int64_t update, double loss, const std::string& more = "") {
    const double now = seconds_since(start_);
    const auto done = static_cast<double>(update + 1 - first_);
    loss_ = update == first_ ? loss : 0.95 * loss_ + 0.05 * loss;
    if (update + 1 < end_ && now - shown_ < (terminal_ ? 0.2 : 10)) return;
    shown_ = now;
    const auto left = static_cast<double>(end_ - update - 1);
    std::string text = formatted("update %lld/%lld  loss %.4f  %s%s%.0f %s/s  %s left",
                                 static_cast<long long>(update + 1), static_cast<long long>(end_), loss_, more.c_str(),
                                 more.empty() ? "" : "  ", done * samples_ / now, unit_,
                                 clock_text(now / done * left).c_str());
    if (terminal_) {
      const auto part = static_cast<std::size_t>(20 * (update + 1) / end_);
      text = "[" + std::string(part, '=') + std::string(20 - part, ' ') + "] " + text;
      std::printf("\r%s\x1b[K", text.c_str());
      open_ = true;
    } else {
      std::printf("%s\n", text.c_str());
    }
    std::fflush(stdout);
  }

  /// A line of its own.
  void note(const std::string& text) {
    end_line();
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
  }

  double seconds() const { return seconds_since(start_); }

 private:
  void end_line() {
    if (std::exchange(open_, false)) std::printf("\n");
    std::fflush(stdout);
  }

  std::int64_t first_, end_;
  double samples_, shown_ = -1e9, loss_ = 0;
  const char* unit_;
  bool terminal_, open_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// What a training of a model on the CPU is made of, from its type: parameters, operations, memory; `data_bytes` is what
/// the samples (called `unit`) and batches take.
template <class Model, class Trainer = d2v::Trainer<Model, d2v::Cpu>>
std::string plan_text(int batch, int threads, double data_bytes, const char* unit = "images") {
  using Branch = typename Model::First;
  const double state = Trainer::state_bytes, worker = Trainer::worker_bytes;
  const int workers = Trainer::workers(threads);
  std::string text = formatted("%.2f million parameters, %.2f million of them in the encoder\n",
                               static_cast<double>(Model::parameter_count) / 1e6,
                               static_cast<double>(Model::encoder_parameter_count) / 1e6);
  text += formatted("%d of %d tokens visible, %d masks a sample; a step of %d %s: %.1f GFLOP\n", Branch::V, Branch::T_,
                    Branch::masks, batch, unit, Model::template flops_per_sample<0> * batch / 1e9);
  return text + formatted("memory: %.0f MB with threads: %d (%.1f of weights, teacher, gradient and moments, "
                          "%d x %.1f of workspace, %.1f of %s)\n",
                          (state + workers * worker + data_bytes) / 1e6, threads, state / 1e6, workers, worker / 1e6,
                          data_bytes / 1e6, unit);
}

}  // namespace demo
