// SPDX-License-Identifier: MIT
// data2vec 2.0 on real images, from scratch, in minutes on two cores: pre-trains on the training images without their
// labels, then says what the encoder is worth: nearest neighbours and a linear probe beside the same encoder at random
// initialisation and raw pixels, and fine-tuning with few labels beside training from scratch. Writes a report. Stopped
// at any moment, it goes on from there.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>

#include "examples/common/program.hpp"
#include "examples/vision/recipe.hpp"
#include "examples/vision/parts.hpp"
#include "examples/vision/report.hpp"
#include "examples/vision/data.hpp"
#include "examples/common/demo.hpp"
#include "examples/common/pretraining.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::DataOptions data;
  demo::PretrainOptions training{
      .out = "out/demo", .minutes = 8, .lr = demo::learning_rate, .batch = demo::batch_size};
  demo::DemoOptions demo;
  std::string commit;

  d2v::Json json() const {
    d2v::Json all = training.json();
    all.update(demo.json());
    return all;
  }

  /// What repeats the run.
  std::string command() const {
    std::string text = "./run demo --updates " + std::to_string(training.updates);
    if (data.directory != demo::default_data) text += " --data " + data.directory;
    if (data.size > 0) text += " --size " + std::to_string(data.size);
    if (demo.labels > 0) text += " --labels " + std::to_string(demo.labels);
    if (demo.validation) text += " --validation";
    return text + " --seeds " + std::to_string(demo.seeds) + " --tuning-updates " +
           std::to_string(demo.tuning_updates) + " --seed " + std::to_string(training.seed);
  }
};

void report(const Options& o, const demo::Parts& parts, const demo::DemoImages& images, std::int64_t updates) {
  const d2v::ImageSets& sets = images.sets;
  const std::vector<std::string> names = demo::class_names(sets.train, o.data.directory);
  d2v::RunReport report;
  report.title = "data2vec 2.0 on " + std::to_string(sets.train.size()) + " images";
  report.command = o.command();
  demo::describe_machine(report, d2v::ThreadTeam(o.training.threads).size(), o.commit);
  report.dataset = {{"folder", o.data.directory},
                    {"training images, without their labels", sets.train.size()},
                    {"images with labels for neighbours and probe", names.empty() ? 0 : images.labelled.size()},
                    {"judged images", images.judged.size()},
                    {"size", demo::formatted("%d x %d x %d", demo::height, demo::width, demo::channels)},
                    {"classes", names.size()}};
  using Branch = demo::Model::First;
  report.model = {{"parameters", static_cast<std::int64_t>(demo::Model::parameter_count)},
                  {"parameters of the encoder", static_cast<std::int64_t>(demo::Model::encoder_parameter_count)},
                  {"width", demo::config.embed_dim},
                  {"blocks", demo::config.depth},
                  {"tokens", Branch::T_},
                  {"visible tokens", Branch::V},
                  {"masks of an image", Branch::masks},
                  {"features", demo::formatted("layer %d, pooling %s", demo::judged_layer,
                                               demo::name_of(demo::judged_pool).c_str())}};
  report.training = {{"updates", updates},
                     {"images of an update", o.training.batch},
                     {"passes over the images", static_cast<double>(updates) * o.training.batch /
                                                    static_cast<double>(sets.train.size())},
                     {"highest learning rate", o.training.lr},
                     {"seed", o.training.seed},
                     {"updates of a fine-tuning", o.demo.tuning_updates}};
  report.curve = demo::curve_of(o.training.out + "/log.jsonl");
  demo::DemoReport(parts, parts.results(), images, o.demo, names).fill(report, o.training.seed);
  for (const d2v::ImageDataset* set : {&sets.train, &sets.test})
    if (const int broken = set->skipped().total(); broken > 0)
      report.notes.push_back(std::to_string(broken) + " broken files were passed over, the first: " +
                             set->skipped().first.at(0));
  d2v::write_report(o.training.out, report);
  for (const d2v::FewLabels::Row& row : report.few_labels.rows) {
    const auto text = [](const d2v::Score& s) {
      return demo::formatted("%.2f %%", 100 * s.value) +
             (std::isfinite(s.spread) ? demo::formatted(" (spread %.2f)", 100 * s.spread) : "");
    };
    std::printf("%lld labels: pre-trained %s, from scratch %s\n", static_cast<long long>(row.labels),
                text(row.scores[0]).c_str(), text(row.scores[1]).c_str());
  }
  demo::print_end(report, o.training.out);
}

void run(Options o, const CLI::App& app) {
  const d2v::Json extra = demo::open_run(o.training, app, o.json());
  if (o.training.resume) o.training.take(extra["options"]), o.demo.take(extra["options"]);
  const d2v::ImageSets sets = demo::open_data(o.data);
  if (sets.test.size() == 0)
    throw d2v::MismatchError(o.data.directory + ": expected test images, found none (of a folder without test/, every "
                                                "tenth image is one)");
  if (sets.train.classes().size() > static_cast<std::size_t>(demo::classes))
    demo::expect_classes(sets.train, o.data.directory);
  if (o.demo.labels > sets.train.size())
    throw demo::UsageError("--labels: expected at most the number of training images, " +
                           std::to_string(sets.train.size()) + ", found " + std::to_string(o.demo.labels));
  const auto statistics = demo::statistics_for(extra, sets.train, o.data.directory);
  std::printf("%zu training and %zu test images from %s\n", sets.train.size(), sets.test.size(),
              o.data.directory.c_str());
  const demo::Pretrained trained = demo::pretrain<demo::Recipe>(o.training, demo::ImageSource(sets.train, statistics), o.json());
  const bool labelled = !sets.train.classes().empty();
  std::optional<demo::DemoImages> images;
  const auto judge = [&](demo::Parts& parts) {
    images.emplace(sets, statistics, o.demo, o.training.seed);
    if (labelled)
      std::printf("\n%-46s %-18s %s\n", "accuracy on the images that are judged", "nearest neighbours", "linear probe");
    else
      std::printf("SKIPPED: neighbours by class, linear probe, fine-tuning: %s has no labels\n",
                  o.data.directory.c_str());
    demo::judge_features(parts, *images, trained.weights, o.training.seed, o.training.threads);
    if (labelled && o.demo.seeds > 0)
      demo::tune_with_few_labels(parts, *images, trained.weights, o.demo, o.training.seed, o.training.threads);
  };
  demo::run_parts(o.training, trained, judge, [&](demo::Parts& parts) { report(o, parts, *images, trained.updates); });
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"data2vec 2.0 pre-trained on images in minutes, judged, and written up in a report."};
  app.option_defaults()->always_capture_default();
  o.data.add_to(app);
  o.training.add_to(app);
  app.add_option("--labels", o.demo.labels, "labelled training images for neighbours and probe, balanced; 0: all");
  app.add_option("--seeds", o.demo.seeds, "fine-tunings with few labels, each with images of its own; 0: none")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--tuning-updates", o.demo.tuning_updates, "length of each fine-tuning, also from scratch")
      ->check(CLI::PositiveNumber);
  app.add_flag("--validation", o.demo.validation,
               "judge by every tenth training image, held out, instead of the test images: to choose settings");
  app.add_option("--commit", o.commit, "what the report says of the program's sources");
  return demo::run_program("demo", app, argc, argv, [&] { run(o, app); });
}
