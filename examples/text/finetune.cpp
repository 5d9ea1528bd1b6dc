// SPDX-License-Identifier: MIT
// Fine-tunes an encoder on labelled sentences or pairs, for classes or numbers: from pre-trained weights, from scratch,
// or both with the same budget, with one or several seeds, and by the settings of a task of GLUE. Each run is a function
// of its seed; stopped at any moment, --resume goes on from there to the same bits.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/checkpoint.hpp>
#include <data2vec/training/loop.hpp>

#include "examples/common/encoder.hpp"
#include "examples/common/program.hpp"
#include "examples/common/tuning_runs.hpp"
#include "examples/text/encoder.hpp"
#include "examples/text/tuning.hpp"

namespace {

namespace d2v = data2vec;
using demo::Model;
using Tuner = d2v::FineTuner<Model, demo::first_token_head, d2v::Cpu>;

struct Options {
  demo::SizeOptions size;
  demo::LabelledOptions data;
  demo::EncoderOptions encoder;
  std::string out = "out/finetune-text";
  bool from_scratch = false, resume = false;
  std::size_t labels = 0;
  double fraction = 1;
  int seeds = 1, epochs = 10, batch = 32, threads = 0;
  std::int64_t updates = 0, freeze = 0;
  double lr = 5e-4, warmup = 0.06, layer_decay = 1, weight_decay = 0.1, clip_norm = 0, label_smoothing = 0,
         save_every = 60;
  std::uint64_t seed = 1;

  d2v::Json described() const {
    d2v::Json all = data.json();
    all.update(encoder.json());
    all.update({{"labels", labels}, {"fraction", fraction}, {"epochs", epochs}, {"updates", updates},
                {"batch", batch}, {"lr", lr}, {"warmup", warmup}, {"layer_decay", layer_decay},
                {"weight_decay", weight_decay}, {"clip_norm", clip_norm}, {"freeze", freeze},
                {"label_smoothing", label_smoothing}});
    return all;
  }

