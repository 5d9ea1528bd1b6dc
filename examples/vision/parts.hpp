// SPDX-License-Identifier: MIT
// What the demo does behind the pre-training: it judges features, and fine-tunes with few labels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/judging.hpp"
#include "examples/common/parts.hpp"
#include "examples/common/program.hpp"
#include "examples/vision/data.hpp"
#include "examples/vision/feature_extractor.hpp"
#include "examples/vision/few_labels.hpp"

namespace demo {

/// What the demo is asked for beside the pre-training.
struct DemoOptions {
  std::size_t labels = 0;            ///< 0: all
  int seeds = 3;                     ///< of the runs with few labels; 0: none
  std::int64_t tuning_updates = 500;
  bool validation = false;

  d2v::Json json() const {
    return {{"labels", labels}, {"seeds", seeds}, {"tuning-updates", tuning_updates}, {"validation", validation}};
  }
  void take(const d2v::Json& kept) {
    labels = kept["labels"], seeds = kept["seeds"], tuning_updates = kept["tuning-updates"];
    validation = kept["validation"];
  }
};

inline constexpr const char* feature_names[] = {"raw pixels", "encoder, random weights", "encoder, pre-trained"};
inline constexpr const char* starts[] = {"pre-trained", "from scratch"};

/// Which images are used how. `--validation`: every tenth training image is held out and judged instead of the tests.
struct DemoImages {
  const d2v::ImageSets& sets;
  d2v::ChannelStatistics statistics;
  std::vector<std::size_t> labelled, judged;  ///< indices in sets.train, and in judged_set()
  bool validation = false;

  DemoImages(const d2v::ImageSets& images, const d2v::ChannelStatistics& s, const DemoOptions& o, std::uint64_t seed)
      : sets(images), statistics(s), labelled(choose(images.train, o.labels, o.validation, seed)),
        validation(o.validation) {
    const std::size_t step = validation ? 10 : 1;
    for (std::size_t i = step - 1; i < judged_set().size(); i += step) judged.push_back(i);
  }

  const d2v::ImageDataset& judged_set() const { return validation ? sets.train : sets.test; }

  /// `count` labelled images (0: all), balanced, those that are held out left out.
  static std::vector<std::size_t> choose(const d2v::ImageDataset& train, std::size_t count, bool validation,
                                         std::uint64_t seed) {
    std::vector<std::size_t> chosen;
    if (train.classes().empty()) {
      chosen.resize(train.size());
      std::iota(chosen.begin(), chosen.end(), std::size_t{0});
    } else {
      chosen = choose_labelled(train, 0, seed);
    }
    if (validation) std::erase_if(chosen, [](std::size_t i) { return i % 10 == 9; });
    if (count > 0 && count < chosen.size()) chosen.resize(count);
    return chosen;
  }
  Views bank() const { return Views(sets.train, statistics, labelled); }
  Views test() const { return Views(judged_set(), statistics, judged); }

