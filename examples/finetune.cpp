// SPDX-License-Identifier: MIT
// Fine-tunes an encoder with few or many labels, from pre-trained weights, from scratch, or both with the same budget,
// with one or several seeds. Each run is a function of its seed; --resume goes on behind the runs that are complete.
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/metrics.hpp>
#include <data2vec/finetune/finetuner.hpp>
#include <data2vec/finetune/mixup.hpp>
#include <data2vec/io/lock.hpp>

#include "examples/common.hpp"
#include "examples/demo_model.hpp"
#include "examples/image_data.hpp"

namespace {

namespace d2v = data2vec;
using demo::Model;
inline constexpr d2v::ClassifierConfig head{.num_classes = std::max(2, demo::classes), .drop_path = true};
using Tuner = d2v::FineTuner<Model, head, d2v::Cpu>;

struct Options {
  demo::DataOptions data;
  std::string weights, out = "out/finetune";
  bool teacher = false, from_scratch = false, resume = false;
  std::size_t labels = 0;
  double fraction = 1;
  int seeds = 1, epochs = 20, batch = 64, threads = 0;
  std::int64_t updates = 0, freeze = 0;
  double lr = 1e-3, layer_decay = 0.75, drop_path = 0.1, weight_decay = 0.05, clip_norm = 4;
  d2v::MixupConfig mixup = {.mixup_switch_prob = 0.5};
  std::uint64_t seed = 1;

  d2v::Json described() const {
    return {{"weights", weights}, {"teacher", teacher}, {"data", data.directory}, {"labels", labels},
            {"fraction", fraction}, {"epochs", epochs}, {"updates", updates}, {"batch", batch}, {"lr", lr},
            {"layer_decay", layer_decay}, {"drop_path", drop_path}, {"weight_decay", weight_decay},
            {"clip_norm", clip_norm}, {"freeze", freeze}, {"mixup", mixup.mixup}, {"cutmix", mixup.cutmix},
            {"mixup_prob", mixup.mixup_prob}, {"mixup_switch_prob", mixup.mixup_switch_prob},
            {"label_smoothing", mixup.label_smoothing}};
  }
};

/// Which images are used with their labels, and how long: the same for all runs of a seed.
struct Task {
  const d2v::ImageSets& images;
  d2v::ChannelStatistics statistics;
  const Options& options;
  std::size_t labels;

