// SPDX-License-Identifier: MIT
// Checkpoints of a recogniser's fine-tuning: what run_loop(tuner, ...) of training/loop.hpp needs, as for a
// pre-training.
#pragma once

#include <data2vec/finetune/recogniser_tuner.hpp>
#include <data2vec/training/checkpoint.hpp>

namespace data2vec::inline v0 {

/// What makes a recogniser the one that it is: encoder, modality, symbols.
template <class Model, int symbols>
struct Description<Recogniser<Model, symbols>> {
  static Json json() {
    const Json model = describe_model<Model>();
    return {{"model", model["model"]}, {"modality", model["modality"]}, {"recogniser", {{"symbols", symbols}}}};
  }
};

/// A report as a line of the loop's log.
inline Json log_line(const RecogniserReport& r) {
  return {{"update", r.update},
          {"samples", r.samples},
          {"labels", r.labels},
          {"loss", r.loss},
          {"gradient_norm", r.gradient_norm},
          {"learning_rate", r.learning_rate},
          {"bucket", r.bucket},
          {"frozen", r.frozen},
          {"skipped", r.skipped}};
}

}  // namespace data2vec::inline v0
