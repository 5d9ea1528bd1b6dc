// SPDX-License-Identifier: MIT
// What the demo on text does behind the pre-training: it judges features and fine-tunes with few labels.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <data2vec/evaluation/tfidf.hpp>

#include "examples/common/judging.hpp"
#include "examples/common/parts.hpp"
#include "examples/common/program.hpp"
#include "examples/text/encoder.hpp"
#include "examples/text/tuning.hpp"

namespace demo {

inline constexpr const char* feature_names[] = {"encoder, random weights", "encoder, pre-trained"};
inline constexpr const char* starts[] = {"pre-trained", "from scratch"};

/// What the demo is asked for beside the pre-training.
struct DemoOptions {
  int seeds = 3;                      ///< of the fine-tunings; 0: none
  std::int64_t tuning_updates = 300;  ///< with 1 % of the labels; four times as many with 10 %
  d2v::Json json() const { return {{"seeds", seeds}, {"tuning-updates", tuning_updates}}; }
  void take(const d2v::Json& kept) { seeds = kept["seeds"], tuning_updates = kept["tuning-updates"]; }
};

/// The labelled text of a demo, as text and as tokens.
struct DemoText {
  const LabelledSets& sets;
  const d2v::LabelledText& judged_text;
  const Vocabulary& vocabulary;
  Samples train, judged;
  int class_count;

  DemoText(const LabelledSets& s, const LabelledOptions& o, const Vocabulary& v)
      : sets(s), judged_text(judged_part(s, o)), vocabulary(v), train(s.train, v), judged(judged_text, v),
        class_count(static_cast<int>(s.train.classes.size())) {}

  /// How many labels are used: 1 % and 10 %, of few texts more.
  std::vector<std::size_t> counts() const {
    const std::size_t all = train.size(), least = std::min(all, static_cast<std::size_t>(2 * class_count));
    const std::size_t few = std::max(least, (all + 50) / 100), more = std::max(least, (all + 5) / 10);
    return few < more ? std::vector{few, more} : std::vector{few};
  }

  /// The training samples that neighbours and probe learn from: `count` (0: all).
  std::vector<std::size_t> bank(std::uint64_t seed, std::size_t count = 10'000) const {
    return choose_samples(train.size(), count, seed);
  }

  /// The judged texts whose neighbours are shown: the first of each label, at most 8.
  std::vector<std::size_t> queries() const {
    std::vector<std::size_t> rows;
    std::vector<int> seen;
    for (std::size_t i = 0; i < judged.size() && rows.size() < 8; ++i) {
      if (std::find(seen.begin(), seen.end(), judged.labels[i]) != seen.end()) continue;
      seen.push_back(judged.labels[i]);
      rows.push_back(i);
    }
    return rows;
  }
};

inline std::string tuning_name(std::size_t labels, const char* start, std::uint64_t seed) {
  return formatted("%zu labels, %s, seed %llu", labels, start, static_cast<unsigned long long>(seed));
}
inline std::string words_name(std::size_t labels, std::uint64_t seed) {
  return formatted("%zu labels, TF-IDF, seed %llu", labels, static_cast<unsigned long long>(seed));
}
inline std::string percent_of(const d2v::Json& r) { return formatted("%6.2f %%", 100 * r.get<double>()); }

/// The baseline with `labels` labels.
inline double judge_words(const DemoText& text, std::size_t labels, std::uint64_t seed) {
  std::vector<std::string> texts, judged;
  std::vector<int> truth;
  for (const std::size_t i : choose_samples(text.train.size(), labels, seed))
    texts.push_back(whole_text(text.sets.train, i)), truth.push_back(text.train.labels[i]);
  for (std::size_t i = 0; i < text.judged_text.size(); ++i) judged.push_back(whole_text(text.judged_text, i));
  d2v::TfidfClassifier classifier;
  classifier.fit(texts, truth, text.class_count);
  return d2v::Confusion(text.judged.labels, classifier.predict(judged), text.class_count).accuracy();
}

/// The features of texts, by which an encoder is judged.
struct JudgedFeatures {
  static constexpr std::size_t width = FeatureExtractor::width(Pool::mean);
  Rows train, judged;

  JudgedFeatures(const DemoText& text, FeatureExtractor& extract, const std::vector<std::size_t>& bank,
                 const float* weights)
      : judged{std::vector<float>(text.judged.size() * width), text.judged.labels} {
    std::vector<std::int32_t> ids;
    for (const std::size_t i : bank) {
      ids.insert(ids.end(), text.train.sample(i), text.train.sample(i) + sample_size);
      train.labels.push_back(text.train.labels[i]);
    }
    train.values.resize(train.labels.size() * width);
    extract(weights, ids.data(), train.labels.size(), Pool::mean, judged_layer, train.values.data());
    extract(weights, text.judged.ids.data(), text.judged.size(), Pool::mean, judged_layer, judged.values.data());
  }

