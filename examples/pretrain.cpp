// SPDX-License-Identifier: MIT
// Pre-trains the model of demo_model.hpp on images of one's own, without their labels: a folder with checkpoint, log
// and the weights of the encoder. Stopped at any moment, it goes on from there to the same bits.
#include <cstdio>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/training/loop.hpp>

#include "examples/common.hpp"
#include "examples/demo_model.hpp"
#include "examples/image_data.hpp"

namespace {

namespace d2v = data2vec;
using demo::Model;
using ModelTrainer = d2v::Trainer<Model, d2v::Cpu>;

struct Options {
  demo::DataOptions data;
  std::string out = "out/pretrain";
  double minutes = 4, lr = 2e-3, save_every = 60;
  std::int64_t updates = 0;
  int batch = demo::batch_size, accumulation = 1, threads = 0;
  std::uint64_t seed = 1;
  bool resume = false;

  /// What a training is; a checkpoint keeps it, and what goes on from there is this.
  d2v::Json json() const {
    return {{"updates", updates}, {"batch", batch}, {"accumulation", accumulation}, {"lr", lr}, {"seed", seed}};
  }
};

/// Takes the options of the training in `out`; one that the command line gives must be the same.
d2v::Json resumed(Options& options, const CLI::App& app) {
  const std::string path = options.out + "/checkpoint.safetensors";
  const d2v::Json extra = d2v::checkpoint_extra(d2v::SafetensorsFile::open(path));
  if (!extra.contains("options") || !extra.contains("statistics"))
    throw d2v::FileError(path, "expected a checkpoint of this program, found another one");
  const d2v::Json& kept = extra["options"];
  if (app.count("--minutes") > 0)
    throw demo::UsageError("--minutes: the length is fixed since the training began: " + kept["updates"].dump() +
                           " updates");
  const d2v::Json given = options.json();
  for (const auto& [name, value] : kept.items()) {
    const std::string flag = "--" + name;
    if (app.count(flag) > 0 && given[name] != value)
      throw demo::UsageError(flag + ": expected " + value.dump() + ", with which the training of " + path +
                             " began, found " + given[name].dump());
  }
  options.updates = kept["updates"], options.batch = kept["batch"], options.accumulation = kept["accumulation"];
  options.lr = kept["lr"], options.seed = kept["seed"];
  return extra;
}

void schedule(ModelTrainer& trainer, const Options& options) {
  trainer.set_schedule(d2v::CosineSchedule{
      .lr = options.lr, .warmup_updates = options.updates / 20, .max_update = options.updates});
  trainer.set_ema(demo::ema(options.updates));
}

/// Seconds of `steps` updates, after which the trainer is as new.
double time_steps(ModelTrainer& trainer, demo::BatchSource source, int steps) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < steps && !demo::interrupted;) i += trainer.step(source()).updated;
  const double seconds = demo::seconds_since(start);
  trainer.restart();
  return seconds;
}