  /// What the task says, where the command line does not say otherwise.
  void take(const d2v::GlueTask& task, const CLI::App& app) {
    if (app.count("--batch") == 0) batch = task.batch;
    if (app.count("--lr") == 0) lr = task.lr;
    if (app.count("--updates") == 0 && app.count("--epochs") == 0) updates = task.total_num_update;
    if (app.count("--warmup") == 0)
      warmup = static_cast<double>(task.warmup_updates) / static_cast<double>(task.total_num_update);
  }
};

void print(const std::string& name, const d2v::Json& scores) {
  std::string text = name + ":";
  for (const auto& [what, score] : scores.items())
    if (score.is_number()) text += demo::formatted(" %s %.4f,", what.c_str(), score.get<double>());
  text.back() = '\n';
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void run(Options o, const CLI::App& app) {
  o.size.expect();
  if (o.encoder.weights.empty() && !o.from_scratch)
    throw demo::UsageError("expected --weights FILE, --from-scratch, or both, found neither");
  if (const auto task = o.data.glue()) o.take(*task, app);
  const demo::TextEncoder encoder(o.encoder);
  const demo::LabelledSets sets = demo::open_labelled(o.data);
  demo::expect_labels(sets, o.data);
  const demo::Samples train(sets.train, encoder.vocabulary);
  const demo::Samples judged(demo::judged_part(sets, o.data), encoder.vocabulary);
  if (o.labels > train.size())
    throw d2v::MismatchError("--labels: expected at most " + std::to_string(train.size()) +
                             ", as many as there are training samples, found " + std::to_string(o.labels));
  const auto part = static_cast<std::size_t>(o.fraction * static_cast<double>(train.size()) + 0.5);
  const std::size_t labels = o.labels > 0 ? o.labels : std::max<std::size_t>(1, part);
  const auto batch = static_cast<std::size_t>(o.batch);
  const std::int64_t updates =
      o.updates > 0 ? o.updates : o.epochs * static_cast<std::int64_t>((labels + batch - 1) / batch);
  demo::TuningRuns runs(o.out, o.resume, o.described(),
                        {{"samples", train.size()}, {"classes", sets.train.classes},
                         {"vocabulary", encoder.vocabulary.fingerprint()}});
  std::printf("%zu labelled training samples and %zu that are judged, of %s; %lld updates of %d samples\n", labels,
              judged.size(), o.data.data.c_str(), static_cast<long long>(updates), o.batch);

  std::vector<std::string> starts;
  if (!o.encoder.weights.empty()) starts.push_back("pre-trained");
  if (o.from_scratch) starts.push_back("from scratch");
  const auto make = [&](const std::string& start, std::uint64_t seed, const std::string& folder) -> d2v::Json {
    const bool pretrained = start == "pre-trained";
    d2v::FineTunerOptions settings = d2v::sentence_recipe<Model>(
        o.lr, static_cast<std::int64_t>(o.warmup * static_cast<double>(updates)), updates);
    settings.optimizer.weight_decay = o.weight_decay;
    settings.optimizer.clip_norm = o.clip_norm;
    settings.label_smoothing = o.label_smoothing;
    settings.seed = seed;
    settings.threads = o.threads;
    if (pretrained) settings.layer_decay = o.layer_decay, settings.freeze_finetune_updates = o.freeze;
    Tuner tuner(settings);
    if (pretrained) tuner.set_encoder(encoder.weights());
    const std::string checkpoint = folder + "/checkpoint.safetensors", name = start + ", seed " + std::to_string(seed);
    const bool resume = std::filesystem::exists(checkpoint);
    if (resume) d2v::load_checkpoint<Tuner::ModelType>(checkpoint, tuner.state());
    demo::TuningBatches batches(tuner, train, demo::choose_samples(train.size(), labels, seed), o.batch, seed);
    demo::Progress progress(tuner.updates(), updates, static_cast<double>(batches.size()), "samples");
    progress.note(name + ":" + (resume ? " going on behind update " + std::to_string(tuner.updates()) : ""));
    d2v::run_loop(tuner, {.out = folder, .updates = updates, .resume = resume, .save_every = o.save_every}, batches,
                  demo::interrupted,
                  {.step = [&](const d2v::FineTuneReport& r) {
                     progress.show(r.update, r.loss,
                                   Tuner::Net::regression ? "" : demo::formatted("accuracy %.3f", r.accuracy));
                   },
                   .note = [&](const std::string& text) { progress.note(text); }});
    if (demo::interrupted) return nullptr;
    d2v::Json scores = demo::evaluate(tuner, judged, static_cast<int>(sets.train.classes.size()));
    print(name, scores);
    const std::string file = folder + ".safetensors";
    d2v::save_weights<Tuner::Parameters>(file, tuner.weights().data(),
                                         {{"vocabulary", d2v::Json(encoder.vocabulary.fingerprint()).dump()}});
    scores["classifier"] = file;
    return scores;
  };
  if (!runs.complete(starts, o.seed, o.seeds, make)) return;
  for (const std::string& start : starts) {
    d2v::Json mean = d2v::Json::object();
    for (std::uint64_t seed = o.seed; seed < o.seed + static_cast<std::uint64_t>(o.seeds); ++seed)
      for (const auto& [name, score] : runs.find(start, seed)->items())
        if (score.is_number_float()) mean[name] = mean.value(name, 0.0) + score.get<double>() / o.seeds;
    print(start + ", mean of " + std::to_string(o.seeds), mean);
  }
  std::printf("results: %s\n", runs.file().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Fine-tunes an encoder on labelled sentences or pairs of sentences."};
  app.option_defaults()->always_capture_default();
  o.encoder.add_to(app, false);
  app.add_flag("--from-scratch", o.from_scratch, "also, or only, from random weights with the same budget");
  o.data.add_to(app);
  o.size.add_to(app);
  app.add_option("--out", o.out, "folder of results.json, the classifiers and their logs");
  auto* labels = app.add_option("--labels", o.labels, "training samples whose labels are used; 0: --fraction");
  app.add_option("--fraction", o.fraction, "the same as a share")->check(CLI::Range(0.0, 1.0))->excludes(labels);
  app.add_option("--seeds", o.seeds, "runs; each seed has labelled samples of its own")->check(CLI::PositiveNumber);
  app.add_option("--seed", o.seed, "the first seed");
  auto* epochs = app.add_option("--epochs", o.epochs, "length in passes over the labelled samples")
                     ->check(CLI::PositiveNumber);
  app.add_option("--updates", o.updates, "length in updates; 0: --epochs, or what the task says")
      ->check(CLI::NonNegativeNumber)
      ->excludes(epochs);
  app.add_option("--batch", o.batch, "samples of an update")->check(CLI::PositiveNumber);
  app.add_option("--lr", o.lr, "highest learning rate, which then falls linearly to 0")->check(CLI::PositiveNumber);
  app.add_option("--warmup", o.warmup, "share of the updates in which the learning rate rises")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--layer-decay", o.layer_decay, "factor on the learning rate from block to block, pre-trained only")
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--freeze", o.freeze, "updates in which only the head learns, pre-trained only")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--weight-decay", o.weight_decay, "")->check(CLI::NonNegativeNumber);
  app.add_option("--clip-norm", o.clip_norm, "of the gradient; 0: none")->check(CLI::NonNegativeNumber);
  app.add_option("--label-smoothing", o.label_smoothing, "")->check(CLI::Range(0.0, 0.99));
  app.add_option("--threads", o.threads, "0: all of the machine; results do not depend on it")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--save-every", o.save_every, "seconds between checkpoints")->check(CLI::NonNegativeNumber);
  app.add_flag("--resume", o.resume, "go on from where the runs in --out were stopped, with the same options");
  return demo::run_program("finetune", app, argc, argv, [&] { run(o, app); });
}
