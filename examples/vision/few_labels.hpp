// SPDX-License-Identifier: MIT
// A classifier from few labelled images: the encoder as it was pre-trained, or from scratch, for the same number of
// updates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/evaluation/metrics.hpp>
#include <data2vec/finetune/finetuner.hpp>

#include "examples/common/judging.hpp"
#include "examples/common/program.hpp"
#include "examples/vision/model.hpp"
#include "examples/vision/data.hpp"

namespace demo {

inline constexpr d2v::ClassifierConfig head{.num_classes = std::max(2, classes), .drop_path = true};
using Tuner = d2v::FineTuner<Model, head, d2v::Cpu>;

/// One run: on which images, how long, from which seed.
struct Tuning {
  const d2v::ImageDataset& images;
  const d2v::ChannelStatistics& statistics;
  std::vector<std::size_t> chosen;  ///< the images that are used with their labels
  std::int64_t updates = 0;
  std::uint64_t seed = 1;
  int threads = 0;
};

/// Trains a classifier, from `pretrained` unless it is empty, and returns what it makes of `test`. A function of its
/// arguments; when a signal comes, it returns early with something else.
inline d2v::Confusion tune(const Tuning& t, std::span<const float> pretrained, const Views& test, int class_count) {
  const TuningRecipe recipe = pretrained.empty() ? tuned_from_scratch : tuned_pretrained;
  d2v::FineTunerOptions settings = d2v::FineTunerOptions::of<Model>(recipe.drop_path);
  settings.schedule =
      d2v::CosineSchedule{.lr = recipe.lr, .warmup_updates = t.updates / 10, .max_update = t.updates};
  settings.optimizer = {.adam_betas = {0.9, 0.999},
                        .adam_eps = 1e-8,
                        .weight_decay = recipe.weight_decay,
                        .clip_norm = recipe.clip_norm};
  settings.layer_decay = recipe.layer_decay;
  settings.label_smoothing = recipe.label_smoothing;
  settings.seed = t.seed;
  settings.threads = t.threads;
  Tuner tuner(settings);
  if (!pretrained.empty()) tuner.set_encoder(pretrained);

  RandomView view(t.images, t.statistics);
  d2v::EpochOrder order(static_cast<std::uint32_t>(t.chosen.size()), t.seed);
  const std::size_t batch = std::min(static_cast<std::size_t>(recipe.batch), t.chosen.size());
  const std::size_t per_epoch = (t.chosen.size() + batch - 1) / batch;
  std::vector<float> samples(batch * sample_size);
  std::vector<std::int32_t> labels(batch);
  std::vector<std::uint32_t> ids(batch);
  while (tuner.updates() < t.updates && !interrupted) {
    const auto update = static_cast<std::size_t>(tuner.updates());
    const auto epoch = static_cast<std::uint32_t>(update / per_epoch);
    const std::size_t first = update % per_epoch * batch, n = std::min(batch, t.chosen.size() - first);
    for (std::size_t i = 0; i < n; ++i) {
      ids[i] = static_cast<std::uint32_t>(t.chosen[order.of(epoch)[first + i]]);
      labels[i] = view(ids[i], t.seed, epoch, &samples[i * sample_size]);
    }
    const auto report = tuner.step(std::span<const float>(samples.data(), n * sample_size),
                                   std::span<const std::int32_t>(labels.data(), n),
                                   std::span<const std::uint32_t>(ids.data(), n));
    if (report.skipped)
      throw d2v::Error("fine-tuning, update " + std::to_string(update) +
                       ": expected a finite gradient, found another one");
  }

  d2v::ThreadTeam team(t.threads);
  constexpr std::size_t piece = 1024, outputs = static_cast<std::size_t>(Tuner::classes);
  std::vector<float> logits(piece * outputs);
  std::vector<int> truth(piece);
  samples.resize(piece * sample_size);
  d2v::Confusion confusion(class_count);
  for (std::size_t first = 0; first < test.size() && !interrupted; first += piece) {
    const std::size_t n = std::min(piece, test.size() - first);
    test.load(team, first, n, samples.data(), truth.data());
    tuner.logits({samples.data(), n * sample_size}, {logits.data(), n * outputs});
    count_rows(confusion, {truth.data(), n}, logits.data(), outputs);
  }
  return confusion;
}

}  // namespace demo
