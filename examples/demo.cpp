// SPDX-License-Identifier: MIT
// data2vec 2.0 on real images, from scratch, in minutes on two cores: pre-trains on the training images without their
// labels, writes the weights, and asks of the frozen encoder, before and after, which labelled images lie nearest to
// the test images.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <data2vec/data/idx.hpp>
#include <data2vec/data/images.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/features.hpp>
#include <data2vec/evaluation/knn.hpp>
#include <data2vec/io/weights.hpp>

#include "examples/demo_model.hpp"

namespace d2v = data2vec;
using demo::Images, demo::Model;

namespace {

struct Options {
  double minutes = 4;
  long updates = 0;
  std::string data = "/usr/share/datasets/fashion-mnist", out = "out/demo";
  int threads = 0, labels = 10'000;
  std::uint64_t seed = 1;
};

volatile std::sig_atomic_t interrupted = 0;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

d2v::IdxDataset read_data(const std::string& directory) {
  d2v::IdxDataset data = d2v::read_idx_dataset(directory);
  const auto& images = data.train.images;
  if (d2v::Extent(images.rows, images.cols) != Images::vision.input_size)
    throw d2v::MismatchError(directory + ": expected images of 28 x 28 pixels, found " + std::to_string(images.rows) +
                             " x " + std::to_string(images.cols));
  if (images.count < demo::batch_size)
    throw d2v::MismatchError(directory + ": expected at least " + std::to_string(demo::batch_size) +
                             " training images (one batch), found " + std::to_string(images.count));
  return data;
}

/// The first `count` images as normalised numbers, without augmentation: (count, pixels).
std::vector<float> normalised(const d2v::IdxImages& images, std::size_t count, const d2v::PixelStatistics& statistics) {
  std::vector<float> out(count * Images::sample_size);
  for (std::size_t i = 0; i < count; ++i)
    d2v::grey_image(&images.pixels[i * Images::sample_size], Images::vision.input_size, statistics, {}, 0, 0, 0,
                    &out[i * Images::sample_size]);
  return out;
}

/// Features of images: the mean of the tokens in each of cells x cells parts of the image, (n, cells^2 D).
class Extractor {
 public:
  static constexpr int chunk = 8, D = demo::config.embed_dim;
  using F = d2v::Features<Model, chunk>;

  explicit Extractor(int threads) : team_(threads) {
    for (int i = 0; i < team_.size(); ++i) {
      memory_.emplace_back(d2v::buffer_size<F::Workspace<float>> + chunk * Images::sample_size);
      indices_.emplace_back(d2v::buffer_size<F::Index>);
    }
  }

  std::vector<float> operator()(std::span<const float> weights, const std::vector<float>& images, int cells) {
    const std::size_t n = images.size() / Images::sample_size, width = static_cast<std::size_t>(cells * cells * D);
    std::vector<float> out(n * width);
    const auto parameters = d2v::bind<Model::Parameters<const float>>(weights.data());
    team_.for_each_task(static_cast<int>((n + chunk - 1) / chunk), [&](int thread, int task) {
      d2v::Cpu device;
      const std::size_t first = static_cast<std::size_t>(task) * chunk, count = std::min<std::size_t>(chunk, n - first);
      float* const samples = memory_[static_cast<std::size_t>(thread)].data();  // the last chunk is filled up
      std::copy_n(&images[first * Images::sample_size], count * Images::sample_size, samples);
      const auto tokens = d2v::features<Model, chunk>(
          device, parameters, d2v::View<const float, chunk, Images::sample_size>{samples},
          d2v::bind<F::Workspace<float>>(samples + chunk * Images::sample_size),
          d2v::bind<F::Index>(indices_[static_cast<std::size_t>(thread)].data()));                 // (chunk, E + T, D)
      for (std::size_t b = 0; b < count; ++b)
        pool(tokens[static_cast<std::ptrdiff_t>(b)], cells, &out[(first + b) * width]);
    });
    return out;
  }

