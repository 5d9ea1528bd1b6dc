// SPDX-License-Identifier: MIT
// What goes into a fine-tuning and what it tells: options, batches with labels, reports.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/finetune/classifier.hpp>
#include <data2vec/training/options.hpp>

namespace data2vec::inline v0 {

/// What can be changed from run to run without recompiling.
struct FineTunerOptions {
  Schedule schedule = CosineSchedule{.lr = 1e-3, .warmup_updates = 0, .max_update = 1};
  OptimizerConfig optimizer = {};
  double layer_decay = 1;                    ///< of the learning rate from block to block (see layer_lr_scale)
  double label_smoothing = 0;                ///< of hard labels, in training
  std::int64_t freeze_finetune_updates = 0;  ///< before that update only fc_norm and head learn
  DropoutRates rates = {};                   ///< those that are zero in the model's configuration have no effect
  std::uint64_t seed = 1;                    ///< of the new weights and of all that is random in training
  int threads = 0;                           ///< 0: as many as the machine has

  /// The dropout rates of a model's configuration, with stochastic depth of `drop_path_rate` (see with_drop_path; it
  /// needs ClassifierConfig::drop_path), the rest as above.
  template <class Model>
  static FineTunerOptions of(double drop_path_rate = 0) {
    FineTunerOptions options;
    options.rates = with_drop_path<Model>(TrainerOptions::of<Model>().rates, drop_path_rate);
    return options;
  }

  /// Throws OptionError, naming the field, if one is out of range.
  void validate() const {
    const auto expect = [](bool fulfilled, const char* sentence, double found) {
      if (!fulfilled)
        throw OptionError(std::string("FineTunerOptions::") + sentence + ", found " + std::to_string(found));
    };
    data2vec::validate(schedule);
    expect(layer_decay > 0 && layer_decay <= 1, "layer_decay: expected above 0, at most 1", layer_decay);
    expect(label_smoothing >= 0 && label_smoothing < 1, "label_smoothing: expected 0 or more, below 1",
           label_smoothing);
    expect(freeze_finetune_updates >= 0, "freeze_finetune_updates: expected 0 or more",
           static_cast<double>(freeze_finetune_updates));
  }
};

/// A batch with labels in memory: hard ones or soft ones, or the values of a regression. The ids name the samples for
/// good: all that is random about a sample follows from its id.
template <class T = float, class Sample = T>
struct LabelledBatch {
  std::span<const Sample> samples;            ///< (n, sample_size)
  std::span<const std::uint32_t> ids;         ///< (n)
  std::span<const std::int32_t> labels = {};  ///< (n), from 0 to classes - 1; or
  std::span<const T> soft_labels = {};        ///< (n, classes), for example of mixup(); they are not smoothed
  std::span<const T> values = {};             ///< (n), of a regression
  std::span<const int> lengths = {};          ///< (n), as of Batch: elements of each sample that are no padding
};

namespace detail {

/// Throws OptionError if a batch holds another number of something.
inline void expect_in_batch(std::size_t expected, const char* what, std::size_t found) {
  if (found != expected)
    throw OptionError("fine-tuning: expected " + std::to_string(expected) + " " + what + ", found " +
                      std::to_string(found));
}

/// Throws OptionError unless each sample of a batch has one label from 0 to classes - 1, or soft ones for all classes.
template <class T, class Sample>
void check_classes(const LabelledBatch<T, Sample>& batch, int classes) {
  const std::size_t n = batch.ids.size();
  if (batch.labels.empty())
    expect_in_batch(n * static_cast<std::size_t>(classes), "soft labels", batch.soft_labels.size());
  else expect_in_batch(0, "soft labels beside the hard ones", batch.soft_labels.size());
  if (batch.soft_labels.empty()) expect_in_batch(n, "labels", batch.labels.size());
  for (const std::int32_t label : batch.labels)
    if (label < 0 || label >= classes)
      throw OptionError("fine-tuning: expected labels from 0 to " + std::to_string(classes - 1) + ", found " +
                        std::to_string(label));
}

/// Samples whose largest logit is that of their largest soft label; both (count, classes).
template <class T>
double soft_hits(const T* logits, const T* soft, std::size_t count, int classes) {
  double right = 0;
  for (std::size_t b = 0; b < count; ++b, logits += classes, soft += classes)
    right += std::max_element(logits, logits + classes) - logits == std::max_element(soft, soft + classes) - soft;
  return right;
}

}  // namespace detail

/// What a step of fine-tuning did.
struct FineTuneReport {
  std::int64_t update = 0;  ///< updates before this one
  std::int64_t samples = 0;
  double loss = 0;           ///< mean over the samples
  double accuracy = 0;       ///< of the training pass; soft labels count as their largest class; of a regression 0
  double gradient_norm = 0;  ///< before clipping; of what is not frozen
  double learning_rate = 0;
  bool frozen = false;   ///< only fc_norm and head learnt
  bool skipped = false;  ///< the gradient was not finite: no parameter was changed
  bool updated = false;  ///< the weights changed
};

/// What an evaluation found.
struct Evaluation {
  std::int64_t samples = 0;
  double loss = 0;  ///< mean cross entropy, without smoothing, or mean squared error
  double accuracy = 0;
};

}  // namespace data2vec::inline v0
