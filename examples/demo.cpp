// SPDX-License-Identifier: MIT
// data2vec 2.0 on real images, from scratch, in minutes on two cores: pre-trains on the training images without their
// labels, writes the weights, and asks of the frozen encoder, before and after, which labelled images lie nearest to
// the test images. `pretrain`, `probe` and `finetune` do the same in steps that can be stopped and resumed.
#include <cstdio>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/knn.hpp>
#include <data2vec/training/checkpoint.hpp>

#include "examples/common.hpp"
#include "examples/demo_model.hpp"
#include "examples/feature_extractor.hpp"
#include "examples/image_data.hpp"

namespace {

namespace d2v = data2vec;
using demo::Model;

struct Options {
  demo::DataOptions data;
  double minutes = 4;
  std::int64_t updates = 0;
  std::string out = "out/demo";
  int threads = 0;
  std::size_t labels = 10'000;
  std::uint64_t seed = 1;
};

/// Pre-trains for the given updates, or for as many as --minutes allow after timing the first twenty.
void pretrain(d2v::Trainer<Model, d2v::Cpu>& trainer, Options options, const d2v::ImageDataset& images,
              const d2v::ChannelStatistics& statistics) {
  constexpr int n = demo::batch_size, timed = 20;
  if (options.updates == 0) {
    demo::BatchSource batches(images, statistics, n, options.seed, 0);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < timed && !demo::interrupted; ++i) trainer.step(batches());
    const double seconds = demo::seconds_since(start) / timed;
    options.updates = std::max<std::int64_t>(1, static_cast<std::int64_t>(options.minutes * 60 / seconds));
    trainer.restart();
    std::printf("%lld updates of %d images fit into %g minutes (--updates %lld repeats this run exactly)\n",
                static_cast<long long>(options.updates), n, options.minutes, static_cast<long long>(options.updates));
  }
  trainer.set_schedule(demo::schedule(options.updates));
  trainer.set_ema(demo::ema(options.updates));
  demo::BatchSource batches(images, statistics, n, options.seed, 0);
  demo::Progress progress(0, options.updates, n);
  while (trainer.updates() < options.updates && !demo::interrupted) {
    const d2v::StepReport report = trainer.step(batches());
    if (report.skipped) throw d2v::Error("update " + std::to_string(report.update) + ": the gradient is not finite");
    progress.show(report.update, report.regression, demo::formatted("target deviation %.3f", report.target_var));
  }
}

void run(const Options& options) {
  const d2v::ImageSets sets = demo::open_data(options.data);
  demo::expect_classes(sets.train, options.data.directory);
  std::filesystem::create_directories(options.out);
  const auto statistics = d2v::channel_statistics(sets.train);
  d2v::TrainerOptions settings = demo::trainer_options();
  settings.seed = options.seed;
  settings.threads = options.threads;
  d2v::Trainer<Model, d2v::Cpu> trainer(settings);
  demo::FeatureExtractor extract(options.threads);
  std::printf("%zu training and %zu test images from %s\n%s", sets.train.size(), sets.test.size(),
              options.data.directory.c_str(),
              demo::plan_text<Model>(demo::batch_size, extract.team().size(), 0).c_str());

  const demo::Views bank(sets.train, statistics, demo::choose_labelled(sets.train, options.labels, options.seed));
  const demo::Views test(sets.test, statistics);
  std::vector<int> bank_labels(bank.size()), test_labels(test.size());
  std::vector<float> bank_pixels(bank.size() * demo::sample_size), test_pixels(test.size() * demo::sample_size);
  bank.load(extract.team(), 0, bank.size(), bank_pixels.data(), bank_labels.data());
  test.load(extract.team(), 0, test.size(), test_pixels.data(), test_labels.data());
  constexpr int k = 10;
  const auto accuracy = [&](std::span<const float> train, std::span<const float> queries, std::size_t width,
                            d2v::Metric metric) {
    return 100 * d2v::knn_accuracy(train, bank_labels, queries, test_labels, static_cast<int>(width), k, metric,
                                   options.threads);
  };
  const auto encoder = [&](demo::Pool pool) {
    const std::size_t width = demo::FeatureExtractor::width(pool);
    std::vector<float> features(bank.size() * width), queries(test.size() * width);
    constexpr int layer = demo::FeatureExtractor::last_layer;
    extract(trainer.weights().data(), bank_pixels.data(), bank.size(), pool, layer, features.data());
    extract(trainer.weights().data(), test_pixels.data(), test.size(), pool, layer, queries.data());
    return accuracy(features, queries, width, d2v::Metric::cosine);
  };
  const double pixels = accuracy(bank_pixels, test_pixels, demo::sample_size, d2v::Metric::euclidean);
  const double before[] = {encoder(demo::Pool::mean), encoder(demo::Pool::ninths)};
  std::printf("before: %.2f %% (mean token), %.2f %% (means of 3 x 3 parts) by nearest neighbours\n", before[0],
              before[1]);
  pretrain(trainer, options, sets.train, statistics);

  const std::string file = options.out + "/weights.safetensors";
  d2v::save_encoder<Model>(file, trainer.weights(), {},
                           {{"updates", std::to_string(trainer.updates())},
                            {"statistics", demo::json_of(statistics).dump()}});
  std::printf("weights of the encoder: %s\n", file.c_str());
  if (demo::interrupted) return;
  std::printf("\nclass of %zu test images by their %d nearest of %zu labelled training images\n"
              "                                 mean token   means of 3 x 3 parts\n"
              "  encoder, random weights         %6.2f %%             %6.2f %%\n"
              "  encoder, pre-trained            %6.2f %%             %6.2f %%\n"
              "  raw pixels                                            %6.2f %%\n",
              test.size(), k, bank.size(), before[0], before[1], encoder(demo::Pool::mean),
              encoder(demo::Pool::ninths), pixels);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"data2vec 2.0 pre-trained on images in minutes, judged by nearest neighbours."};
  app.option_defaults()->always_capture_default();
  options.data.add_to(app);
  auto* minutes = app.add_option("--minutes", options.minutes, "length: as many updates as fit, by 20 timed steps")
                      ->check(CLI::PositiveNumber);
  app.add_option("--updates", options.updates, "length in updates: repeats a run exactly; 0: by --minutes")
      ->check(CLI::NonNegativeNumber)
      ->excludes(minutes);
  app.add_option("--out", options.out, "folder for the weights");
  app.add_option("--labels", options.labels, "labelled images for the nearest neighbours; 0: all");
  app.add_option("--threads", options.threads, "0: all of the machine; the result does not depend on it")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seed", options.seed, "of weights, masks, order and augmentation");
  return demo::run_program("demo", app, argc, argv, [&] { run(options); });
}