 private:
  template <class Tokens>
  static void pool(const Tokens& tokens, int cells, float* out) {
    constexpr d2v::Grid grid = Images::grid;
    const auto length = [&](int index, int side) {  // rows or columns of the grid in the cell that holds `index`
      int count = 0;
      for (int i = 0; i < side; ++i) count += cells * i / side == cells * index / side;
      return count;
    };
    for (int row = 0; row < grid.height; ++row)
      for (int column = 0; column < grid.width; ++column) {
        const auto token = tokens[F::E + row * grid.width + column];
        float* const cell = out + (cells * row / grid.height * cells + cells * column / grid.width) * D;
        const float share = 1.0f / static_cast<float>(length(row, grid.height) * length(column, grid.width));
        for (int c = 0; c < D; ++c) cell[c] += share * token[c];
      }
  }

  d2v::ThreadTeam team_;
  std::vector<d2v::Buffer<float>> memory_;
  std::vector<d2v::Buffer<int>> indices_;
};

/// One line that is rewritten on a terminal, or now and then a line of its own in a pipe or file.
class Progress {
 public:
  explicit Progress(long updates) : updates_(updates), terminal_(isatty(STDOUT_FILENO) != 0) {}

  void show(const d2v::StepReport& report, bool last) {
    const double now = seconds_since(start_);
    const auto done = static_cast<double>(report.update + 1 - first_);
    loss_ = report.update == first_ ? report.regression : 0.95 * loss_ + 0.05 * report.regression;
    if (!last && now - shown_ < (terminal_ ? 0.2 : 10)) return;
    shown_ = now;
    const double left = now / done * static_cast<double>(updates_ - report.update - 1);
    std::printf("%supdate %ld/%ld  loss %.4f  target deviation %.3f  %.0f images/s  %d:%02d left%s",
                terminal_ ? "\r" : "", static_cast<long>(report.update + 1), updates_, loss_, report.target_var,
                done * demo::batch_size / now, static_cast<int>(left) / 60, static_cast<int>(left) % 60,
                terminal_ && !last ? "   " : "\n");
    std::fflush(stdout);
  }
  void start_at(std::int64_t update) {
    first_ = update;
    start_ = std::chrono::steady_clock::now();
  }

