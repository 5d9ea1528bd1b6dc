// SPDX-License-Identifier: MIT
// Pre-trains the model of model.hpp on images of one's own, without their labels: a folder with checkpoint, log
// and the weights of the encoder. Stopped at any moment, it goes on from there to the same bits.
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>

#include "examples/common/program.hpp"
#include "examples/vision/recipe.hpp"
#include "examples/vision/data.hpp"
#include "examples/vision/device_pretraining.hpp"
#include "examples/common/pretraining.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::DataOptions data;
  demo::PretrainOptions training{.out = "out/pretrain", .lr = demo::learning_rate, .batch = demo::batch_size};
  std::string device = "cpu";
  int encoders = 0;
};

void run(Options options, const CLI::App& app) {
  demo::PretrainOptions& training = options.training;
  if (options.device == "cuda" && app.count("--batch") == 0) training.batch = demo::device_batch;
  const d2v::Json extra = demo::open_run(training, app, training.json());
  if (training.resume) training.take(extra["options"]);
  const d2v::ImageSets sets = demo::open_data(options.data);
  const auto statistics = demo::statistics_for(extra, sets.train, options.data.directory);
  std::printf("%zu training images from %s\n", sets.train.size(), options.data.directory.c_str());
  if (options.device == "cuda")
    return demo::DevicePretraining(training, sets.train, statistics, options.encoders, training.json()).run();
  demo::pretrain<demo::Recipe>(training, demo::ImageSource(sets.train, statistics), training.json());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{std::string(demo::System::title) + ": pre-trains an encoder on images without labels."};
  app.option_defaults()->always_capture_default();
  options.data.add_to(app);
  options.training.add_to(app);
  app.add_option("--batch", options.training.batch, "images of an update")->check(CLI::PositiveNumber);
  app.add_option("--accumulation", options.training.accumulation, "micro-batches that the images of an update come in")
      ->check(CLI::PositiveNumber);
  app.add_option("--lr", options.training.lr, "highest learning rate of the cosine schedule")
      ->check(CLI::PositiveNumber);
  app.add_option("--device", options.device, "cuda: on a GPU, in bfloat16; --threads then make batches")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--encoders", options.encoders, "on a GPU: times at which the encoder is written, evenly spread")
      ->check(CLI::NonNegativeNumber);
  return demo::run_program("pretrain", app, argc, argv, [&] { run(options, app); });
}
