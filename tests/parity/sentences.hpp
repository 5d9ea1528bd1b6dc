// SPDX-License-Identifier: MIT
// One fine-tuning case of sentences against the reference: features, logits, loss, gradients.
#pragma once

#include <data2vec/finetune/classifier.hpp>

#include "pretrain.hpp"

namespace data2vec::parity {

/// Runs a case of classification or regression of texts with B samples. `Model` is the encoder's pre-training type.
template <class Model, int num_classes, bool regression, int B>
void run_sentences(const Case& c, Report& r) {
  using Net = Classifier<Model, regression ? ClassifierConfig::sentence_regression()
                                           : ClassifierConfig::sentence(num_classes)>;
  using Parameters = typename Net::template Parameters<float>;
  constexpr std::size_t size = buffer_size<Parameters>;
  constexpr int T_ = Net::M::tokens;
  Buffer<float> weights(size), gradient(size);
  const auto& table = tensor_table<Parameters>;
  for (const TensorInfo& info : table) {
    const auto values = c.f32("params." + std::string(info.name.view()), info.size);
    std::copy(values.begin(), values.end(), weights.data() + info.offset);
  }
  for (const std::string& prefix : {std::string("params."), std::string("grad.")})
    for (const std::string& name : c.names(prefix))
      r.expect(std::any_of(table.begin(), table.end(),
                           [&](const TensorInfo& info) { return prefix + std::string(info.name.view()) == name; }),
               name + ": the model has no such tensor");
  int lengths[B];
  const auto source = c.i32("in.source");
  const View<const std::int32_t, B, T_> samples{source.data()};
  for (int b = 0; b < B; ++b) lengths[b] = Net::padded ? Net::M::length_of(samples[b].data) : T_;
  if (c.has("in.padding_mask")) {
    const auto mask = c.u8("in.padding_mask");
    for (int b = 0; b < B; ++b)
      for (int t = 0; t < T_; ++t)
        r.expect((mask[static_cast<std::size_t>(b * T_ + t)] != 0) == (t >= lengths[b]),
                 "in.padding_mask: padding stands at the end, where the ids say so");
  }
  Buffer<float> workspace(buffer_size<typename Net::template Workspace<float, B>>);
  Buffer<int> indices(buffer_size<typename Net::template Index<B>>);
  const auto w = bind<typename Net::template Workspace<float, B>>(workspace.data());
  const auto index = bind<typename Net::template Index<B>>(indices.data());
  const auto p = bind<typename Net::template Parameters<const float>>(static_cast<const float*>(weights.data()));
  typename Net::template Labels<float> labels;
  if constexpr (regression) labels.values = c.f32("in.labels_float", B).data();
  else labels.hard = c.i32("in.labels").data();
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  float* const no_losses = nullptr;
  const ClassificationSums sums =
      Net::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}}, p, bind<Parameters>(gradient.data()), samples, labels,
                c.number("sample_size"), w, index, no_losses, lengths);
  const auto compare = [&](Quantity quantity, const std::string& name, const float* found, std::size_t count) {
    r.check(quantity, name, c.f32(name, count), {found, count});
  };
  compare(Quantity::activation, "out.logits", w.logits.data, w.logits.size);
  r.check_value(Quantity::loss, "out.loss_total", c.value("out.loss_total", 0), sums.loss);
  for (const TensorInfo& info : table) {
    const std::string name = "grad." + std::string(info.name.view());
    r.expect(c.has(name), name + ": the reference has no such gradient");
    if (c.has(name)) compare(Quantity::gradient, name, gradient.data() + info.offset, info.size);
  }
  const auto encoded = Net::forward(Pass{cpu}, p, samples, w, index, lengths);
  compare(Quantity::activation, "out.features", encoded.data, encoded.size);
}

}  // namespace data2vec::parity
