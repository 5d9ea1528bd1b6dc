// SPDX-License-Identifier: MIT
// Writes what an encoder makes of images: of any layer, tokens pooled or not, to .npy or .safetensors.
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/io/npy.hpp>
#include <data2vec/io/safetensors.hpp>

#include "examples/common/program.hpp"
#include "examples/vision/feature_extractor.hpp"
#include "examples/vision/data.hpp"

namespace {

namespace d2v = data2vec;
using demo::Pool;
using Extractor = demo::FeatureExtractor;

struct Options {
  demo::DataOptions data;
  std::string weights, out, part = "all", pooling = "mean", device = "cpu";
  Pool pool = Pool::mean;  // by its name
  int layer = Extractor::last_layer, threads = 0;
  bool teacher = false;
};

bool ends(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// Calls use(values, count) for the features of one piece of the images after the other, and fills `labels`.
template <class Use>
void for_each_piece(Extractor& extract, const float* weights, const std::vector<demo::Views>& sets, const Options& o,
                    std::vector<int>& labels, Use&& use) {
  constexpr std::size_t piece = 1024;
  std::vector<float> features(piece * Extractor::width(o.pool));
  std::size_t row = 0;
  for (const demo::Views& views : sets)
    for (std::size_t first = 0; first < views.size(); first += piece) {
      const std::size_t count = std::min(piece, views.size() - first);
      extract(weights, views, first, count, o.pool, o.layer, features.data(), labels.data() + row);
      if (demo::interrupted) return;
      use(std::span<const float>(features).first(count * Extractor::width(o.pool)));
      row += count;
    }
}

void run(Options o) {
  o.pool = demo::pool_names.at(o.pooling);
  const bool npy = ends(o.out, ".npy");
  if (!npy && !ends(o.out, ".safetensors"))
    throw demo::UsageError("--out: expected a name that ends in .npy or .safetensors, found " + o.out);
  const demo::Encoder encoder = demo::read_weights<demo::Model>(o.weights, o.teacher);
  const d2v::ImageSets images = demo::open_data(o.data);
  const auto statistics = demo::statistics_of(encoder).value_or(d2v::channel_statistics(images.train));
  std::vector<demo::Views> sets;
  if (o.part != "test") sets.emplace_back(images.train, statistics);
  if (o.part != "train") sets.emplace_back(images.test, statistics);
  std::size_t n = 0;
  for (const auto& views : sets) n += views.size();
  if (n == 0) throw d2v::MismatchError(o.data.directory + ": --part " + o.part + ": expected images, found none");

  std::vector<std::int64_t> shape{static_cast<std::int64_t>(n)};
  if (o.pool == Pool::none) shape.push_back(Extractor::F::S);
  shape.push_back(static_cast<std::int64_t>(Extractor::width(o.pool)) / (o.pool == Pool::none ? Extractor::F::S : 1));
  Extractor extract(o.threads);
  if (o.device == "cuda") extract.run_on(demo::device_features({encoder.weights.data(), encoder.weights.size()}));
  std::vector<int> labels(n);
  if (npy) {
    d2v::NpyWriter<float> writer(o.out, shape);
    for_each_piece(extract, encoder.weights.data(), sets, o, labels,
                   [&](std::span<const float> values) { writer.write(values); });
    if (demo::interrupted) return;  // an incomplete file is not put in place
    writer.commit();
  } else {
    std::vector<float> all;
    all.reserve(n * Extractor::width(o.pool));
    for_each_piece(extract, encoder.weights.data(), sets, o, labels,
                   [&](std::span<const float> values) { all.insert(all.end(), values.begin(), values.end()); });
    if (demo::interrupted) return;
    const std::vector<std::int32_t> numbers(labels.begin(), labels.end());
    std::vector<d2v::Tensor> tensors{d2v::make_tensor<float>("features", shape, all)};
    if (!images.train.classes().empty())
      tensors.push_back(d2v::make_tensor<std::int32_t>("labels", {static_cast<std::int64_t>(n)}, numbers));
    d2v::write_safetensors(o.out, tensors,
                           {{"train_images", std::to_string(o.part == "test" ? 0 : images.train.size())},
                            {"test_images", std::to_string(o.part == "train" ? 0 : images.test.size())},
                            {"layer", std::to_string(o.layer)}});
  }
  std::printf("features %s of layer %d: %zu training and %zu test images of %s, in this order, to %s\n",
              d2v::shape_text(shape).c_str(), o.layer, o.part == "test" ? 0 : images.train.size(),
              o.part == "train" ? 0 : images.test.size(), o.data.directory.c_str(), o.out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Writes the features of an encoder for images."};
  app.option_defaults()->always_capture_default();
  app.add_option("--weights", options.weights, "weights or checkpoint (.safetensors)")->required();
  app.add_flag("--teacher", options.teacher, "the teacher of a checkpoint instead of the student");
  options.data.add_to(app);
  app.add_option("--part", options.part, "which images")->check(CLI::IsMember({"all", "train", "test"}));
  app.add_option("--layer", options.layer, "0: in front of the shared blocks, i: behind block i")
      ->check(CLI::Range(0, Extractor::last_layer));
  app.add_option("--pool", options.pooling, "of an image's tokens: mean, means of parts, the CLS token, or all tokens")
      ->check(CLI::IsMember({"mean", "quarters", "ninths", "cls", "none"}));
  app.add_option("--out", options.out, "file: .npy (the features), .safetensors (features and labels)")->required();
  app.add_option("--device", options.device, "cuda: features on a GPU, in bfloat16")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", options.threads, "0: all of the machine; the result does not depend on it")
      ->check(CLI::NonNegativeNumber);
  return demo::run_program("extract_features", app, argc, argv, [&] { run(options); });
}
