// SPDX-License-Identifier: MIT
// One run of the comparison of systems: pre-trains the system that this program is compiled for, judges its frozen
// features at growing times, and keeps what it found. `./run bench claim` runs it for every system and seed, and
// `--table` makes the table and the figure of what the runs kept.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>

#include "examples/common/files.hpp"
#include "examples/common/judging.hpp"
#include "examples/common/program.hpp"
#include "examples/vision/claim_table.hpp"
#include "examples/vision/data.hpp"
#include "examples/vision/feature_extractor.hpp"
#include "examples/vision/recipe.hpp"

namespace {

namespace d2v = data2vec;
namespace fs = std::filesystem;
using Trainer = demo::Recipe::Trainer;

struct Options {
  demo::DataOptions data;
  std::string out = "out/claim";
  double minutes = 3, lr = demo::learning_rate;
  std::int64_t updates = 0;
  int batch = demo::batch_size, threads = 0, times = 5;
  std::uint64_t seed = 1;
  std::size_t labels = 5'000;
  bool validation = false, table = false;

  std::string name() const { return std::string(demo::system) + "-" + std::to_string(seed); }
  d2v::Json json() const {
    return {{"minutes", minutes}, {"batch", batch}, {"lr", lr},         {"seed", seed},
            {"labels", labels},   {"times", times}, {"validation", validation}, {"data", data.directory}};
  }
};

/// The images that are judged: every tenth of the training images where a choice is to be made by them, else the tests.
struct Judged {
  std::vector<std::size_t> labelled, held_out;
};
Judged choose(const d2v::ImageSets& sets, const Options& o) {
  Judged images;
  for (const std::size_t i : demo::choose_labelled(sets.train, 0, o.seed))
    if (i % 10 == 0) images.held_out.push_back(i);
    else if (images.labelled.size() < o.labels) images.labelled.push_back(i);
  return images;
}

void run(Options o) {
  const std::string done = o.out + "/" + o.name() + ".json", checkpoint = o.out + "/" + o.name() + ".safetensors";
  if (fs::exists(done)) {
    std::printf("%s: done\n", done.c_str());
    return;
  }
  fs::create_directories(o.out);
  const d2v::FolderLock lock(o.out);
  const d2v::ImageSets sets = demo::open_data(o.data);
  const auto statistics = d2v::channel_statistics(sets.train);
  const auto& names = demo::expect_classes(sets.train, o.data.directory);
  const Judged judged = choose(sets, o);
  const demo::Views train(sets.train, statistics, judged.labelled);
  const demo::Views test =
      o.validation ? demo::Views(sets.train, statistics, judged.held_out) : demo::Views(sets.test, statistics);

  d2v::TrainerOptions settings = demo::Recipe::trainer_options();
  settings.seed = o.seed;
  settings.threads = o.threads;
  Trainer trainer(settings);
  d2v::Json state = {{"options", o.json()}, {"seconds", 0.0}, {"updates", o.updates}, {"rows", d2v::Json::array()}};
  if (fs::exists(checkpoint)) {
    const d2v::Json kept = d2v::load_checkpoint<demo::Model>(checkpoint, trainer.state());
    if (kept["options"] != state["options"])
      throw demo::UsageError(checkpoint + ": expected a run with " + state["options"].dump() + ", found one with " +
                             kept["options"].dump() + ": choose another --out");
    state = kept;
  } else if (o.updates == 0) {
    constexpr int timed = 20;
    auto batches = demo::batches_of(sets.train, statistics, o.batch, o.seed, 0);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < timed; ++i) {
      const auto batch = batches.next();
      trainer.step({batch.samples, batch.ids});
    }
    state["updates"] = std::max<std::int64_t>(1, static_cast<std::int64_t>(o.minutes * 60 * timed /
                                                                           demo::seconds_since(start)));
    trainer.restart();
  }
  const auto updates = state["updates"].get<std::int64_t>();
  trainer.set_schedule(demo::Recipe::schedule(updates, o.lr));
  trainer.set_ema(demo::Recipe::ema(updates));
  std::printf("%s, seed %llu: %lld updates of %d images\n", demo::System::title,
              static_cast<unsigned long long>(o.seed), static_cast<long long>(updates), o.batch);

