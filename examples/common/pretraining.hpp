// SPDX-License-Identifier: MIT
// A pre-training in a folder, as `pretrain` and `demo` run it: its length from minutes or updates, checkpoint, log,
// lock, signals, and the weights of the encoder at its end.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/training/loop.hpp>

#include "examples/common/program.hpp"

namespace demo {

struct PretrainOptions {
  std::string out;
  double minutes = 4, lr = 1e-3, save_every = 60;
  std::int64_t updates = 0;  ///< 0: by `minutes`
  int batch = 16, accumulation = 1, threads = 0;
  std::uint64_t seed = 1;
  bool resume = false;

  void add_to(CLI::App& app) {
    app.add_option("--out", out, "folder for everything that is written");
    auto* by_minutes = app.add_option("--minutes", minutes, "length: as many updates as fit, by 20 timed steps")
                           ->check(CLI::PositiveNumber);
    app.add_option("--updates", updates, "length in updates: repeats a run exactly; 0: by --minutes")
        ->check(CLI::NonNegativeNumber)
        ->excludes(by_minutes);
    app.add_option("--seed", seed, "of weights, masks, order and augmentation");
    app.add_option("--threads", threads, "0: all of the machine; the result does not depend on it")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--save-every", save_every, "seconds between checkpoints")->check(CLI::NonNegativeNumber);
    app.add_flag("--resume", resume, "go on from the checkpoint in --out, with the options that it holds");
  }

  std::string checkpoint() const { return out + "/checkpoint.safetensors"; }

