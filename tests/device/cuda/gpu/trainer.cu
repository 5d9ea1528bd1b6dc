// SPDX-License-Identifier: MIT
// Trainings and features on a real device; and the trainer and the fine-tuner of ViT-B with a batch of 64.
#include <data2vec/cuda.cuh>
#include <data2vec/model/presets.hpp>

#include "tests/device/cuda/gpu/groups.hpp"
#include "tests/device/cuda/trace.hpp"

namespace cases {

models::Trace train_on_device(const std::string& model, int steps, int accumulation) {
  if (model == "plain") return models::trace<models::Plain>(steps, accumulation);
  if (model == "wide") return models::trace<models::Wide, data2vec::Precision::bf16>(steps, accumulation);
  if (model == "spoken") return models::trace<models::Spoken>(steps, accumulation);
  if (model == "spoken in bf16") return models::trace<models::Spoken, data2vec::Precision::bf16>(steps, accumulation);
  if (model == "written") return models::trace<models::Written>(steps, accumulation);
  if (model == "written in bf16") return models::trace<models::Written, data2vec::Precision::bf16>(steps, accumulation);
  if (model == "mae") return models::trace<models::Mae>(steps, accumulation);
  if (model == "mae in bf16") return models::trace<models::Mae, data2vec::Precision::bf16>(steps, accumulation);
  if (model == "noisy") return models::trace<models::Noisy>(steps, accumulation);
  return models::trace<models::Skipping>(steps, accumulation);
}

std::vector<float> plain_features_on_device(const std::vector<float>& weights, const std::vector<float>& samples) {
  data2vec::FeatureExtractor<models::Plain, models::Fp32, 2> extract(weights);
  std::vector<float> means(samples.size() / models::sample * models::plain_config.embed_dim);
  extract.pool(samples, {1, 1}, means, 1);
  return means;
}

using namespace data2vec;
using VitBImages = Vision<vision_base_images>;
struct VitB : Data2Vec2<vision_base, Branch<VitBImages, InverseBlockMask<VitBImages::grid, vision_base_masks>,
                                            Conv2dDecoder<vision_base_decoder>>> {};
StepReport vit_b_step(const Batch<float>& batch) {
  Trainer<VitB, Cuda, 64> trainer{TrainerOptions{}};
  return trainer.step(batch);
}

FineTuneReport vit_b_fine_tune(const LabelledBatch<float>& batch) {
  FineTuner<VitB, ClassifierConfig{.num_classes = 1000, .drop_path = true}, Cuda, 64> tuner{FineTunerOptions{}};
  return tuner.step(batch);
}

}  // namespace cases
