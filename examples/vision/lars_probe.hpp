// SPDX-License-Identifier: MIT
// The linear probe of masked autoencoders on an encoder's features (evaluation/lars_probe.hpp): every epoch sees fresh
// views of the labelled images, and nothing is chosen by held-out ones.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/evaluation/lars_probe.hpp>
#include <data2vec/evaluation/metrics.hpp>

#include "examples/common/judging.hpp"
#include "examples/common/program.hpp"
#include "examples/vision/data.hpp"
#include "examples/vision/feature_extractor.hpp"

namespace demo {

struct LarsOptions {
  int epochs = 0, batch = 512;
  double lr = 0.1;

  void add_to(CLI::App& app) {
    app.add_option("--lars", epochs,
                   "epochs of the linear probe of masked autoencoders beside the other one (published: "
                   "90); 0: none")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--lars-batch", batch, "images of its updates (published: 16384)")->check(CLI::Range(2, 1 << 20));
    app.add_option("--lars-lr", lr,
                   "its highest learning rate for 256 images, in proportion for other batches; steps are "
                   "small beside the weights: few updates need more than the published")
        ->check(CLI::PositiveNumber);
  }
};

/// What is judged, and by what.
struct LarsTask {
  FeatureExtractor& extract;
  const float* weights;
  const RandomView& view;
  const std::vector<std::size_t>& chosen;  ///< images whose labels are used
  const Views& test;
  Pool pool;
  int layer, class_count;
  std::uint64_t seed;

  /// Trains the probe and judges it. A function of all this; when a signal comes, it returns early with something else.
  d2v::Confusion run(const LarsOptions& o) const {
    switch (cells(pool)) {
      case 2:
        return run_on<4 * FeatureExtractor::D>(o);
      case 3:
        return run_on<9 * FeatureExtractor::D>(o);
      default:
        return run_on<FeatureExtractor::D>(o);
    }
  }

 private:
  template <int dim>
  d2v::Confusion run_on(const LarsOptions& o) const {
    const std::size_t batch = std::min(static_cast<std::size_t>(o.batch), chosen.size());
    const std::size_t per_epoch = chosen.size() / batch;
    d2v::CosineSchedule schedule =
        d2v::lars_probe_schedule(static_cast<std::int64_t>(per_epoch), static_cast<int>(batch), o.epochs);
    schedule.lr = o.lr * static_cast<double>(batch) / 256;
    schedule.warmup_updates = std::min(schedule.warmup_updates, schedule.max_update / 5);  // of few epochs
    d2v::LarsProbe<dim, classes, d2v::Cpu> probe(static_cast<int>(batch), seed);
    d2v::EpochOrder order(static_cast<std::uint32_t>(chosen.size()), seed);
    std::vector<float> samples(batch * sample_size), features(batch * dim), logits(batch * classes);
    std::vector<int> labels(batch);
    Progress progress(0, schedule.max_update, static_cast<double>(batch));
    for (std::int64_t update = 0; update < schedule.max_update && !interrupted; ++update) {
      const std::size_t index = static_cast<std::size_t>(update), first = index % per_epoch * batch;
      const auto epoch = static_cast<std::uint32_t>(index / per_epoch);
      const auto rows = order.of(epoch).subspan(first, batch);
      each_view(extract.team(), batch, view, [&](RandomView& own, std::size_t i) {
        labels[i] = own(chosen[rows[i]], seed, epoch, &samples[i * sample_size]);
      });
      extract(weights, samples.data(), batch, pool, layer, features.data());
      progress.show(update, probe.step(features, labels, schedule(update)).loss);
    }
    d2v::Confusion found(class_count);
    for (std::size_t first = 0; first < test.size() && !interrupted; first += batch) {
      const std::size_t n = std::min(batch, test.size() - first);
      extract(weights, test, first, n, pool, layer, features.data(), labels.data());
      probe.logits({features.data(), n * dim}, {logits.data(), n * classes});
      count_rows(found, {labels.data(), n}, logits.data(), classes);
    }
    return found;
  }
};

}  // namespace demo
