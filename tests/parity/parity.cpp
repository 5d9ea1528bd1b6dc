// SPDX-License-Identifier: MIT
// Compares the library with the numbers of the reference implementation: every case below a folder, each by the rules
// of its fixtures. Types come from the cases, so the program writes, compiles and runs one program per type.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cases.hpp"
#include "process.hpp"
#include "tables.hpp"

namespace data2vec::parity {
namespace {

constexpr const char* help_text =
    "usage: parity DIR [--device cpu|cuda] [--dtype float32|bfloat16] [--jobs N] [--keep] [--only TEXT]\n"
    "       parity --source CASE.json\n"
    "\n"
    "  DIR            every case below it is run (JSON with a safetensors twin, and the JSON-only tables); only read\n"
    "  --device cuda  the steps of pre-training run on a GPU, in fp32; other cases are left out (default: cpu)\n"
    "  --dtype bfloat16  in bfloat16 instead: loss within 2 %, cosine of the gradient of a step at least 0.99\n"
    "  --jobs N       programs compiled at once (default: the number of processors)\n"
    "  --keep         leave the source of a case that does not compile\n"
    "  --only TEXT    only the cases whose name contains TEXT\n"
    "  --source FILE  print the program of one case\n"
    "\n"
    "exit status: 0 everything passed and something was run, 1 not so, 2 usage, 3 missing data\n";

constexpr double case_timeout = 300;             // seconds

struct Options {
  std::string folder, only, source;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  bool keep = false, cuda = false, bfloat16 = false;
};

[[noreturn]] void usage(const std::string& problem) {
  std::fprintf(stderr, "parity: %s\n%s", problem.c_str(), help_text);
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) usage(word + ": expected a value");
      return argv[++i];
    };
    if (word == "--help" || word == "-h") {
      std::fputs(help_text, stdout);
      std::exit(0);
    } else if (word == "--device") {
      const std::string device = value();
      if (device != "cpu" && device != "cuda") usage("--device: expected cpu or cuda, found " + device);
      options.cuda = device == "cuda";
    } else if (word == "--dtype") {
      const std::string dtype = value();
      if (dtype != "float32" && dtype != "bfloat16") usage("--dtype: expected float32 or bfloat16, found " + dtype);
      options.bfloat16 = dtype == "bfloat16";
    } else if (word == "--jobs") {
      const std::string text = value();
      if (text.empty() || text.size() > 4 || text.find_first_not_of("0123456789") != text.npos || std::stoi(text) < 1)
        usage("--jobs: expected a number from 1, found " + text);
      options.jobs = static_cast<unsigned>(std::stoi(text));
    } else if (word == "--keep") {
      options.keep = true;
    } else if (word == "--only") {
      options.only = value();
    } else if (word == "--source") {
      options.source = value();
    } else if (word.starts_with("-")) {
      usage(word + ": not an option");
    } else if (options.folder.empty()) {
      options.folder = word;
    } else {
      usage("expected one folder, found " + options.folder + " and " + word);
    }
  }
  if (options.folder.empty() && options.source.empty()) usage("expected a folder");
  if (options.bfloat16 && !options.cuda) usage("--dtype bfloat16: expected --device cuda beside it");
  return options;
}

/// Compiles and runs the program of one case.
CaseResult run_generated(const FoundCase& c, const ProgramCache& cache) {
  CaseResult result{c.name, CaseResult::Status::failed, "", {}};
  const Program program = cache.get(c.source, c.device_source);
  if (program.path.empty()) {
    result.details = {"does not compile:", program.error};
    return result;
  }
  const Outcome outcome = run_process({program.path, c.path}, case_timeout);
  if (outcome.timed_out) {
    result.details = {"ran longer than " + std::to_string(static_cast<int>(case_timeout)) + " s"};
  } else if (outcome.status > 128) {
    result.details = {"crashed: " + signal_name(outcome.status - 128), outcome.output};
  } else {
    const auto line_end = std::min(outcome.output.find('\n'), outcome.output.size());
    result.summary = outcome.output.substr(0, line_end);
    if (outcome.status == 0) result.status = CaseResult::Status::passed;
    else if (outcome.status != 1) result.details = {"ended with status " + std::to_string(outcome.status)};
    std::string rest = outcome.output.substr(std::min(line_end + 1, outcome.output.size()));
    while (!rest.empty() && rest.back() == '\n') rest.pop_back();
    if (!rest.empty() && result.status == CaseResult::Status::failed) result.details.push_back(rest);
  }
  char seconds[64];
  std::snprintf(seconds, sizeof seconds, " [%.1f s compile, %.1f s run]", program.seconds, outcome.seconds);
  result.summary += seconds;
  return result;
}