  std::int64_t updates() const {
    const auto batch = static_cast<std::size_t>(options.batch);
    return options.updates > 0 ? options.updates
                               : options.epochs * static_cast<std::int64_t>((labels + batch - 1) / batch);
  }
};

/// Trains on the labelled images, every one of them in each epoch: the last batch may be smaller. Stops when a signal
/// asks for it.
void train(Tuner& tuner, const Task& task, std::uint64_t seed, const std::string& name) {
  const Options& o = task.options;
  const auto chosen = demo::choose_labelled(task.images.train, task.labels, seed);
  demo::RandomView view(task.images.train, task.statistics);
  d2v::EpochOrder order(static_cast<std::uint32_t>(chosen.size()), seed);
  const auto batch = static_cast<std::size_t>(o.batch);
  const std::size_t per_epoch = (chosen.size() + batch - 1) / batch;
  std::vector<float> samples(batch * demo::sample_size), soft(batch * static_cast<std::size_t>(Tuner::classes));
  std::vector<std::int32_t> labels(batch);
  std::vector<std::uint32_t> ids(batch);
  const bool mixed = o.mixup.mixup > 0 || o.mixup.cutmix > 0;
  demo::Progress progress(0, task.updates(), static_cast<double>(std::min(batch, chosen.size())));
  progress.note(name + ":");
  while (tuner.updates() < task.updates() && !demo::interrupted) {
    const auto update = static_cast<std::size_t>(tuner.updates());
    const auto epoch = static_cast<std::uint32_t>(update / per_epoch);
    const std::size_t first = update % per_epoch * batch, n = std::min(batch, chosen.size() - first);
    for (std::size_t i = 0; i < n; ++i) {
      ids[i] = static_cast<std::uint32_t>(chosen[order.of(epoch)[first + i]]);
      labels[i] = view(ids[i], seed, epoch, &samples[i * demo::sample_size]);
    }
    const std::span<float> x(samples.data(), n * demo::sample_size);
    const std::span<const std::int32_t> y(labels.data(), n);
    const std::span<const std::uint32_t> who(ids.data(), n);
    d2v::FineTuneReport report;
    if (mixed) {
      const std::span<float> targets(soft.data(), n * static_cast<std::size_t>(Tuner::classes));
      d2v::mixup(o.mixup, demo::channels, demo::image_size, seed, static_cast<std::uint32_t>(update), x, y,
                 Tuner::classes, targets);
      report = tuner.step(x, std::span<const float>(targets), who);
    } else {
      report = tuner.step(x, y, who);
    }
    if (report.skipped)
      throw d2v::Error(name + ": update " + std::to_string(update) + ": expected a finite gradient, found another one");
    progress.show(report.update, report.loss, demo::formatted("accuracy %.3f", report.accuracy));
  }
}

d2v::Confusion evaluate(Tuner& tuner, const Task& task, int classes) {
  const demo::Views views(task.images.test, task.statistics);
  d2v::ThreadTeam team(task.options.threads);
  constexpr std::size_t piece = 1024;
  std::vector<float> samples(piece * demo::sample_size), logits(piece * static_cast<std::size_t>(Tuner::classes));
  std::vector<int> labels(piece);
  d2v::Confusion confusion(classes);
  for (std::size_t first = 0; first < views.size() && !demo::interrupted; first += piece) {
    const std::size_t n = std::min(piece, views.size() - first);
    views.load(team, first, n, samples.data(), labels.data());
    tuner.logits({samples.data(), n * demo::sample_size},
                 {logits.data(), n * static_cast<std::size_t>(Tuner::classes)});
    for (std::size_t i = 0; i < n; ++i) {
      const float* const row = &logits[i * static_cast<std::size_t>(Tuner::classes)];
      confusion.add(labels[i], static_cast<int>(std::max_element(row, row + classes) - row));
    }
  }
  return confusion;
}

d2v::Json counts_of(const d2v::Confusion& confusion) {
  d2v::Json counts = d2v::Json::array();
  for (int t = 0; t < confusion.classes(); ++t) {
    d2v::Json row = d2v::Json::array();
    for (int p = 0; p < confusion.classes(); ++p) row.push_back(confusion.count(t, p));
    counts.push_back(std::move(row));
  }
  return counts;
}

d2v::Confusion confusion_of(const d2v::Json& counts) {
  d2v::Confusion confusion(static_cast<int>(counts.size()));
  for (int t = 0; t < confusion.classes(); ++t)
    for (int p = 0; p < confusion.classes(); ++p)
      for (auto n = counts.at(static_cast<std::size_t>(t)).at(static_cast<std::size_t>(p)).get<int>(); n > 0; --n)
        confusion.add(t, p);
  return confusion;
}

void write_json(const std::string& path, const d2v::Json& json) {
  const std::string text = json.dump(2) + "\n";
  d2v::AtomicFile file(path, text.size());
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

/// The complete runs of the folder, or none; those of other options are refused.
d2v::Json runs_so_far(const Options& o, const std::string& path) {
  if (!o.resume && std::filesystem::exists(path))
    throw d2v::FileError(path, "expected a folder without results, found some: --resume goes on from them");
  if (!o.resume || !std::filesystem::exists(path)) return d2v::Json::array();
  const std::vector<std::byte> bytes = d2v::read_file(path);
  const d2v::Json kept =
      d2v::parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  if (!kept.contains("options") || !kept.contains("runs"))
    throw d2v::FileError(path, "expected results of this program, found something else");
  const d2v::Json given = o.described();
  for (const auto& [name, value] : given.items())
    if (kept["options"].value(name, d2v::Json()) != value)
      throw demo::UsageError("--resume: " + name + ": expected " + kept["options"].value(name, d2v::Json()).dump() +
                             ", with which " + path + " began, found " + value.dump());
  return kept["runs"];
}

void run(const Options& o) {
  if (o.weights.empty() && !o.from_scratch)
    throw demo::UsageError("expected --weights FILE, --from-scratch, or both, found neither");
  o.mixup.validate();
  demo::Encoder encoder;
  if (!o.weights.empty()) encoder = demo::read_weights(o.weights, o.teacher);
  const d2v::ImageSets images = demo::open_data(o.data);
  const std::vector<std::string>& names = demo::expect_classes(images.train, o.data.directory);
  const int classes = static_cast<int>(names.size());
  const std::size_t all = images.train.size();
  if (images.test.size() == 0) throw d2v::MismatchError(o.data.directory + ": expected test images, found none");
  if (o.labels > all)
    throw d2v::MismatchError("--labels: expected at most " + std::to_string(all) + ", as many as there are training "
                             "images, found " + std::to_string(o.labels));
  const auto part = static_cast<std::size_t>(o.fraction * static_cast<double>(all) + 0.5);
  const Task task{images, encoder.statistics.value_or(d2v::channel_statistics(images.train)), o,
                  o.labels > 0 ? o.labels : std::max<std::size_t>(1, part)};
  std::error_code error;
  std::filesystem::create_directories(o.out, error);
  if (error) throw d2v::FileError(o.out, "cannot make this folder: " + error.message());
  const d2v::FolderLock lock(o.out);
  const std::string results = o.out + "/results.json";
  d2v::Json runs = runs_so_far(o, results);
  std::printf("%zu labelled training images and %zu test images of %s; %lld updates of %d images\n", task.labels,
              images.test.size(), o.data.directory.c_str(), static_cast<long long>(task.updates()), o.batch);

  std::vector<std::string> starts;
  if (!o.weights.empty()) starts.push_back("pre-trained");
  if (o.from_scratch) starts.push_back("from scratch");
  const auto found = [&](const std::string& start, std::uint64_t seed) -> const d2v::Json* {
    for (const d2v::Json& r : runs)
      if (r.at("start") == start && r.at("seed") == seed) return &r;
    return nullptr;
  };
  for (std::uint64_t seed = o.seed; seed < o.seed + static_cast<std::uint64_t>(o.seeds); ++seed)
    for (const std::string& start : starts) {
      if (found(start, seed)) continue;
      d2v::FineTunerOptions settings = d2v::FineTunerOptions::of<Model>(o.drop_path);
      settings.schedule = d2v::CosineSchedule{
          .lr = o.lr, .warmup_updates = task.updates() / 10, .max_update = task.updates()};
      settings.optimizer = {
          .adam_betas = {0.9, 0.999}, .adam_eps = 1e-8, .weight_decay = o.weight_decay, .clip_norm = o.clip_norm};
      settings.label_smoothing = o.mixup.label_smoothing;
      settings.seed = seed;
      settings.threads = o.threads;
      if (start == "pre-trained") settings.layer_decay = o.layer_decay;
      if (start == "pre-trained") settings.freeze_finetune_updates = o.freeze;
      Tuner tuner(settings);
      if (start == "pre-trained") tuner.set_encoder({encoder.weights.data(), encoder.weights.size()});
      const std::string name = start + ", seed " + std::to_string(seed);
      train(tuner, task, seed, name);
      const d2v::Confusion confusion = evaluate(tuner, task, classes);
      if (demo::interrupted) {
        std::printf("%zu complete runs are saved; --resume goes on behind them\n", runs.size());
        return;
      }
      std::printf("%s: %.2f %% of the test images\n", name.c_str(), 100 * confusion.accuracy());
      const std::string file = o.out + "/" + (start == "pre-trained" ? "classifier" : "from-scratch") + "-seed" +
                               std::to_string(seed) + ".safetensors";
      d2v::save_weights<Tuner::Parameters>(file, tuner.weights().data(),
                                           {{"statistics", demo::json_of(task.statistics).dump()}});
      runs.push_back({{"start", start}, {"seed", seed}, {"accuracy", confusion.accuracy()},
                      {"classifier", file}, {"confusion", counts_of(confusion)}});
      write_json(results, {{"options", o.described()}, {"classes", names}, {"runs", runs}});
    }

  for (const std::string& start : starts) {
    d2v::Confusion sum(classes);
    double mean = 0, least = 1, most = 0;
    for (std::uint64_t seed = o.seed; seed < o.seed + static_cast<std::uint64_t>(o.seeds); ++seed) {
      const d2v::Json& r = *found(start, seed);
      const auto accuracy = r.at("accuracy").get<double>();
      mean += accuracy / o.seeds, least = std::min(least, accuracy), most = std::max(most, accuracy);
      sum += confusion_of(r.at("confusion"));
    }
    std::printf("\n%s: %.2f %% (seeds: %d, from %.2f to %.2f %%); true classes by predicted ones, all seeds\n%s",
                start.c_str(), 100 * mean, o.seeds, 100 * least, 100 * most, sum.table(names).c_str());
  }
  std::printf("results: %s\n", results.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Fine-tunes a classifier of images."};
  app.option_defaults()->always_capture_default();
  app.add_option("--weights", o.weights, "pre-trained weights or checkpoint (.safetensors)");
  app.add_flag("--teacher", o.teacher, "the teacher of a checkpoint instead of the student");
  app.add_flag("--from-scratch", o.from_scratch, "also, or only, from random weights with the same budget");
  o.data.add_to(app);
  app.add_option("--out", o.out, "folder of results.json and the classifiers");
  auto* labels = app.add_option("--labels", o.labels, "training images whose labels are used, balanced; 0: --fraction");
  app.add_option("--fraction", o.fraction, "the same as a share")->check(CLI::Range(0.0, 1.0))->excludes(labels);
  app.add_option("--seeds", o.seeds, "runs; each seed has labelled images of its own")->check(CLI::PositiveNumber);
  app.add_option("--seed", o.seed, "the first seed");
  auto* epochs = app.add_option("--epochs", o.epochs, "length in passes over the labelled images")
                     ->check(CLI::PositiveNumber);
  app.add_option("--updates", o.updates, "length in updates; 0: --epochs")
      ->check(CLI::NonNegativeNumber)
      ->excludes(epochs);
  app.add_option("--batch", o.batch, "images of an update")->check(CLI::PositiveNumber);
  app.add_option("--lr", o.lr, "highest learning rate of the cosine schedule")->check(CLI::PositiveNumber);
  app.add_option("--layer-decay", o.layer_decay, "factor on the learning rate from block to block, pre-trained only")
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--drop-path", o.drop_path, "stochastic depth of the last block")->check(CLI::Range(0.0, 0.99));
  app.add_option("--freeze", o.freeze, "updates in which only the head learns, pre-trained only")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--weight-decay", o.weight_decay, "")->check(CLI::NonNegativeNumber);
  app.add_option("--clip-norm", o.clip_norm, "of the gradient; 0: none")->check(CLI::NonNegativeNumber);
  app.add_option("--label-smoothing", o.mixup.label_smoothing, "")->check(CLI::Range(0.0, 0.99));
  app.add_option("--mixup", o.mixup.mixup, "alpha; 0: none")->check(CLI::NonNegativeNumber);
  app.add_option("--cutmix", o.mixup.cutmix, "alpha; 0: none")->check(CLI::NonNegativeNumber);
  app.add_option("--mixup-prob", o.mixup.mixup_prob, "of a batch being mixed")->check(CLI::Range(0.0, 1.0));
  app.add_option("--mixup-switch-prob", o.mixup.mixup_switch_prob, "of CutMix, where both are on")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--threads", o.threads, "0: all of the machine; results do not depend on it")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--resume", o.resume, "go on behind the complete runs in --out, with the same options");
  return demo::run_program("finetune", app, argc, argv, [&] { run(o); });
}
