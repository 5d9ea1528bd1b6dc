// SPDX-License-Identifier: MIT
// Checkpoints of a fine-tuning: save_checkpoint<Tuner::ModelType>(path, tuner.state()), and what run_loop(tuner, ...)
// of training/loop.hpp needs, as for a pre-training.
#pragma once

#include <data2vec/finetune/finetuner.hpp>
#include <data2vec/training/checkpoint.hpp>

namespace data2vec::inline v0 {

/// What makes a classifier the one that it is: encoder, modality, head.
template <class Model, ClassifierConfig H>
struct Description<Classifier<Model, H>> {
  static Json json() {
    const Json model = describe_model<Model>();
    Json json = {{"model", model["model"]},
                 {"modality", model["modality"]},
                 {"head",
                  {{"num_classes", H.num_classes},
                   {"prediction_mode", static_cast<int>(H.prediction_mode)},
                   {"use_fc_norm", H.use_fc_norm},
                   {"drop_path", H.drop_path}}}};
    // Absent in files written before there were others.
    if (H.head != HeadKind::linear) json["head"]["head"] = static_cast<int>(H.head);
    if (H.regression) json["head"]["regression"] = true;
    return json;
  }
};

/// A report as a line of the loop's log.
inline Json log_line(const FineTuneReport& r) {
  return {{"update", r.update},
          {"samples", r.samples},
          {"loss", r.loss},
          {"accuracy", r.accuracy},
          {"gradient_norm", r.gradient_norm},
          {"learning_rate", r.learning_rate},
          {"frozen", r.frozen},
          {"skipped", r.skipped}};
}

}  // namespace data2vec::inline v0
