// SPDX-License-Identifier: MIT
// Fine-tunes an encoder with few or many labels, from pre-trained weights, from scratch, or both with the same budget,
// with one or several seeds. Each run is a function of its seed; stopped at any moment, --resume goes on from there to
// the same bits.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/metrics.hpp>
#include <data2vec/finetune/checkpoint.hpp>
#include <data2vec/finetune/mixup.hpp>
#include <data2vec/training/loop.hpp>

#include "examples/common/files.hpp"
#include "examples/common/judging.hpp"
#include "examples/common/program.hpp"
#include "examples/common/tuning_runs.hpp"
#include "examples/vision/model.hpp"
#include "examples/vision/data.hpp"

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
  double lr = 1e-3, layer_decay = 0.75, drop_path = 0.1, weight_decay = 0.05, clip_norm = 4, save_every = 60;
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

/// The batch of an update: every labelled image once in each epoch, so the last batch of one may be smaller.
class Batches {
 public:
  Batches(const Tuner& tuner, const Task& task, std::uint64_t seed)
      : tuner_(tuner), mixup_(task.options.mixup), seed_(seed),
        chosen_(demo::choose_labelled(task.images.train, task.labels, seed)), view_(task.images.train, task.statistics),
        order_(static_cast<std::uint32_t>(chosen_.size()), seed),
        batch_(std::min(static_cast<std::size_t>(task.options.batch), chosen_.size())),
        samples_(batch_ * demo::sample_size), soft_(batch_ * classes), labels_(batch_), ids_(batch_) {}

  std::size_t size() const { return batch_; }

  d2v::LabelledBatch<> operator()() {
    const auto update = static_cast<std::size_t>(tuner_.updates());
    const std::size_t per_epoch = (chosen_.size() + batch_ - 1) / batch_, first = update % per_epoch * batch_;
    const auto epoch = static_cast<std::uint32_t>(update / per_epoch);
    const std::size_t n = std::min(batch_, chosen_.size() - first);
    for (std::size_t i = 0; i < n; ++i) {
      ids_[i] = static_cast<std::uint32_t>(chosen_[order_.of(epoch)[first + i]]);
      labels_[i] = view_(ids_[i], seed_, epoch, &samples_[i * demo::sample_size]);
    }
    const std::span<float> x(samples_.data(), n * demo::sample_size), q(soft_.data(), n * classes);
    const std::span<const std::int32_t> y(labels_.data(), n);
    const std::span<const std::uint32_t> who(ids_.data(), n);
    if (mixup_.mixup <= 0 && mixup_.cutmix <= 0) return {x, who, y, {}};
    d2v::mixup(mixup_, demo::channels, demo::image_size, seed_, static_cast<std::uint32_t>(update), x, y,
               Tuner::classes, q);
    return {x, who, {}, q};
  }

 private:
  static constexpr auto classes = static_cast<std::size_t>(Tuner::classes);
  const Tuner& tuner_;
  d2v::MixupConfig mixup_;
  std::uint64_t seed_;
  std::vector<std::size_t> chosen_;
  demo::RandomView view_;
  d2v::EpochOrder order_;
  std::size_t batch_;
  std::vector<float> samples_, soft_;
  std::vector<std::int32_t> labels_;
  std::vector<std::uint32_t> ids_;
};

