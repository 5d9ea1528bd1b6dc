// SPDX-License-Identifier: MIT
// What an encoder has learnt of recordings: nearest neighbours and a linear probe on its frozen features, beside the
// same encoder at random initialisation and log-mel spectrograms, with the same labels.
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/audio.hpp>
#include <data2vec/data2vec.hpp>

#include "examples/common/files.hpp"
#include "examples/common/judging.hpp"
#include "examples/common/program.hpp"
#include "examples/speech/data.hpp"
#include "examples/speech/feature_extractor.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::DataOptions data;
  std::string weights, json;
  int layer = demo::judged_layer, segments = demo::judged_segments, threads = 0;
  double validation = 0.2;
  std::uint64_t seed = 1;
  bool teacher = false;
};

void run(const Options& o) {
  const demo::Encoder encoder = demo::read_weights<demo::Model>(o.weights, o.teacher);
  demo::expect_rate(encoder.kept, o.weights);
  const demo::SpeechData data = demo::open_data(o.data);
  demo::expect_classes(data, o.data.data);
  demo::describe(data, o.data.data);
  std::printf("%zu classes, layer %d, means of %d stretches\n\n%-32s %18s %26s\n", data.classes.size(), o.layer,
              o.segments, "accuracy on what is judged", "nearest neighbours", "linear probe");
  d2v::ThreadTeam team(o.threads);
  d2v::Buffer<float> random(d2v::buffer_size<demo::Model::Parameters<float>>);
  demo::Model::initialise(random.data(), o.seed);
  const demo::JudgeOptions judging{.validation = o.validation, .seed = o.seed, .threads = o.threads};
  d2v::Json report = {{"weights", o.weights}, {"data", o.data.data}, {"recordings", data.train.size()},
                      {"judged", data.test.size()}, {"layer", o.layer}, {"segments", o.segments}};
  const float* const each[] = {nullptr, random.data(), encoder.weights.data()};
  for (std::size_t i = 0; i < std::size(each); ++i) {
    const demo::Judgement found =
        demo::judge_speech(demo::feature_names[i], team, data, each[i], o.layer, o.segments, judging);
    if (demo::interrupted) return;
    demo::print(found);
    report["results"].push_back(demo::json_of(found));
    if (i + 1 < std::size(each)) continue;
    std::printf("\nlinear probe of the encoder: true classes by predicted ones\n%s",
                found.linear.table(data.classes).c_str());
    report["confusion"] = demo::counts_of(found.linear);
    report["classes"] = data.classes;
  }
  if (!o.json.empty()) demo::write_json(o.json, report);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Nearest neighbours and a linear probe on the features of an encoder for recordings."};
  app.option_defaults()->always_capture_default();
  app.add_option("--weights", o.weights, "weights or checkpoint (.safetensors)")->required();
  app.add_flag("--teacher", o.teacher, "the teacher of a checkpoint instead of the student");
  o.data.add_to(app);
  app.add_option("--layer", o.layer, "0: in front of the shared blocks, i: behind block i")
      ->check(CLI::Range(0, demo::depth));
  app.add_option("--segments", o.segments, "stretches of a recording whose means are its features")
      ->check(CLI::PositiveNumber);
  app.add_option("--validation", o.validation, "share of the training recordings that chooses neighbours and penalty")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--json", o.json, "file for the results");
  app.add_option("--seed", o.seed, "of the order of recordings and of the random weights");
  app.add_option("--threads", o.threads, "0: all of the machine; results do not depend on it")
      ->check(CLI::NonNegativeNumber);
  return demo::run_program("probe", app, argc, argv, [&] { run(o); });
}
