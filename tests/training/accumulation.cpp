// SPDX-License-Identifier: MIT
// Accumulation: k micro-batches are the large batch, nothing happens before the last one, and none is lost unnoticed.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include <unistd.h>

#include <data2vec/training/loop.hpp>

#include "support.hpp"

using namespace training_support;

namespace {

namespace fs = std::filesystem;
constexpr int updates = 3;
constexpr std::uint32_t unit = Trainer<Noisy, Cpu>::unit_samples;

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

template <class Model>
TrainerOptions options_of(int accumulation, int threads = 1) {
  TrainerOptions options = fast_options<Model>(threads);
  options.accumulation = accumulation;
  return options;
}

/// Micro-batch `i` of `k` of the batch of an update.
struct Parts {
  Samples all;
  int k;
  Batch<float> operator[](int i) const {
    const std::size_t n = all.ids.size() / static_cast<std::size_t>(k), first = static_cast<std::size_t>(i) * n;
    return {std::span(all.values).subspan(first * pixels, n * pixels), std::span(all.ids).subspan(first, n)};
  }
};

template <class T>
StepReport step(T& trainer, const Samples& samples) {
  const int k = trainer.options().accumulation;
  const Parts parts{samples, k};
  StepReport report;
  for (int i = 0; i < k; ++i) {
    report = trainer.step(parts[i]);
    CHECK(report.updated == (i + 1 == k));
  }
  return report;
}

struct Folder {
  std::string path = (fs::temp_directory_path() / ("data2vec_accumulation_" + std::to_string(::getpid()))).string();
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

/// Batches of the loop: two micro-batches an update.
struct Source {
  Trainer<Noisy, Cpu>& trainer;
  std::int64_t poisoned = -1;  ///< an update whose first micro-batch has a NaN in its sample 2
  Samples samples = {};