std::vector<CaseResult> run_table(const FoundCase& c) {
  try {
    const Case content(c.path);
    auto results = c.kind == CaseKind::schedules         ? check_schedules(content)
                   : c.kind == CaseKind::mask_statistics ? check_mask_statistics(content)
                   : c.kind == CaseKind::baseline_masks  ? check_baseline_masks(content)
                   : c.kind == CaseKind::standalone      ? check_standalone(content)
                                                         : check_state_dicts(content);
    for (CaseResult& result : results) result.name = c.name + result.name.substr(content.name().size());
    return results;
  } catch (const std::exception& error) {
    return {{c.name, CaseResult::Status::failed, "", {error.what()}}};
  }
}

std::vector<CaseResult> run_found(const FoundCase& c, const ProgramCache& cache) {
  switch (c.kind) {
    case CaseKind::pretrain:
    case CaseKind::finetune: return {run_generated(c, cache)};
    case CaseKind::skipped: return {{c.name, CaseResult::Status::skipped, c.text, {}}};
    case CaseKind::broken: return {{c.name, CaseResult::Status::failed, "", {c.text}}};
    case CaseKind::other: return {};
    default: return run_table(c);
  }
}

/// Prints results in the order of the cases, each as soon as all before it are there.
class Printer {
 public:
  explicit Printer(const std::vector<FoundCase>& cases) : cases_(cases), done_(cases.size()), results_(cases.size()) {}

  void add(std::size_t index, std::vector<CaseResult> results) {
    const std::scoped_lock lock(mutex_);
    results_[index] = std::move(results);
    done_[index] = true;
    for (; next_ < cases_.size() && done_[next_]; ++next_) {
      if (cases_[next_].kind == CaseKind::other)
        std::printf("ignored %s: %s\n", cases_[next_].name.c_str(), cases_[next_].text.c_str());
      for (const CaseResult& result : results_[next_]) print(result);
    }
    std::fflush(stdout);
  }

  /// The last line, and the exit status.
  int finish() const {
    std::printf("%d passed, %d failed, %d skipped\n", passed_, failed_, skipped_);
    return failed_ == 0 && passed_ > 0 ? 0 : 1;
  }

 private:
  void print(const CaseResult& result) {
    const bool ok = result.status == CaseResult::Status::passed, skip = result.status == CaseResult::Status::skipped;
    ++(ok ? passed_ : skip ? skipped_ : failed_);
    std::printf("%s %s%s%s\n", ok ? "PASS" : skip ? "SKIP" : "FAIL", result.name.c_str(),
                result.summary.empty() ? "" : ": ", result.summary.c_str());
    if (ok || skip) return;
    for (const std::string& text : result.details) {
      std::istringstream lines(text);
      for (std::string line; std::getline(lines, line);)
        std::printf("    %s\n", line.c_str() + std::min(line.size(), line.find_first_not_of(' ')));
    }
  }

  const std::vector<FoundCase>& cases_;
  std::mutex mutex_;
  std::vector<bool> done_;
  std::vector<std::vector<CaseResult>> results_;
  std::size_t next_ = 0;
  int passed_ = 0, failed_ = 0, skipped_ = 0;
};

int run(const Options& options) {
  const Toolchain tools = Toolchain::of_build();
  if (!options.source.empty()) {
    const FoundCase c = classify(options.source, options.source, tools.sources);
    if (c.source.empty()) std::fprintf(stderr, "%s: no program: %s\n", options.source.c_str(), c.text.c_str());
    std::fputs(c.source.c_str(), stdout);
    return c.source.empty() ? 1 : 0;
  }
  if (!std::filesystem::is_directory(options.folder)) {
    std::fprintf(stderr, "parity: %s: expected a folder, found none\n", options.folder.c_str());
    return 3;
  }
  auto cases = find_cases(options.folder, tools.sources);
  if (!options.only.empty())
    std::erase_if(cases, [&](const FoundCase& c) { return c.name.find(options.only) == std::string::npos; });
  if (options.cuda) {
    if (tools.device.empty()) {
      std::fprintf(stderr, "parity: --device cuda: this program was built without D2V_CUDA: ./run parity --device cuda\n");
      return 3;
    }
    std::erase_if(cases, [](const FoundCase& c) { return !c.source.starts_with("#include \"pretrain.hpp\"") &&
                                                         c.source.find("run_mae<") == std::string::npos &&
                                                         c.source.find("run_wav2vec2<") == std::string::npos; });
    for (FoundCase& c : cases) use_device(c, options.bfloat16);
  }
  const ProgramCache cache(tools, options.keep);
  Printer printer(cases);
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < options.jobs; ++i)
    workers.emplace_back([&] {
      for (std::size_t index = next++; index < cases.size(); index = next++) {
        try {
          printer.add(index, run_found(cases[index], cache));
        } catch (const std::exception& error) {
          printer.add(index, {{cases[index].name, CaseResult::Status::failed, "", {error.what()}}});
        }
      }
    });
  for (std::thread& worker : workers) worker.join();
  return printer.finish();
}

}  // namespace
}  // namespace data2vec::parity

int main(int argc, char** argv) {
  const auto options = data2vec::parity::parse(argc, argv);
  data2vec::parity::kill_children_on_signals();
  try {
    return data2vec::parity::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "parity: %s\n", error.what());
    return 1;
  }
}
