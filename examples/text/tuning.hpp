// SPDX-License-Identifier: MIT
// Fine-tuning on labelled text, as `finetune` and `demo` do it: the classifier, its batches, and how it is judged.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <data2vec/evaluation/correlation.hpp>
#include <data2vec/evaluation/metrics.hpp>
#include <data2vec/finetune/finetuner.hpp>

#include "examples/common/judging.hpp"
#include "examples/common/program.hpp"
#include "examples/text/labelled.hpp"

namespace demo {

/// The head of RoBERTa on what `<s>` has become, and one linear layer on the mean of all tokens, which few labels teach
/// better.
inline constexpr d2v::ClassifierConfig first_token_head =
    classes == 1 ? d2v::ClassifierConfig::sentence_regression() : d2v::ClassifierConfig::sentence(classes);
inline constexpr d2v::ClassifierConfig mean_head{
    .num_classes = classes, .use_fc_norm = false, .regression = classes == 1};

/// The batch of an update: every chosen sample once in each epoch, so the last batch of one may be smaller.
template <class Tuner>
class TuningBatches {
 public:
  TuningBatches(const Tuner& tuner, const Samples& samples, std::vector<std::size_t> chosen, int batch,
                std::uint64_t seed)
      : tuner_(tuner), samples_(samples), chosen_(std::move(chosen)),
        order_(static_cast<std::uint32_t>(chosen_.size()), seed),
        batch_(std::min(static_cast<std::size_t>(batch), chosen_.size())), ids_(batch_ * sample_size), labels_(batch_),
        values_(batch_), names_(batch_) {}

  std::size_t size() const { return batch_; }

  typename Tuner::Batch operator()() {
    const auto update = static_cast<std::size_t>(tuner_.updates());
    const std::size_t per_epoch = (chosen_.size() + batch_ - 1) / batch_, first = update % per_epoch * batch_;
    const auto epoch = static_cast<std::uint32_t>(update / per_epoch);
    const std::size_t n = std::min(batch_, chosen_.size() - first);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at = chosen_[order_.of(epoch)[first + i]];
      names_[i] = static_cast<std::uint32_t>(at);
      std::copy_n(samples_.sample(at), sample_size, &ids_[i * sample_size]);
      if constexpr (Tuner::Net::regression) values_[i] = samples_.values[at];
      else labels_[i] = samples_.labels[at];
    }
    typename Tuner::Batch batch{{ids_.data(), n * sample_size}, {names_.data(), n}};
    if constexpr (Tuner::Net::regression) batch.values = {values_.data(), n};
    else batch.labels = {labels_.data(), n};
    return batch;
  }

 private:
  const Tuner& tuner_;
  const Samples& samples_;
  std::vector<std::size_t> chosen_;
  d2v::EpochOrder order_;
  std::size_t batch_;
  std::vector<std::int32_t> ids_, labels_;
  std::vector<float> values_;
  std::vector<std::uint32_t> names_;
};

/// What a classifier or a regression makes of samples: {"accuracy", "f1" (of the second of two classes), "macro_f1",
/// "matthews", "confusion"}, or {"pearson", "spearman", "squared_error"}.
template <class Tuner>
d2v::Json evaluate(Tuner& tuner, const Samples& samples, int class_count) {
  const auto fill = [&](std::int64_t i, std::int32_t* to) {
    const auto at = static_cast<std::size_t>(i);
    std::copy_n(samples.sample(at), sample_size, to);
    if constexpr (Tuner::Net::regression) return samples.values[at];
    else return samples.labels[at];
  };
  const auto n = static_cast<std::int64_t>(samples.size());
  if constexpr (Tuner::Net::regression) {
    std::vector<double> truth, found;
    const d2v::Evaluation all = tuner.evaluate(n, fill, [&](std::int64_t, float value, std::span<const float> output) {
      truth.push_back(static_cast<double>(value)), found.push_back(static_cast<double>(output[0]));
    });
    return {{"pearson", d2v::pearson(found, truth)},
            {"spearman", d2v::spearman(found, truth)},
            {"squared_error", all.loss}};
  } else {
    d2v::Confusion confusion(class_count);
    tuner.evaluate(n, fill, [&](std::int64_t, int label, std::span<const float> logits) {
      const auto end = logits.begin() + class_count;
      confusion.add(label, static_cast<int>(std::max_element(logits.begin(), end) - logits.begin()));
    });
    d2v::Json scores{{"accuracy", confusion.accuracy()},
                     {"macro_f1", confusion.macro_f1()},
                     {"matthews", d2v::matthews(confusion)},
                     {"confusion", counts_of(confusion)}};
    if (class_count == 2) scores["f1"] = confusion.f1(1);
    return scores;
  }
}

}  // namespace demo