  Judgement judge(const char* name, const DemoText& text, std::uint64_t seed, int threads) const {
    return demo::judge(name, train, judged, width, d2v::Metric::cosine, text.class_count,
                       {.seed = seed, .threads = threads});
  }
};

/// Judges both encoders by neighbours and a probe, each with the neighbours of some texts.
inline void judge_features(Parts& parts, const DemoText& text, std::span<const float> pretrained, std::uint64_t seed,
                           int threads) {
  FeatureExtractor extract(threads);
  const auto make = [&](const char* name, const float* weights) -> d2v::Json {
    const JudgedFeatures features(text, extract, text.bank(seed), weights);
    if (interrupted) return {};
    const Judgement judged = features.judge(name, text, seed, threads);
    d2v::Json result = json_of(judged);
    result["confusion"] = counts_of(judged.linear);
    result["neighbours"] = nearest_rows(features.train.values, features.judged.values, JudgedFeatures::width,
                                        text.queries());
    return result;
  };
  const auto show = [](const d2v::Json& r) {
    return formatted("%6.2f %% (k %2d)   %6.2f %% (penalty %g)", 100 * r["knn"]["accuracy"].get<double>(),
                     r["knn"]["k"].get<int>(), 100 * r["probe"]["accuracy"].get<double>(),
                     r["probe"]["penalty"].get<double>());
  };
  d2v::Buffer<float> random(d2v::buffer_size<Model::Parameters<float>>);
  Model::initialise(random.data(), seed);
  parts(feature_names[0], [&] { return make(feature_names[0], random.data()); }, show);
  parts(feature_names[1], [&] { return make(feature_names[1], pretrained.data()); }, show);
}

/// Trains a classifier with `labels` labels, from `pretrained` unless it is empty, and returns its accuracy. A function
/// of its arguments; when a signal comes, it returns early with something else.
inline double tune(const DemoText& text, std::size_t labels, std::int64_t updates, std::span<const float> pretrained,
                   std::uint64_t seed, int threads) {
  const TuningRecipe recipe = pretrained.empty() ? tuned_from_scratch : tuned_pretrained;
  d2v::FineTunerOptions settings = d2v::sentence_recipe<Model>(recipe.lr, updates / 10, updates);
  settings.layer_decay = recipe.layer_decay;
  settings.optimizer.weight_decay = recipe.weight_decay;
  settings.optimizer.clip_norm = recipe.clip_norm;
  settings.freeze_finetune_updates = std::min<std::int64_t>(recipe.frozen, updates / 3);
  settings.seed = seed;
  settings.threads = threads;
  d2v::FineTuner<Model, mean_head, d2v::Cpu> tuner(settings);
  if (!pretrained.empty()) tuner.set_encoder(pretrained);
  TuningBatches batches(tuner, text.train, choose_samples(text.train.size(), labels, seed), recipe.batch, seed);
  while (tuner.updates() < updates && !interrupted)
    if (tuner.step(batches()).skipped)
      throw d2v::Error("fine-tuning, update " + std::to_string(tuner.updates()) +
                       ": expected a finite gradient, found another one");
  return interrupted ? 0 : evaluate(tuner, text.judged, text.class_count)["accuracy"].get<double>();
}

/// Fine-tunes with 1 % and 10 % of the labels, from the pre-trained encoder and from scratch: the same samples, updates
/// and seeds for both; and the words' baseline with the same labels.
inline void tune_with_labels(Parts& parts, const DemoText& text, std::span<const float> pretrained,
                             const DemoOptions& o, std::uint64_t first_seed, int threads) {
  std::int64_t updates = o.tuning_updates;
  for (const std::size_t labels : text.counts()) {
    for (std::uint64_t seed = first_seed; seed < first_seed + static_cast<std::uint64_t>(o.seeds); ++seed) {
      parts(words_name(labels, seed), [&]() -> d2v::Json { return judge_words(text, labels, seed); }, percent_of);
      for (const char* start : starts)
        parts(tuning_name(labels, start, seed),
              [&]() -> d2v::Json {
                const auto weights = start == starts[0] ? pretrained : std::span<const float>();
                return tune(text, labels, updates, weights, seed, threads);
              },
              percent_of);
    }
    updates *= 4;
  }
}

}  // namespace demo
