// SPDX-License-Identifier: MIT
// One fine-tuning case against the reference: features, logits, losses, gradients, learning rates per layer.
#pragma once

#include <data2vec/finetune/classifier.hpp>

#include "pretrain.hpp"

namespace data2vec::parity {

/// What the reference's optimizer scales by for a tensor; 1 where it says nothing.
inline double override_of(const Case& c, const std::string& tensor, const std::string& what) {
  const std::string path = "optim_overrides_per_parameter." + tensor + "." + what;
  return c.has_number(path) ? c.number(path) : 1;
}

/// Runs a case of image classification with B samples. `Model` is the encoder's pre-training type.
template <class Model, int num_classes, Pooling pooling, bool use_fc_norm, bool soft, int B>
void run_finetune(const Case& c, Report& r) {
  constexpr ClassifierConfig head{.num_classes = num_classes, .prediction_mode = pooling, .use_fc_norm = use_fc_norm};
  using Net = Classifier<Model, head>;
  using Parameters = typename Net::template Parameters<float>;
  constexpr std::size_t size = buffer_size<Parameters>;
  Buffer<float> weights(size), gradient(size);
  for (const TensorInfo& info : tensor_table<Parameters>) {
    const auto values = c.f32("params." + std::string(info.name.view()), info.size);
    std::copy(values.begin(), values.end(), weights.data() + info.offset);
  }
  Buffer<float> workspace(buffer_size<typename Net::template Workspace<float, B>>);
  Buffer<int> indices(buffer_size<typename Net::template Index<B>>);
  const auto w = bind<typename Net::template Workspace<float, B>>(workspace.data());
  const auto index = bind<typename Net::template Index<B>>(indices.data());
  const auto p = bind<typename Net::template Parameters<const float>>(static_cast<const float*>(weights.data()));
  const View<const float, B, Net::M::sample_size> samples{c.f32("in.source", B * Net::M::sample_size).data()};
  typename Net::template Labels<float> labels{.hard = c.i32("in.labels").data(),
                                              .soft = soft ? c.f32("in.soft_labels", B * Net::classes).data() : nullptr,
                                              .smoothing = c.number("label_smoothing")};
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  Buffer<float> losses(soft ? B * Net::classes : B);
  const ClassificationSums sums =
      Net::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}}, p, bind<Parameters>(gradient.data()), samples, labels,
                c.number("sample_size"), w, index, losses.data());
  const auto compare = [&](Quantity quantity, const std::string& name, const float* found, std::size_t count) {
    r.check(quantity, name, c.f32(name, count), {found, count});
  };
  std::vector<float> features;
  const auto encoded = Net::forward(Pass{cpu}, p, samples, w, index);
  for (int b = 0; b < B; ++b)
    features.insert(features.end(), encoded[b][Net::first_token].data, encoded[b].data + Net::S * Net::D);
  compare(Quantity::activation, "out.features", features.data(), features.size());
  compare(Quantity::activation, "out.pooled", head.use_fc_norm ? w.normed.data : w.pooled.data, B * Net::D);
  compare(Quantity::activation, "out.logits", w.logits.data, w.logits.size);
  compare(Quantity::loss, "out.loss_per_element", losses.data(), losses.size());
  r.check_value(Quantity::loss, "out.loss_total", c.value("out.loss_total", 0), sums.loss);
  for (const TensorInfo& info : tensor_table<Parameters>) {
    const std::string name(info.name.view());
    if (c.has("grad." + name)) compare(Quantity::gradient, "grad." + name, gradient.data() + info.offset, info.size);
    r.check_value(Quantity::loss, "lr_scale of " + name,
                  override_of(c, name, "lr_scale"),
                  layer_lr_scale<Model>(name, c.number("layer_decay")));
    const bool exempt = override_of(c, name, "weight_decay_scale") == 0;
    if (info.trained) r.expect(exempt == info.exempt_from_decay(), "weight-decay exemption of " + name);
  }
  // Evaluation uses hard labels without smoothing.
  Buffer<float> evaluated(B);
  const ClassificationSums eval = Net::loss(cpu, B, w.logits.data, {.hard = c.i32("in.labels").data()}, 0,
                                            evaluated.data(), static_cast<float*>(nullptr));
  compare(Quantity::loss, "out.eval_loss_per_example", evaluated.data(), evaluated.size());
  r.check_value(Quantity::exact, "out.eval_correct", c.value("out.eval_correct", 0), eval.correct);
}

}  // namespace data2vec::parity
