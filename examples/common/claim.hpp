// SPDX-License-Identifier: MIT
// One run of the comparison of systems, of any sense: pre-trains the system that the program is compiled for, judges
// what it has learnt at growing times, and keeps that in a JSON file. Stopped at any moment, the same command goes on.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include <data2vec/io/lock.hpp>
#include <data2vec/training/checkpoint.hpp>

#include "examples/common/claim_table.hpp"
#include "examples/common/files.hpp"
#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/common/report.hpp"

namespace demo {

struct ClaimOptions {
  std::string out = "out/claim", commit = {};
  double minutes = 3, lr = 1e-3;
  std::int64_t updates = 0, tuning_updates = 300;
  int batch = 16, threads = 0, times = 5;
  std::uint64_t seed = 1;
  std::size_t labels = 5'000, tuning_labels = 600;
  bool validation = false, search = false, table = false;

  void add_to(CLI::App& app) {
    app.add_option("--out", out, "folder of the runs, their table and their figures");
    app.add_option("--minutes", minutes, "length of a run's pre-training in minutes of processor time, by timed steps")
        ->check(CLI::PositiveNumber);
    app.add_option("--updates", updates, "length in updates instead; 0: by --minutes")->check(CLI::NonNegativeNumber);
    app.add_option("--times", times, "times at which the encoder is judged")->check(CLI::PositiveNumber);
    app.add_option("--batch", batch, "samples of an update")->check(CLI::PositiveNumber);
    app.add_option("--lr", lr, "highest learning rate of the cosine schedule")->check(CLI::PositiveNumber);
    app.add_option("--seed", seed, "of weights, masks, order and the choice of labelled samples");
    app.add_option("--labels", labels, "labelled training samples of the probe; 0: all");
    app.add_option("--tuning-labels", tuning_labels, "labelled training samples of each fine-tuning")
        ->check(CLI::PositiveNumber);
    app.add_option("--tuning-updates", tuning_updates, "length of each fine-tuning; 0: none")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--threads", threads, "0: all of the machine")->check(CLI::NonNegativeNumber);
    app.add_flag("--validation", validation, "judge by training samples that are held out, to choose settings");
    app.add_flag("--search", search, "first choose the learning rate: half, once or twice --lr, by the probe on "
                                     "training samples that are held out, after a fifth of the length");
    app.add_option("--commit", commit, "what the runs say of the program's sources");
    app.add_flag("--table", table, "instead: table.md and figures of the runs in --out");
  }
  /// What runs that are compared have in common, and `lr`, `batch` and `seed`.
  d2v::Json json() const {
    return {{"minutes", minutes}, {"batch", batch}, {"lr", lr}, {"seed", seed}, {"times", times},
            {"validation", validation}, {"labels", labels}, {"tuning-labels", tuning_labels},
            {"tuning-updates", tuning_updates}};
  }
};

/// Processor time of this process so far, on all of its threads.
inline double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// What a training has taken, without what is done between stop() and start(): processor time, and wall-clock beside.
class ClaimClock {
 public:
  /// Goes on from the times that `state` keeps.
  explicit ClaimClock(const d2v::Json& state) : seconds_(state["seconds"]), wall_seconds_(state["wall_seconds"]) {
    start();
  }
  void start() {
    processor_start_ = processor_seconds(), wall_start_ = std::chrono::steady_clock::now(), running_ = true;
  }
  void stop() {
    if (!std::exchange(running_, false)) return;
    seconds_ += processor_seconds() - processor_start_, wall_seconds_ += seconds_since(wall_start_);
  }
  double seconds() const { return seconds_; }
  d2v::Json json() const { return {{"seconds", seconds_}, {"wall_seconds", wall_seconds_}}; }

 private:
  double seconds_, wall_seconds_, processor_start_ = 0;
  std::chrono::steady_clock::time_point wall_start_;
  bool running_ = false;
};

/// The number of updates that takes `seconds` of processor time, by at least 20 timed ones; the trainer begins anew.
template <class Trainer, class Batches>
std::int64_t updates_in(double seconds, Trainer& trainer, Batches&& batches) {
  for (int i = 0; i < 3; ++i) trainer.step(batches.next());
  const double start = processor_seconds();
  int timed = 0;
  double taken = 0;
  for (; (timed < 20 || taken < 0.01 * seconds) && !interrupted; ++timed, taken = processor_seconds() - start)
    trainer.step(batches.next());
  trainer.restart();
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(seconds * timed / std::max(taken, 1e-6)));
}

/// The gradient of a training is not finite.
struct Diverged : d2v::Error {
  using d2v::Error::Error;
};

template <class Recipe, class Make>
void run_claim(ClaimOptions o, const std::string& system, const std::string& title, Make&& make);

/// What --search asks for: sets o.lr, and returns what was tried. These are runs of their own, in o.out/lr-<rate>, that
/// are not done again for another seed.
template <class Recipe, class Make>
d2v::Json search_lr(ClaimOptions& o, const std::string& system, const std::string& title, Make&& make) {
  d2v::Json found = d2v::Json::array();
  double best = -1, chosen = o.lr;
  for (const double factor : {0.5, 1.0, 2.0}) {
    ClaimOptions tried = o;
    tried.search = false, tried.validation = true, tried.times = 1, tried.tuning_updates = 0, tried.seed = 1;
    tried.lr = factor * o.lr, tried.minutes = o.minutes / 5, tried.updates = (o.updates + 4) / 5;
    tried.out = o.out + formatted("/lr-%g", tried.lr);
    double accuracy = 0;
    try {
      run_claim<Recipe>(tried, system, title, make);
      if (interrupted) return found;
      accuracy = read_json(tried.out + "/" + system + "-1.json")["rows"][0]["probe"];
    } catch (const Diverged& error) {
      std::printf("learning rate %g: %s\n", tried.lr, error.what());
    }
    found.push_back({{"lr", tried.lr}, {"probe", accuracy}});
    if (accuracy > best) best = accuracy, chosen = tried.lr;
  }
  o.lr = chosen;
  return found;
}