  demo::FeatureExtractor extract(o.threads);
  const std::size_t width = demo::FeatureExtractor::width(demo::judged_pool);
  const auto features = [&](const demo::Views& views) {
    demo::Rows rows{std::vector<float>(views.size() * width), std::vector<int>(views.size())};
    extract(trainer.weights().data(), views, 0, views.size(), demo::judged_pool, demo::judged_layer,
            rows.values.data(), rows.labels.data());
    return rows;
  };
  auto batches = demo::batches_of(sets.train, statistics, o.batch, o.seed, trainer.updates());
  const auto save = [&] { d2v::save_checkpoint<demo::Model>(checkpoint, trainer.state(), state); };
  auto part = std::chrono::steady_clock::now(), saved = part;
  const double before = state["seconds"];
  double trained = before;
  while (trainer.updates() < updates && !demo::interrupted) {
    const auto batch = batches.next();
    if (!trainer.step({batch.samples, batch.ids}).updated)
      throw d2v::Error("update " + std::to_string(trainer.updates()) + ": the gradient is not finite");
    const auto times = static_cast<std::int64_t>(o.times);
    const std::int64_t next = static_cast<std::int64_t>(state["rows"].size()) + 1;
    const bool judge_now = next <= times && trainer.updates() >= updates * next / times;
    if (judge_now || demo::seconds_since(saved) > 60) {
      trained += demo::seconds_since(part);
      state["seconds"] = trained;
      if (judge_now) {
        const demo::Judgement j =
            demo::judge(demo::System::title, features(train), features(test), width, d2v::Metric::cosine,
                        static_cast<int>(names.size()), {.seed = o.seed, .threads = o.threads});
        if (demo::interrupted) break;
        state["rows"].push_back({{"seconds", trained}, {"update", trainer.updates()},
                                 {"knn", j.knn.accuracy()}, {"probe", j.linear.accuracy()}});
        std::printf("%8.1f s  update %7lld  neighbours %6.2f %%  probe %6.2f %%\n", trained,
                    static_cast<long long>(trainer.updates()), 100 * j.knn.accuracy(), 100 * j.linear.accuracy());
        std::fflush(stdout);
      }
      save();
      part = saved = std::chrono::steady_clock::now();
    }
  }
  if (demo::interrupted) {
    state["seconds"] = trained + demo::seconds_since(part);
    save();
    std::printf("saved after update %lld; the same command goes on\n", static_cast<long long>(trainer.updates()));
    return;
  }
  state["system"] = demo::system;
  state["title"] = demo::System::title;
  state["parameters"] = demo::Model::encoder_parameter_count;
  demo::write_json(done, state);
  fs::remove(checkpoint);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Pre-trains one system and judges its features at growing times; --table compares what runs kept."};
  app.option_defaults()->always_capture_default();
  o.data.add_to(app);
  app.add_option("--out", o.out, "folder of the runs, their table and their figure");
  app.add_option("--minutes", o.minutes, "length of a run, by 20 timed steps")->check(CLI::PositiveNumber);
  app.add_option("--updates", o.updates, "length in updates instead; 0: by --minutes")->check(CLI::NonNegativeNumber);
  app.add_option("--times", o.times, "times at which features are judged")->check(CLI::PositiveNumber);
  app.add_option("--batch", o.batch, "images of an update")->check(CLI::PositiveNumber);
  app.add_option("--lr", o.lr, "highest learning rate of the cosine schedule")->check(CLI::PositiveNumber);
  app.add_option("--seed", o.seed, "of weights, masks, order and the choice of labelled images");
  app.add_option("--labels", o.labels, "labelled training images of the probe")->check(CLI::PositiveNumber);
  app.add_option("--threads", o.threads, "0: all of the machine")->check(CLI::NonNegativeNumber);
  app.add_flag("--validation", o.validation, "judge by training images that are held out, to choose settings");
  app.add_flag("--table", o.table, "instead: table.md and accuracy.svg of the runs in --out");
  return demo::run_program("claim", app, argc, argv, [&] {
    if (o.table) demo::write_claim(o.out);
    else run(o);
  });
}
