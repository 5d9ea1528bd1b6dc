// SPDX-License-Identifier: MIT
// What an encoder has learnt: nearest neighbours and a linear probe on its frozen features, beside the same encoder at
// random initialisation and raw pixels, with the same labels. Neighbours and penalties are chosen on a part of the
// training images; the test images are used once.
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>

#include "examples/common/program.hpp"
#include "examples/vision/feature_extractor.hpp"
#include "examples/vision/data.hpp"
#include "examples/vision/lars_probe.hpp"
#include "examples/common/files.hpp"
#include "examples/common/judging.hpp"

namespace {

namespace d2v = data2vec;
using Extractor = demo::FeatureExtractor;
using demo::Rows;

struct Options {
  demo::DataOptions data;
  std::string weights, json, device = "cpu", pooling = demo::name_of(demo::judged_pool);
  demo::Pool pool = demo::judged_pool;  // by its name
  std::size_t labels = 10'000;
  int layer = demo::judged_layer, threads = 0;
  double validation = 0.2;
  std::uint64_t seed = 1;
  bool teacher = false, alone = false;
  demo::LarsOptions lars;
};

d2v::Json json_of(const d2v::Confusion& confusion, const std::vector<std::string>& names) {
  d2v::Json per_class = d2v::Json::array();
  for (int t = 0; t < confusion.classes(); ++t)
    per_class.push_back({{"class", names[static_cast<std::size_t>(t)]},
                         {"precision", confusion.precision(t)},
                         {"recall", confusion.recall(t)},
                         {"f1", confusion.f1(t)},
                         {"samples", confusion.support(t)}});
  return {{"confusion", demo::counts_of(confusion)}, {"per_class", per_class}};
}

void run(Options o) {
  o.pool = demo::pool_names.at(o.pooling);
  const demo::Encoder encoder = demo::read_weights<demo::Model>(o.weights, o.teacher);
  const d2v::ImageSets images = demo::open_data(o.data);
  const std::vector<std::string>& names = demo::expect_classes(images.train, o.data.directory);
  const int classes = static_cast<int>(names.size());
  const auto statistics = demo::statistics_of(encoder).value_or(d2v::channel_statistics(images.train));
  const std::vector<std::size_t> chosen = demo::choose_labelled(images.train, o.labels, o.seed);
  const demo::Views train(images.train, statistics, chosen);
  const demo::Views test(images.test, statistics);
  if (train.size() == 0 || test.size() == 0)
    throw d2v::MismatchError(o.data.directory + ": expected training and test images, found " +
                             std::to_string(train.size()) + " and " + std::to_string(test.size()));
  Extractor extract(o.threads);
  if (o.device == "cuda") extract.run_on(demo::device_features({encoder.weights.data(), encoder.weights.size()}));
  const auto features = [&](const d2v::Buffer<float>& weights, const demo::Views& views) {
    Rows rows{std::vector<float>(views.size() * Extractor::width(o.pool)), std::vector<int>(views.size())};
    extract(weights.data(), views, 0, views.size(), o.pool, o.layer, rows.values.data(), rows.labels.data());
    return rows;
  };
  const auto pixels = [&](const demo::Views& views) {
    Rows rows{std::vector<float>(views.size() * demo::sample_size), std::vector<int>(views.size())};
    views.load(extract.team(), 0, views.size(), rows.values.data(), rows.labels.data());
    return rows;
  };
  std::printf("%zu labelled training images and %zu test images of %s\n\n%-32s %18s %26s\n", train.size(), test.size(),
              o.data.directory.c_str(), "accuracy on the test images", "nearest neighbours", "linear probe");

  std::vector<demo::Judgement> results;
  const auto on_device = o.device == "cuda" ? std::optional(demo::device_judging()) : std::nullopt;
  const demo::JudgeOptions judging{.validation = o.validation,
                                   .seed = o.seed,
                                   .threads = o.threads,
                                   .device = on_device ? &*on_device : nullptr};
  const auto add = [&](const std::string& name, const Rows& a, const Rows& b, std::size_t width, d2v::Metric metric) {
    if (demo::interrupted) return;
    results.push_back(demo::judge(name, a, b, width, metric, classes, judging));
    if (!demo::interrupted) demo::print(results.back());
  };
  if (!o.alone && demo::sample_size <= 64 * 64) {
    add("raw pixels", pixels(train), pixels(test), demo::sample_size, d2v::Metric::euclidean);
  } else if (!o.alone) {
    std::printf("%-32s SKIPPED: %zu numbers an image\n", "raw pixels", demo::sample_size);
  }
  d2v::Buffer<float> random(d2v::buffer_size<demo::Model::Parameters<float>>);
  demo::Model::initialise(random.data(), o.seed);
  const std::size_t width = Extractor::width(o.pool);
  if (!o.alone)
    add("encoder, random weights", features(random, train), features(random, test), width, d2v::Metric::cosine);
  add("encoder", features(encoder.weights, train), features(encoder.weights, test), width, d2v::Metric::cosine);
  if (demo::interrupted) return;

  const demo::Judgement& last = results.back();
  std::printf("\nlinear probe of the encoder: true classes by predicted ones\n%s", last.linear.table(names).c_str());
  std::optional<d2v::Confusion> by_lars;
  if (o.lars.epochs > 0) {
    std::printf("\nlinear probe of masked autoencoders, by LARS: %d epochs of fresh views\n", o.lars.epochs);
    const demo::RandomView view(images.train, statistics);
    by_lars = demo::LarsTask{extract, encoder.weights.data(), view, chosen, test, o.pool, o.layer, classes, o.seed}
                  .run(o.lars);
    if (demo::interrupted) return;
    std::printf("%.2f %% of the test images\n", 100 * by_lars->accuracy());
  }
  if (o.json.empty()) return;
  d2v::Json report = {{"weights", o.weights},    {"data", o.data.directory}, {"labels", train.size()},
                      {"test_images", test.size()}, {"layer", o.layer},      {"width", width}};
  for (const demo::Judgement& r : results) report["results"].push_back(demo::json_of(r));
  report["encoder"] = {{"knn", json_of(last.knn, names)}, {"probe", json_of(last.linear, names)}};
  if (by_lars)
    report["encoder"]["lars"] = {{"accuracy", by_lars->accuracy()}, {"epochs", o.lars.epochs}, {"batch", o.lars.batch},
                                 {"lr", o.lars.lr}, {"confusion", demo::counts_of(*by_lars)}};
  demo::write_json(o.json, report);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Nearest neighbours and a linear probe on the features of an encoder."};
  app.option_defaults()->always_capture_default();
  app.add_option("--weights", options.weights, "weights or checkpoint (.safetensors)")->required();
  app.add_flag("--teacher", options.teacher, "the teacher of a checkpoint instead of the student");
  app.add_flag("--alone", options.alone, "without pixels and random weights beside it");
  options.data.add_to(app);
  app.add_option("--labels", options.labels, "training images whose labels are used, balanced; 0: all");
  app.add_option("--layer", options.layer, "0: in front of the shared blocks, i: behind block i")
      ->check(CLI::Range(0, Extractor::last_layer));
  app.add_option("--pool", options.pooling, "of an image's tokens: mean, means of parts, or the CLS token")
      ->check(CLI::IsMember({"mean", "quarters", "ninths", "cls"}));
  app.add_option("--validation", options.validation, "share of them that chooses neighbours and penalty")
      ->check(CLI::Range(0.0, 0.9));
  options.lars.add_to(app);
  app.add_option("--json", options.json, "file for the results");
  app.add_option("--seed", options.seed, "of the choice of images and of the random weights");
  app.add_option("--device", options.device, "cuda: features on a GPU, in bfloat16; neighbours and probes too, in fp32")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", options.threads, "0: all of the machine; results do not depend on it")
      ->check(CLI::NonNegativeNumber);
  return demo::run_program("probe", app, argc, argv, [&] { run(options); });
}