  Batch<float> operator()() {
    const auto update = static_cast<std::uint32_t>(trainer.updates());
    samples = waves(unit, 2 * unit * update + unit * static_cast<std::uint32_t>(trainer.pending()));
    if (trainer.updates() == poisoned && trainer.pending() == 0)
      samples.values[2 * pixels + 5] = std::numeric_limits<float>::quiet_NaN();
    return samples.batch();
  }
};
const volatile std::sig_atomic_t never = 0;

}  // namespace

TEST_CASE("micro-batches of whole units: the bits of the large batch, for any number of threads") {
  constexpr std::size_t n = 6 * Trainer<Noisy, Cpu>::unit_samples;
  Trainer<Noisy, Cpu> whole(options_of<Noisy>(1));
  std::vector<StepReport> reports;
  for (int u = 0; u < updates; ++u) reports.push_back(step(whole, waves(n, static_cast<std::uint32_t>(u) * n)));
  for (const int k : {2, 3, 6})
    for (const int threads : {1, 3}) {
      INFO(k, " micro-batches, ", threads, " threads");
      Trainer<Noisy, Cpu> trainer(options_of<Noisy>(k, threads));
      for (int u = 0; u < updates; ++u) {
        const StepReport& expected = reports[static_cast<std::size_t>(u)];
        const StepReport r = step(trainer, waves(n, static_cast<std::uint32_t>(u) * n));
        CHECK(r.loss == expected.loss);
        CHECK(r.sample_size == expected.sample_size);
        CHECK(r.gradient_norm == expected.gradient_norm);
        CHECK(r.target_var == expected.target_var);
      }
      CHECK(trainer.updates() == updates);
      CHECK(same_bits(trainer.weights(), whole.weights()));
      CHECK(same_bits(trainer.teacher(), whole.teacher()));
    }
}

TEST_CASE("micro-batches within a unit: the gradient of the large batch up to the order of sums") {
  static_assert(unit == 32);
  constexpr std::size_t n = 2 * unit;
  Trainer<Noisy, Cpu> whole(options_of<Noisy>(1)), parts(options_of<Noisy>(8));  // micro-batches of 8
  const StepReport expected = step(whole, waves(n)), r = step(parts, waves(n));
  CHECK(r.loss == doctest::Approx(expected.loss).epsilon(1e-6));
  double difference = 0, length = 0;
  for (std::size_t i = 0; i < whole.gradient().size(); ++i) {
    const auto a = static_cast<double>(whole.gradient()[i]), b = static_cast<double>(parts.gradient()[i]);
    difference += (a - b) * (a - b);
    length += a * a;
  }
  CHECK(difference > 0);
  CHECK(std::sqrt(difference / length) <= 1e-6);
}

TEST_CASE("before the last micro-batch nothing changes but the report") {
  Trainer<Noisy, Cpu> trainer(options_of<Noisy>(3));
  const std::vector<float> start = copy(trainer.weights());
  const Parts parts{waves(24), 3};
  for (int i = 0; i < 2; ++i) {
    const StepReport r = trainer.step(parts[i]);
    CHECK(!r.updated);
    CHECK(!r.skipped);
    CHECK(r.gradient_norm == 0);
    CHECK(r.sample_size == (i + 1) * 8 * 2 * 10);
    CHECK(trainer.pending() == i + 1);
    CHECK(trainer.updates() == 0);
  }
  CHECK(same_bits(trainer.weights(), start));
  CHECK(same_bits(trainer.teacher(), start));
  CHECK(trainer.step(parts[2]).updated);
  CHECK(trainer.pending() == 0);
  CHECK(trainer.updates() == 1);
  CHECK(!same_bits(trainer.weights(), start));
}

TEST_CASE("an accumulation that is never applied is an error, unless it is dropped") {
  CHECK(contains(error_of([] { Trainer<Noisy, Cpu> trainer(options_of<Noisy>(0)); }),
                 "TrainerOptions::accumulation: expected 1 or more, found 0"));
  const Samples s = waves(8);
  Trainer<Noisy, Cpu> trainer(options_of<Noisy>(3)), clean(options_of<Noisy>(3));
  trainer.step(s.batch());
  trainer.step(s.batch());
  CHECK(contains(error_of([&] { trainer.step(waves(16).batch()); }),
                 "expected 8 samples as in the micro-batch before, found 16"));
  const std::string text = error_of([&] { trainer.state(); });
  CHECK(contains(text, "expected all 3 micro-batches"));
  CHECK(contains(text, "found 2 that were never applied"));
  const Folder folder;
  CHECK(error_of([&] { run_loop(trainer, {.out = folder.path, .updates = 1}, [&] { return s.batch(); }, never); }) ==
        text);
  trainer.drop_pending();
  CHECK(error_of([&] { trainer.state(); }) == "no error");
  for (auto* t : {&trainer, &clean}) step(*t, waves(24, 50));
  CHECK(same_bits(trainer.weights(), clean.weights()));
  trainer.step(s.batch());
  trainer.restart();
  CHECK(trainer.pending() == 0);
}

TEST_CASE("a value that is not finite in any micro-batch skips the whole update") {
  Trainer<Noisy, Cpu> trainer(options_of<Noisy>(2));
  const std::vector<float> start = copy(trainer.weights());
  Samples broken = waves(8);
  broken.values[7] = std::numeric_limits<float>::infinity();
  CHECK(!trainer.step(broken.batch()).skipped);
  const StepReport r = trainer.step(waves(8, 8).batch());
  CHECK(r.skipped);
  CHECK(!r.updated);
  CHECK(trainer.pending() == 0);
  CHECK(same_bits(trainer.weights(), start));
  CHECK(step(trainer, waves(16)).updated);  // nothing is left of it
}

TEST_CASE("the loop: stopped between micro-batches, resumed, the same bits; one line an update") {
  const Folder folder;
  Trainer<Noisy, Cpu> whole(options_of<Noisy>(1)), first(options_of<Noisy>(2)), second(options_of<Noisy>(2));
  for (std::uint32_t u = 0; u < 6; ++u) whole.step(waves(2 * unit, 2 * unit * u).batch());
  volatile std::sig_atomic_t stop = 0;
  Source a{first}, b{second};
  const auto next = [&] {
    const auto batch = a();
    if (first.updates() == 2 && first.pending() == 0) stop = 1;  // the step of this micro-batch is the last one
    return batch;
  };
  CHECK(run_loop(first, {.out = folder.path, .updates = 6, .extra = {{"k", 2}}}, next, stop) == LoopEnd::stopped);
  CHECK(first.updates() == 2);
  CHECK(checkpoint_extra(SafetensorsFile::open(folder.path + "/checkpoint.safetensors")).at("k") == 2);
  const LoopOptions resumed{.out = folder.path, .updates = 6, .resume = true};
  CHECK(run_loop(second, resumed, b, never) == LoopEnd::finished);
  CHECK(same_bits(second.weights(), whole.weights()));
  std::ifstream log(folder.path + "/log.jsonl");
  int lines = 0;
  for (std::string line; std::getline(log, line); ++lines) CHECK(parse_json(line, "log")["update"] == lines);
  CHECK(lines == 6);
}

TEST_CASE("the loop names a sample of an earlier micro-batch") {
  const Folder folder;
  Trainer<Noisy, Cpu> trainer(options_of<Noisy>(2));
  Source source{trainer, 1};
  std::vector<std::string> notes;
  run_loop(trainer, {.out = folder.path, .updates = 3}, source, never,
           {.note = [&](const std::string& note) { notes.push_back(note); }});
  REQUIRE(notes.size() == 1);
  CHECK(contains(notes[0], "update 1 skipped: samples with values that are not finite: " +
                               std::to_string(2 * unit + 2) + ";"));
}