  /// The judged images whose neighbours are shown: the first of each class, or the first ones, at most 8.
  std::vector<std::size_t> queries() const {
    std::vector<std::size_t> rows;
    std::vector<int> seen;
    for (std::size_t i = 0; i < judged.size() && rows.size() < 8; ++i) {
      const int label = judged_set().label(judged[i]);
      if (label >= 0 && std::find(seen.begin(), seen.end(), label) != seen.end()) continue;
      seen.push_back(label);
      rows.push_back(i);
    }
    return rows;
  }
};

/// Judges pixels and the two encoders, each with its neighbours; without labels the neighbours alone.
inline void judge_features(Parts& parts, const DemoImages& images, std::span<const float> pretrained,
                           std::uint64_t seed, int threads) {
  FeatureExtractor extract(threads);
  const Views bank = images.bank(), test = images.test();
  const int class_count = static_cast<int>(images.sets.train.classes().size());
  const auto make = [&](const char* name, std::span<const float> weights) {
    const bool pixels = weights.empty();
    const std::size_t columns = pixels ? sample_size : FeatureExtractor::width(judged_pool);
    const auto rows_of = [&](const Views& views) {
      Rows rows{std::vector<float>(views.size() * columns), std::vector<int>(views.size())};
      if (pixels) views.load(extract.team(), 0, views.size(), rows.values.data(), rows.labels.data());
      else
        extract(weights.data(), views, 0, views.size(), judged_pool, judged_layer, rows.values.data(),
                rows.labels.data());
      return rows;
    };
    const Rows train = rows_of(bank), queries = rows_of(test);
    d2v::Json result = d2v::Json::object();
    if (interrupted) return result;
    if (class_count > 0) {
      const auto metric = pixels ? d2v::Metric::euclidean : d2v::Metric::cosine;
      const Judgement judged =
          judge(name, train, queries, columns, metric, class_count, {.seed = seed, .threads = threads});
      result = json_of(judged);
      if (!pixels) result["confusion"] = counts_of(judged.linear);
    }
    if (!pixels) result["neighbours"] = nearest_rows(train.values, queries.values, columns, images.queries());
    return result;
  };
  const auto text = [](const d2v::Json& r) {
    if (!r.contains("knn")) return std::string("neighbours found");
    return formatted("%6.2f %% (k %2d)   %6.2f %% (penalty %g)", 100 * r["knn"]["accuracy"].get<double>(),
                     r["knn"]["k"].get<int>(), 100 * r["probe"]["accuracy"].get<double>(),
                     r["probe"]["penalty"].get<double>());
  };
  d2v::Buffer<float> random(d2v::buffer_size<Model::Parameters<float>>);
  Model::initialise(random.data(), seed);
  if (class_count > 0 && sample_size <= 64 * 64)
    parts(feature_names[0], [&] { return make(feature_names[0], {}); }, text);
  else if (class_count > 0)
    std::printf("%-46s SKIPPED: %zu numbers an image\n", feature_names[0], sample_size);
  parts(feature_names[1], [&] { return make(feature_names[1], {random.data(), random.size()}); }, text);
  parts(feature_names[2], [&] { return make(feature_names[2], pretrained); }, text);
}

/// The part of a run with few labels.
inline std::string tuning_name(std::size_t labels, const char* start, std::uint64_t seed) {
  return formatted("%zu labels, %s, seed %llu", labels, start, static_cast<unsigned long long>(seed));
}

/// How many labelled images are few: 1 % and 10 % of those that may be used, at least one of each class.
inline std::vector<std::size_t> few_counts(const DemoImages& images) {
  const std::size_t all = DemoImages::choose(images.sets.train, 0, images.validation, 1).size();
  const std::size_t least = images.sets.train.classes().size();
  std::vector<std::size_t> counts;
  for (const std::size_t share : {100, 10}) counts.push_back(std::min(all, std::max(least, (all + share / 2) / share)));
  if (counts[0] == counts[1]) counts.pop_back();
  return counts;
}

/// Fine-tunes with 1 % and 10 % of the labels, from the pre-trained encoder and from scratch: the same images, updates
/// and seeds for both.
inline void tune_with_few_labels(Parts& parts, const DemoImages& images, std::span<const float> pretrained,
                                 const DemoOptions& o, std::uint64_t first_seed, int threads) {
  const Views test = images.test();
  const int class_count = static_cast<int>(images.sets.train.classes().size());
  for (const std::size_t labels : few_counts(images))
    for (std::uint64_t seed = first_seed; seed < first_seed + static_cast<std::uint64_t>(o.seeds); ++seed)
      for (const char* start : starts) {
        const auto make = [&]() -> d2v::Json {
          const Tuning tuning{images.sets.train, images.statistics,
                              DemoImages::choose(images.sets.train, labels, images.validation, seed),
                              o.tuning_updates, seed, threads};
          const auto weights = start == starts[0] ? pretrained : std::span<const float>();
          return tune(tuning, weights, test, class_count).accuracy();
        };
        parts(tuning_name(labels, start, seed), make,
              [](const d2v::Json& r) { return formatted("%6.2f %%", 100 * r.get<double>()); });
      }
}

}  // namespace demo
