// SPDX-License-Identifier: MIT
// What goes into the fine-tuning of a recogniser and what it tells: options, batches with transcripts, reports.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/finetune/token_masks.hpp>
#include <data2vec/training/optimizer.hpp>
#include <data2vec/training/options.hpp>
#include <data2vec/training/schedule.hpp>

namespace data2vec::inline v0 {

/// What can be changed from run to run without recompiling; optimizer and schedule as the reference has them for
/// letters.
struct RecogniserOptions {
  Schedule schedule = tri_stage(1e-4, 1);
  OptimizerConfig optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-8, .weight_decay = 0, .clip_norm = 0};
  TokenMaskOptions mask = {};
  std::int64_t freeze_finetune_updates = 0;  ///< before that update only the head learns
  bool sentence_avg = true;  ///< the loss is divided by the utterances of a batch; else by their labels
  DropoutRates rates = {};   ///< those that are zero in the model's configuration have no effect
  std::uint64_t seed = 1;    ///< of the head's weights and of all that is random in training
  int threads = 0;           ///< 0: as many as the machine has

  /// A tenth of warm-up, four of the full rate, five of decay to a twentieth.
  static constexpr TriStageSchedule tri_stage(double lr, std::int64_t updates) {
    return {.lr = lr, .phase_ratio = {{0.1, 0.4, 0.5}}, .final_lr_scale = 0.05, .max_update = updates};
  }

  /// The dropout rates of a model's configuration, the rest as above.
  template <class Model>
  static RecogniserOptions of() {
    RecogniserOptions options;
    options.rates = TrainerOptions::of<Model>().rates;
    return options;
  }

  /// Throws OptionError, naming the field, if one is out of range.
  void validate() const {
    data2vec::validate(schedule);
    mask.validate();
    if (freeze_finetune_updates < 0)
      throw OptionError("RecogniserOptions::freeze_finetune_updates: expected 0 or more, found " +
                        std::to_string(freeze_finetune_updates));
  }
};

/// A batch of utterances of one length type. The ids name them for good: all that is random about an utterance follows
/// from its id.
template <class T = float>
struct UtteranceBatch {
  std::span<const T> samples;                                 ///< (n, sample_size)
  std::span<const std::uint32_t> ids;                         ///< (n)
  std::span<const std::span<const std::int32_t>> labels = {};  ///< (n) targets, without CTC's blank
  std::span<const int> lengths = {};                          ///< (n) samples that are no padding; empty: all
  int bucket = 0;                                             ///< which of a model's lengths
};

/// What a step of fine-tuning did.
struct RecogniserReport {
  std::int64_t update = 0;  ///< updates before this one
  std::int64_t samples = 0, labels = 0;
  double loss = 0;           ///< CTC, divided as RecogniserOptions::sentence_avg says
  double gradient_norm = 0;  ///< before clipping; of what is not frozen
  double learning_rate = 0;
  int bucket = 0;
  bool frozen = false;   ///< only the head learnt
  bool skipped = false;  ///< the gradient was not finite: no parameter was changed
  bool updated = false;  ///< the weights changed
};

}  // namespace data2vec::inline v0