/// A run of `system` (as in the configuration) in o.out/<system>-<seed>, of which <system>-<seed>.json remains.
/// `make(options, folder)` opens the data: its source() is as in common/pretraining.hpp, its judge(weights) says what
/// the encoder is worth, accuracies by the names in claim_measures. What it takes to judge is no time of the training.
template <class Recipe, class Make>
void run_claim(ClaimOptions o, const std::string& system, const std::string& title, Make&& make) {
  namespace fs = std::filesystem;
  using Trainer = typename Recipe::Trainer;
  using Model = typename Trainer::ModelType;
  const std::string folder = o.out + "/" + system + "-" + std::to_string(o.seed), done = folder + ".json";
  if (fs::exists(done)) {
    std::printf("%s: done\n", done.c_str());
    return;
  }
  d2v::Json searched;
  if (o.search) searched = search_lr<Recipe>(o, system, title, make);
  if (interrupted) return;
  fs::create_directories(folder);
  const d2v::FolderLock lock(folder);
  const std::string checkpoint = folder + "/checkpoint.safetensors";
  auto sense = make(std::as_const(o), folder);
  d2v::TrainerOptions settings = Recipe::trainer_options();
  settings.seed = o.seed;
  settings.threads = o.threads;
  Trainer trainer(settings);
  PretrainOptions training;
  training.batch = o.batch, training.seed = o.seed;
  d2v::Json state = {{"options", o.json()}, {"updates", o.updates}, {"seconds", 0.0}, {"wall_seconds", 0.0},
                     {"judging_seconds", 0.0}, {"rows", d2v::Json::array()}};
  if (fs::exists(checkpoint)) {
    const d2v::Json kept = d2v::load_checkpoint<Model>(checkpoint, trainer.state());
    if (kept["options"] != state["options"])
      throw UsageError(checkpoint + ": expected a run with " + state["options"].dump() + ", found one with " +
                       kept["options"].dump() + ": choose another --out");
    state = kept;
  } else if (o.updates == 0) {
    state["updates"] = updates_in(60 * o.minutes, trainer, sense.source().batches(training, 0));
    if (interrupted) return;
  }
  const auto updates = state["updates"].get<std::int64_t>();
  trainer.set_schedule(Recipe::schedule(updates, o.lr));
  trainer.set_ema(Recipe::ema(updates));
  std::printf("%s, seed %llu: %lld updates of %d, learning rate %g\n", title.c_str(),
              static_cast<unsigned long long>(o.seed), static_cast<long long>(updates), o.batch, o.lr);
  std::fflush(stdout);

  auto batches = sense.source().batches(training, trainer.updates());
  auto saved = std::chrono::steady_clock::now();
  ClaimClock clock(state);
  const auto save = [&] {
    state.update(clock.json());
    d2v::save_checkpoint<Model>(checkpoint, trainer.state(), state);
    saved = std::chrono::steady_clock::now();
  };
  const auto judge = [&] {
    const double start = processor_seconds();
    d2v::Json row = sense.judge(trainer.weights());
    if (interrupted) return;
    std::printf("%8.1f s  update %7lld", clock.seconds(), static_cast<long long>(trainer.updates()));
    for (const ClaimMeasure& m : claim_measures)
      if (row.contains(m.key)) std::printf("  %s %6.2f %%", m.key, 100 * row[m.key].get<double>());
    std::printf("\n");
    std::fflush(stdout);
    row["update"] = trainer.updates();
    row.update(clock.json());
    state["rows"].push_back(std::move(row));
    state["judging_seconds"] = state["judging_seconds"].get<double>() + processor_seconds() - start;
  };
  while (!interrupted) {
    const auto rows = static_cast<std::int64_t>(state["rows"].size());
    const bool due = rows < o.times && trainer.updates() >= updates * (rows + 1) / o.times;
    if (due || seconds_since(saved) > 60) {
      clock.stop();
      if (due) judge();
      save();
      clock.start();
    } else if (trainer.updates() == updates) {
      break;
    } else if (!trainer.step(batches.next()).updated) {
      throw Diverged("update " + std::to_string(trainer.updates()) + ": the gradient is not finite");
    }
  }
  clock.stop();
  if (interrupted) {
    save();
    std::printf("saved after update %lld; the same command goes on\n", static_cast<long long>(trainer.updates()));
    return;
  }
  state.update(clock.json());
  d2v::RunReport machine;
  describe_machine(machine, d2v::ThreadTeam(o.threads).size(), o.commit);
  state["machine"] = {{"cpu", machine.cpu}, {"host", machine.machine}, {"threads", machine.threads},
                      {"isa", machine.isa}, {"commit", machine.commit}, {"date", machine.date}};
  if (o.search) state["search"] = searched;
  state["system"] = system;
  state["title"] = title;
  state["parameters"] = Model::encoder_parameter_count;
  write_json(done, state);
  fs::remove_all(folder);
}

}  // namespace demo