 private:
  long updates_;
  bool terminal_;
  std::int64_t first_ = 0;
  double shown_ = 0, loss_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Pre-trains for the given updates, or for as many as `minutes` allow after timing the first twenty.
void pretrain(d2v::Trainer<Model, d2v::Cpu>& trainer, const Options& options, const d2v::IdxImages& images,
              const d2v::PixelStatistics& statistics) {
  constexpr int n = demo::batch_size, timed = 20;
  const long per_epoch = images.count / n;  // the last partial batch of an epoch is dropped
  d2v::EpochOrder order(static_cast<std::uint32_t>(images.count), options.seed);
  std::vector<float> samples(static_cast<std::size_t>(n) * Images::sample_size);
  const auto step = [&](long update) {
    const auto epoch = static_cast<std::uint32_t>(update / per_epoch);
    const auto ids = order.of(epoch).subspan(static_cast<std::size_t>(update % per_epoch * n), n);
    for (std::size_t i = 0; i < ids.size(); ++i)
      d2v::grey_image(&images.pixels[static_cast<std::size_t>(ids[i]) * Images::sample_size], Images::vision.input_size,
                      statistics, demo::augmentation, options.seed, epoch, ids[i], &samples[i * Images::sample_size]);
    return trainer.step({samples, ids});
  };
  long updates = options.updates;
  if (updates == 0) {  // a throw-away trainer takes the time, so that the schedule of the real one is exact
    trainer.set_schedule(demo::schedule(1000));
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < timed && !interrupted; ++i) step(i);
    updates = std::max(1L, static_cast<long>(options.minutes * 60 / seconds_since(start) * timed));
    trainer.restart();
    std::printf("%ld updates of %d images fit into %g minutes (--updates %ld repeats this run exactly)\n", updates, n,
                options.minutes, updates);
  }
  trainer.set_schedule(demo::schedule(updates));
  trainer.set_ema(demo::ema(updates));
  Progress progress(updates);
  progress.start_at(0);
  for (long i = 0; i < updates && !interrupted; ++i) {
    const d2v::StepReport report = step(i);
    if (report.skipped) throw d2v::Error("update " + std::to_string(i) + ": the gradient is not finite");
    progress.show(report, i + 1 == updates || interrupted);
  }
}

void run(const Options& options) {
  std::filesystem::create_directories(options.out);
  const d2v::IdxDataset data = read_data(options.data);
  const auto statistics = d2v::pixel_statistics(data.train.images.pixels);
  d2v::TrainerOptions settings = demo::trainer_options();
  settings.seed = options.seed;
  settings.threads = options.threads;
  d2v::Trainer<Model, d2v::Cpu> trainer(settings);
  std::printf("%d training and %d test images from %s\n", data.train.images.count, data.test.images.count,
              options.data.c_str());
  std::printf("%.2f million parameters, %d of %d patches visible, %d masks an image, %.2f GFLOP an image\n",
              static_cast<double>(Model::parameter_count) / 1e6, Model::First::V, Model::First::T_, Model::First::masks,
              Model::flops_per_sample<0> / 1e9);

  const auto labelled = std::min<std::size_t>(static_cast<std::size_t>(options.labels), data.train.labels.size());
  const std::vector<int> bank_labels(data.train.labels.begin(),
                                     data.train.labels.begin() + static_cast<long>(labelled));
  const std::vector<int> test_labels(data.test.labels.begin(), data.test.labels.end());
  const auto bank = normalised(data.train.images, labelled, statistics);
  const auto test = normalised(data.test.images, test_labels.size(), statistics);
  constexpr int k = 10;
  Extractor extract(options.threads);
  const auto knn = [&](int cells) {
    return 100 * d2v::knn_accuracy(extract(trainer.weights(), bank, cells), bank_labels,
                                   extract(trainer.weights(), test, cells), test_labels, cells * cells * Extractor::D, k,
                                   d2v::Metric::cosine, options.threads);
  };
  const double pixels = 100 * d2v::knn_accuracy(bank, bank_labels, test, test_labels, Images::sample_size, k,
                                                d2v::Metric::euclidean, options.threads);
  const double before[] = {knn(1), knn(3)};
  std::printf("before: %.2f %% (mean token), %.2f %% (means of 3 x 3 parts) by nearest neighbours\n", before[0],
              before[1]);
  pretrain(trainer, options, data.train.images, statistics);

  const std::string file = options.out + "/weights.safetensors";
  d2v::save_weights<Model::Parameters<float>>(file, trainer.weights().data(),
                                              {{"updates", std::to_string(trainer.updates())}});
  std::printf("weights written to %s\n", file.c_str());
  if (interrupted) return;
  std::printf("\nclass of %zu test images by their %d nearest of %zu labelled training images\n"
              "                                 mean token   means of 3 x 3 parts\n"
              "  encoder, random weights         %6.2f %%             %6.2f %%\n"
              "  encoder, pre-trained            %6.2f %%             %6.2f %%\n"
              "  raw pixels                                            %6.2f %%\n",
              test_labels.size(), k, labelled, before[0], before[1], knn(1), knn(3), pixels);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"data2vec 2.0 pre-trained on small grey images (IDX files), judged by nearest neighbours."};
  auto* minutes =
      app.add_option("--minutes", options.minutes, "length of the pre-training")->check(CLI::PositiveNumber);
  app.add_option("--updates", options.updates, "length in updates: repeats a run exactly")
      ->check(CLI::PositiveNumber)
      ->excludes(minutes);
  app.add_option("--data", options.data, "folder of {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz");
  app.add_option("--out", options.out, "folder for the weights");
  app.add_option("--labels", options.labels, "labelled images for the nearest neighbours")->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "0: all of the machine");
  app.add_option("--seed", options.seed);
  app.option_defaults()->always_capture_default();
  CLI11_PARSE(app, argc, argv);
  for (const int signal : {SIGINT, SIGTERM})
    std::signal(signal, [](int s) {
      interrupted = s;
      std::signal(s, SIG_DFL);  // a second one is immediate
    });
  try {
    run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "demo: %s\n", error.what());
    return 1;
  }
  return interrupted ? 128 + interrupted : 0;
}