  /// What a training is; a checkpoint keeps it, and what goes on from there is this.
  d2v::Json json() const {
    return {{"updates", updates}, {"batch", batch}, {"accumulation", accumulation}, {"lr", lr}, {"seed", seed}};
  }
  void take(const d2v::Json& kept) {
    updates = kept["updates"], batch = kept["batch"], accumulation = kept["accumulation"];
    lr = kept["lr"], seed = kept["seed"];
  }
};

/// Without --resume: a folder in which a training began is an error. With it: what the checkpoint there keeps beside
/// the training; an option that the command line gives must be the one in extra["options"] (else UsageError).
inline d2v::Json open_run(const PretrainOptions& options, const CLI::App& app, const d2v::Json& given) {
  const std::string path = options.checkpoint();
  const bool begun = std::filesystem::exists(path);
  if (!options.resume) {
    if (begun)
      throw d2v::FileError(path, "expected a folder without a checkpoint, found one: --resume goes on from it, "
                                 "--out takes another folder");
    return d2v::Json::object();
  }
  if (!begun) throw d2v::FileError(path, "--resume: expected a checkpoint, found none: begin without --resume");
  const d2v::Json extra = d2v::checkpoint_extra(d2v::SafetensorsFile::open(path));
  const d2v::Json kept = extra.value("options", d2v::Json::object());
  for (const auto& [name, value] : given.items())
    if (!kept.contains(name))
      throw d2v::FileError(path, "expected a checkpoint of this program, found another one");
  if (app.count("--minutes") > 0)
    throw UsageError("--minutes: the length is fixed since the training began: " + kept["updates"].dump() + " updates");
  for (const auto& [name, value] : kept.items()) {
    const CLI::Option* const option = app.get_option_no_throw("--" + name);
    if (option && option->count() > 0 && given[name] != value)
      throw UsageError("--" + name + ": expected " + value.dump() + ", with which the training of " + path +
                       " began, found " + given[name].dump());
  }
  return extra;
}

/// How a pre-training ended.
struct Pretrained {
  std::vector<float> weights;  ///< of the student, a buffer of Model::Parameters
  std::int64_t updates = 0;
  bool finished = false;       ///< otherwise a signal came
  double seconds = 0;          ///< of this call
  std::vector<std::string> alarms;
};

/// Trains in `options.out`, whose checkpoints keep `settings` as extra["options"] and source.kept(); `options.updates`
/// and settings["updates"] become the length. When it is finished, weights.safetensors is written.
///
/// A recipe has a `Trainer`, trainer_options(), schedule(updates, lr) and ema(updates); a source has its `unit`
/// ("images"), batches(options, first) whose next() gives a d2v::Batch, bytes(batch) that data and batches take, and
/// kept(), what a checkpoint keeps of the data.
template <class Recipe, class Source, class Trainer = typename Recipe::Trainer,
          class Model = typename Trainer::ModelType>
Pretrained pretrain(PretrainOptions& options, const Source& source, d2v::Json settings) {
  constexpr int timed = 20;
  if (const int multiple = Trainer::template chunk_of<0> * options.accumulation; options.batch % multiple != 0)
    throw UsageError(formatted("--batch: expected a multiple of %d (samples of a chunk x --accumulation), found %d",
                               multiple, options.batch));
  d2v::TrainerOptions trainer_settings = Recipe::trainer_options();
  trainer_settings.seed = options.seed;
  trainer_settings.threads = options.threads;
  trainer_settings.accumulation = options.accumulation;
  Trainer trainer(trainer_settings);
  const d2v::ThreadTeam team(options.threads);  // how many threads 0 means
  std::printf("%s", plan_text<Model, Trainer>(options.batch, team.size(), source.bytes(options.batch),
                                              Source::unit).c_str());
  const auto start = std::chrono::steady_clock::now();
  if (!options.resume && options.updates == 0) {
    auto batches = source.batches(options, 0);
    for (int i = 0; i < timed && !interrupted;) i += trainer.step(batches.next()).updated;
    const double seconds = seconds_since(start) / timed;
    trainer.restart();
    options.updates = std::max<std::int64_t>(1, static_cast<std::int64_t>(options.minutes * 60 / seconds));
    std::printf("%.1f ms a step (of %d timed): %lld updates fit into %g minutes; --updates %lld repeats this run\n",
                1e3 * seconds, timed, static_cast<long long>(options.updates), options.minutes,
                static_cast<long long>(options.updates));
    std::fflush(stdout);
    if (interrupted) return {};
  }
  trainer.set_schedule(Recipe::schedule(options.updates, options.lr));
  trainer.set_ema(Recipe::ema(options.updates));
  if (options.resume) d2v::load_checkpoint<Model>(options.checkpoint(), trainer.state());
  const std::int64_t first = trainer.updates();
  if (options.resume) std::printf("going on behind update %lld\n", static_cast<long long>(first));
  settings["updates"] = options.updates;
  const d2v::Json kept = source.kept();
  d2v::Json extra = {{"options", settings}};
  extra.update(kept);

  Pretrained result;
  auto batches = source.batches(options, first);
  Progress progress(first, options.updates, options.batch, Source::unit);
  const auto show = [&](const d2v::StepReport& r) {
    if (r.update == first + 19 && r.update + 1 < options.updates)
      progress.note("expected for all updates: " +
                    clock_text(progress.seconds() / 20 * static_cast<double>(options.updates - first)));
    const d2v::ReportTerm& term = r.terms[0];
    if (Model::has_teacher) progress.show(r.update, r.regression, formatted("target deviation %.3f", r.target_var));
    else progress.show(r.update, r.loss, term.name ? formatted("%s %.3f", term.name, term.value) : "");
  };
  const auto note = [&](const std::string& text) {
    progress.note(text);
    result.alarms.push_back(text);
  };
  const auto end = d2v::run_loop(trainer,
                                 {.out = options.out,
                                  .updates = options.updates,
                                  .resume = options.resume,
                                  .save_every = options.save_every,
                                  .extra = extra},
                                 [&] { return batches.next(); }, interrupted, {.step = show, .note = note});
  result.updates = trainer.updates();
  result.finished = end == d2v::LoopEnd::finished;
  result.seconds = seconds_since(start);
  result.weights.assign(trainer.weights().begin(), trainer.weights().end());
  if (!result.finished) {
    progress.note(formatted("saved after update %lld of %lld; --resume goes on",
                            static_cast<long long>(result.updates), static_cast<long long>(options.updates)));
    return result;
  }
  const std::string file = options.out + "/weights.safetensors";
  d2v::SafetensorsMetadata metadata{{"updates", std::to_string(trainer.updates())}};
  for (const auto& [name, value] : kept.items()) metadata.emplace(name, value.dump());
  d2v::save_encoder<Model>(file, trainer.weights(), {}, metadata);
  progress.note("weights of the encoder: " + file);
  return result;
}

}  // namespace demo