/// Trains to the end or until a signal asks to stop, with log and checkpoint in `folder`; from the checkpoint if there
/// is one.
void train(Tuner& tuner, const Task& task, std::uint64_t seed, const std::string& name, const std::string& folder) {
  const std::string checkpoint = folder + "/checkpoint.safetensors";
  const bool resume = std::filesystem::exists(checkpoint);
  if (resume) d2v::load_checkpoint<Tuner::ModelType>(checkpoint, tuner.state());
  Batches batches(tuner, task, seed);
  demo::Progress progress(tuner.updates(), task.updates(), static_cast<double>(batches.size()));
  progress.note(name + ":" + (resume ? " going on behind update " + std::to_string(tuner.updates()) : ""));
  d2v::run_loop(tuner,
                {.out = folder, .updates = task.updates(), .resume = resume, .save_every = task.options.save_every},
                batches, demo::interrupted,
                {.step = [&](const d2v::FineTuneReport& r) {
                   progress.show(r.update, r.loss, demo::formatted("accuracy %.3f", r.accuracy));
                 },
                 .note = [&](const std::string& text) { progress.note(text); }});
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

void run(const Options& o) {
  if (o.weights.empty() && !o.from_scratch)
    throw demo::UsageError("expected --weights FILE, --from-scratch, or both, found neither");
  o.mixup.validate();
  demo::Encoder encoder;
  if (!o.weights.empty()) encoder = demo::read_weights<demo::Model>(o.weights, o.teacher);
  const d2v::ImageSets images = demo::open_data(o.data);
  const std::vector<std::string>& names = demo::expect_classes(images.train, o.data.directory);
  const int classes = static_cast<int>(names.size());
  const std::size_t all = images.train.size();
  if (images.test.size() == 0) throw d2v::MismatchError(o.data.directory + ": expected test images, found none");
  if (o.labels > all)
    throw d2v::MismatchError("--labels: expected at most " + std::to_string(all) + ", as many as there are training "
                             "images, found " + std::to_string(o.labels));
  const auto part = static_cast<std::size_t>(o.fraction * static_cast<double>(all) + 0.5);
  const Task task{images, demo::statistics_of(encoder).value_or(d2v::channel_statistics(images.train)), o,
                  o.labels > 0 ? o.labels : std::max<std::size_t>(1, part)};
  demo::TuningRuns runs(o.out, o.resume, o.described(), {{"images", all}, {"classes", names}});
  std::printf("%zu labelled training images and %zu test images of %s; %lld updates of %d images\n", task.labels,
              images.test.size(), o.data.directory.c_str(), static_cast<long long>(task.updates()), o.batch);

  std::vector<std::string> starts;
  if (!o.weights.empty()) starts.push_back("pre-trained");
  if (o.from_scratch) starts.push_back("from scratch");
  const auto make = [&](const std::string& start, std::uint64_t seed, const std::string& folder) -> d2v::Json {
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
    train(tuner, task, seed, name, folder);
    const d2v::Confusion confusion = evaluate(tuner, task, classes);
    if (demo::interrupted) return nullptr;
    std::printf("%s: %.2f %% of the test images\n", name.c_str(), 100 * confusion.accuracy());
    const std::string file = folder + ".safetensors";
    d2v::save_weights<Tuner::Parameters>(file, tuner.weights().data(),
                                         {{"statistics", demo::json_of(task.statistics).dump()}});
    return {{"accuracy", confusion.accuracy()}, {"classifier", file}, {"confusion", demo::counts_of(confusion)}};
  };
  if (!runs.complete(starts, o.seed, o.seeds, make)) return;

  for (const std::string& start : starts) {
    d2v::Confusion sum(classes);
    double mean = 0, least = 1, most = 0;
    for (std::uint64_t seed = o.seed; seed < o.seed + static_cast<std::uint64_t>(o.seeds); ++seed) {
      const d2v::Json& r = *runs.find(start, seed);
      const auto accuracy = r.at("accuracy").get<double>();
      mean += accuracy / o.seeds, least = std::min(least, accuracy), most = std::max(most, accuracy);
      sum += demo::confusion_of(r.at("confusion"));
    }
    std::printf("\n%s: %.2f %% (seeds: %d, from %.2f to %.2f %%); true classes by predicted ones, all seeds\n%s",
                start.c_str(), 100 * mean, o.seeds, 100 * least, 100 * most, sum.table(names).c_str());
  }
  std::printf("results: %s\n", runs.file().c_str());
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
  app.add_option("--out", o.out, "folder of results.json, the classifiers and their logs");
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
  app.add_option("--save-every", o.save_every, "seconds between checkpoints")->check(CLI::NonNegativeNumber);
  app.add_flag("--resume", o.resume, "go on from where the runs in --out were stopped, with the same options");
  return demo::run_program("finetune", app, argc, argv, [&] { run(o); });
}
