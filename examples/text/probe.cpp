// SPDX-License-Identifier: MIT
// What an encoder has learnt of text: nearest neighbours and a linear probe on its frozen features, beside the same
// encoder at random initialisation, and a linear classifier on weighted counts of words (TF-IDF), with the same labels.
// Neighbours and penalties are chosen on a part of the training samples; what is judged by is used once.
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/tfidf.hpp>

#include "examples/common/files.hpp"
#include "examples/common/judging.hpp"
#include "examples/common/program.hpp"
#include "examples/text/encoder.hpp"
#include "examples/text/labelled.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::SizeOptions size;
  demo::LabelledOptions data;
  demo::EncoderOptions encoder;
  std::string json, pooling = "mean";
  std::size_t labels = 10'000;
  int layer = demo::judged_layer, threads = 0;
  double validation = 0.2;
  std::uint64_t seed = 1;
};

void run(const Options& o) {
  o.size.expect();
  const demo::TextEncoder encoder(o.encoder);
  const demo::LabelledSets sets = demo::open_labelled(o.data);
  if (sets.train.classes.empty())
    throw demo::UsageError("--regression: expected classes for neighbours and probe, found numbers");
  const int class_count = static_cast<int>(sets.train.classes.size());
  const d2v::LabelledText& judged = demo::judged_part(sets, o.data);
  const demo::Samples all(sets.train, encoder.vocabulary), test(judged, encoder.vocabulary);
  const std::vector<std::size_t> chosen = demo::choose_samples(all.size(), o.labels, o.seed);
  std::vector<std::int32_t> ids(chosen.size() * demo::sample_size);
  std::vector<int> labels(chosen.size());
  std::vector<std::string> texts(chosen.size()), judged_texts(judged.size());
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    std::copy_n(all.sample(chosen[i]), demo::sample_size, &ids[i * demo::sample_size]);
    labels[i] = all.labels[chosen[i]];
    texts[i] = demo::whole_text(sets.train, chosen[i]);
  }
  for (std::size_t i = 0; i < judged.size(); ++i) judged_texts[i] = demo::whole_text(judged, i);
  std::printf("%zu labelled training samples and %zu that are judged, of %s\n\n", chosen.size(), test.size(),
              o.data.data.c_str());

  d2v::TfidfClassifier counts;
  counts.fit(texts, labels, class_count);
  const d2v::Confusion words(test.labels, counts.predict(judged_texts), class_count);
  std::printf("%-32s %42.2f %%\n%-32s %18s %26s\n", "words and pairs of words, TF-IDF", 100 * words.accuracy(),
              "accuracy", "nearest neighbours", "linear probe");

  const demo::Pool pool = demo::pool_names.at(o.pooling);
  const std::size_t width = demo::FeatureExtractor::width(pool);
  demo::FeatureExtractor extract(o.threads);
  d2v::Buffer<float> random(d2v::buffer_size<demo::Model::Parameters<float>>);
  demo::Model::initialise(random.data(), o.seed);
  std::vector<demo::Judgement> results;
  const auto add = [&](const char* name, const float* weights) {
    demo::Rows train{std::vector<float>(chosen.size() * width), labels};
    demo::Rows rows{std::vector<float>(test.size() * width), test.labels};
    extract(weights, ids.data(), chosen.size(), pool, o.layer, train.values.data());
    extract(weights, test.ids.data(), test.size(), pool, o.layer, rows.values.data());
    if (demo::interrupted) return;
    results.push_back(demo::judge(name, train, rows, width, d2v::Metric::cosine, class_count,
                                  {.validation = o.validation, .seed = o.seed, .threads = o.threads}));
    if (!demo::interrupted) demo::print(results.back());
  };
  add("encoder, random weights", random.data());
  add("encoder", encoder.weights().data());
  if (demo::interrupted || o.json.empty()) return;
  d2v::Json report = {{"weights", o.encoder.weights}, {"data", o.data.data}, {"labels", chosen.size()},
                      {"judged", test.size()},        {"layer", o.layer},    {"tfidf", words.accuracy()}};
  for (const demo::Judgement& r : results) report["results"].push_back(demo::json_of(r));
  demo::write_json(o.json, report);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Nearest neighbours and a linear probe on the features of an encoder of text."};
  app.option_defaults()->always_capture_default();
  o.encoder.add_to(app, true);
  o.data.add_to(app);
  o.size.add_to(app);
  app.add_option("--labels", o.labels, "training samples whose labels are used; 0: all");
  app.add_option("--layer", o.layer, "0: in front of the shared blocks, i: behind block i")
      ->check(CLI::Range(0, demo::FeatureExtractor::last_layer));
  app.add_option("--pool", o.pooling, "of a text's tokens: their mean, or the first")
      ->check(CLI::IsMember({"mean", "first"}));
  app.add_option("--validation-share", o.validation, "of the labels, for the choice of neighbours and penalty")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--json", o.json, "file for the results");
  app.add_option("--seed", o.seed, "of the choice of samples and of the random weights");
  app.add_option("--threads", o.threads, "0: all of the machine; results do not depend on it")
      ->check(CLI::NonNegativeNumber);
  return demo::run_program("probe", app, argc, argv, [&] { run(o); });
}