void run(Options options, const CLI::App& app) {
  const std::string checkpoint = options.out + "/checkpoint.safetensors";
  if (!options.resume && std::filesystem::exists(checkpoint))
    throw d2v::FileError(checkpoint, "expected a folder without a checkpoint, found one: --resume goes on from it");
  d2v::Json extra = options.resume ? resumed(options, app) : d2v::Json::object();
  const d2v::ImageSets sets = demo::open_data(options.data);
  const auto statistics =
      options.resume ? demo::statistics_of(extra["statistics"]) : d2v::channel_statistics(sets.train);
  if (options.resume && extra["images"] != sets.train.size())
    throw d2v::MismatchError(options.data.directory + ": expected the " + extra["images"].dump() +
                             " training images with which this training began, found " +
                             std::to_string(sets.train.size()));
  constexpr int chunk = d2v::default_chunk<Model::First>;
  if (options.batch % (chunk * options.accumulation) != 0)
    throw demo::UsageError(demo::formatted("--batch: expected a multiple of %d (samples of a chunk x --accumulation), "
                                           "found %d", chunk * options.accumulation, options.batch));
  d2v::TrainerOptions settings = demo::trainer_options();
  settings.seed = options.seed;
  settings.threads = options.threads;
  settings.accumulation = options.accumulation;
  ModelTrainer trainer(settings);
  const auto source = [&](std::int64_t first) {
    return demo::BatchSource(sets.train, statistics, options.batch, options.seed, first, options.accumulation);
  };

  std::printf("%zu training images from %s\n", sets.train.size(), options.data.directory.c_str());
  const d2v::ThreadTeam team(options.threads);  // how many threads 0 means
  const bool packed = demo::fills_the_model(sets.train) && sets.train.height() > 0;
  const double image_bytes = packed ? static_cast<double>(sets.train.size() * demo::sample_size) : 0;
  const double batch_bytes = 3.0 * options.batch * static_cast<double>(demo::sample_size * sizeof(float));
  std::printf("%s", demo::plan_text<Model>(options.batch, team.size(), image_bytes + batch_bytes).c_str());
  if (!options.resume && options.updates == 0) {
    constexpr int timed = 20;
    const double seconds = time_steps(trainer, source(0), timed) / timed;
    options.updates = std::max<std::int64_t>(1, static_cast<std::int64_t>(options.minutes * 60 / seconds));
    std::printf("%.1f ms a step (of %d timed): %lld updates fit into %g minutes; --updates %lld repeats this run\n",
                1e3 * seconds, timed, static_cast<long long>(options.updates), options.minutes,
                static_cast<long long>(options.updates));
    if (demo::interrupted) return;
  }
  schedule(trainer, options);
  extra = {{"options", options.json()}, {"images", sets.train.size()}, {"statistics", demo::json_of(statistics)}};

  if (options.resume) d2v::load_checkpoint<Model>(checkpoint, trainer.state());
  const std::int64_t first = trainer.updates();
  if (options.resume) std::printf("going on behind update %lld\n", static_cast<long long>(first));
  demo::BatchSource batches = source(first);
  demo::Progress progress(first, options.updates, options.batch);
  const auto show = [&](const d2v::StepReport& r) {
    if (r.update == first + 19 && r.update + 1 < options.updates)
      progress.note("expected for all updates: " +
                    demo::clock_text(progress.seconds() / 20 * static_cast<double>(options.updates - first)));
    progress.show(r.update, r.regression, demo::formatted("target deviation %.3f", r.target_var));
  };
  const auto end = d2v::run_loop(trainer,
                                 {.out = options.out,
                                  .updates = options.updates,
                                  .resume = options.resume,
                                  .save_every = options.save_every,
                                  .extra = extra},
                                 batches, demo::interrupted,
                                 {.step = show, .note = [&](const std::string& text) { progress.note(text); }});
  if (end == d2v::LoopEnd::stopped) {
    progress.note(demo::formatted("saved after update %lld of %lld; --resume goes on",
                                  static_cast<long long>(trainer.updates()), static_cast<long long>(options.updates)));
    return;
  }
  const std::string file = options.out + "/weights.safetensors";
  d2v::save_encoder<Model>(file, trainer.weights(), {},
                           {{"updates", std::to_string(trainer.updates())},
                            {"statistics", demo::json_of(statistics).dump()}});
  progress.note("weights of the encoder: " + file);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"data2vec 2.0: pre-trains an encoder on images without labels."};
  app.option_defaults()->always_capture_default();
  options.data.add_to(app);
  app.add_option("--out", options.out, "folder of checkpoint.safetensors, weights.safetensors and log.jsonl");
  auto* minutes = app.add_option("--minutes", options.minutes, "length: as many updates as fit, by 20 timed steps")
                      ->check(CLI::PositiveNumber);
  app.add_option("--updates", options.updates, "length in updates: repeats a run exactly; 0: by --minutes")
      ->check(CLI::NonNegativeNumber)
      ->excludes(minutes);
  app.add_option("--batch", options.batch, "images of an update")->check(CLI::PositiveNumber);
  app.add_option("--accumulation", options.accumulation, "micro-batches that the images of an update come in")
      ->check(CLI::PositiveNumber);
  app.add_option("--lr", options.lr, "highest learning rate of the cosine schedule")->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed, "of weights, masks, order and augmentation");
  app.add_option("--threads", options.threads, "0: all of the machine; the result does not depend on it")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--save-every", options.save_every, "seconds between checkpoints")->check(CLI::NonNegativeNumber);
  app.add_flag("--resume", options.resume, "go on from the checkpoint in --out, with the options that it holds");
  return demo::run_program("pretrain", app, argc, argv, [&] { run(options, app); });
}
