// SPDX-License-Identifier: MIT
// Cases of masked autoencoders: a pre-training step, a fine-tuning step, a step of the linear probe.
#pragma once

#include <array>
#include <numeric>

#include <data2vec/evaluation/lars_probe.hpp>
#include <data2vec/finetune/classifier.hpp>
#include <data2vec/objective/mae.hpp>

#include "baseline.hpp"
#include "device_step.hpp"
#include "given_mask.hpp"

namespace data2vec::parity {

/// Runs a pre-training case of B samples, its step on the CPU or a GPU.
template <class Model, int B, Where where = Where::cpu>
void run_mae(const Case& c, Report& r) {
  using Step = typename Model::First;
  using Network = typename Step::Network;
  constexpr int T_ = Step::T_, V = Step::V, E = Step::E, dim = Network::dim, values = Step::values;
  BaselineCase<typename Model::template Parameters<float>> model(c, r);
  Buffer<int> indices(buffer_size<typename Step::template Indices<B>>);
  const auto index = bind<typename Step::template Indices<B>>(indices.data());
  const auto noise = c.f32("in.noise", B * T_);
  std::vector<std::int32_t> restore;
  std::vector<float> mask;
  for (int b = 0; b < B; ++b) {
    std::array<int, T_> order{};
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) {
      return noise[static_cast<std::size_t>(b * T_ + i)] < noise[static_cast<std::size_t>(b * T_ + j)];
    });
    for (int place = 0; place < T_; ++place) {
      index.mask.restore[b][order[static_cast<std::size_t>(place)]] = place;
      if (place < V) index.mask.student.keep[b][place] = order[static_cast<std::size_t>(place)];
    }
    for (int t = 0, hidden = 0; t < T_; ++t) {
      const int place = index.mask.restore[b][t];
      restore.push_back(place);
      mask.push_back(place < V ? 0.0f : 1.0f);
      if (place >= V) index.mask.masked[b][hidden++] = t;
    }
  }
  index.complete();
  for (std::size_t i = 0; i < restore.size(); ++i) {
    r.expect(c.value("out.ids_restore", i) == restore[i], "out.ids_restore: the same order");
    r.expect(c.value("out.mask", i) == static_cast<double>(mask[i]), "out.mask: the same patches are hidden");
  }

  Buffer<float> workspace(buffer_size<typename Step::template Workspace<float, B>>);
  const auto w = bind<typename Step::template Workspace<float, B>>(workspace.data());
  const auto p = Model::template weights<0>(
      bind<typename Model::template Parameters<const float>>(static_cast<const float*>(model.weights.data())));
  const auto g = Model::template weights<0>(bind<typename Model::template Parameters<float>>(model.gradient.data()));
  Buffer<double> moments(Step::moment_rows * Step::moment_width);
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  const View<const float, B, Step::M::sample_size> samples{c.f32("in.source", B * Step::M::sample_size).data()};
  std::vector<float> state;  // of the decoder, before its norm
  const auto observe = [&](const std::string& name, int i, const float* x, std::size_t count) {
    const bool numbered = name.ends_with("_block");
    model.output(name + (numbered ? "." + std::to_string(i) : ""), {x, count});
    if (name == "decoder_block") state.assign(x, x + count);
  };
  PixelSums sums;
  if constexpr (where != Where::cpu) {
    const LossSums found = device_step(0, {.weights = model.weights.data(),
                                           .gradient = model.gradient.data(),
                                           .samples = samples.data,
                                           .targets = samples.data,
                                           .sample_size = B * Step::R,
                                           .indices = indices.data(),
                                           .moments = moments.data(),
                                           .observe = observe});
    sums = {found.regression, found.sample_size};
  } else {
    sums = Step::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}}, p, g, samples, B * Step::R, w, index,
                      moments.data(), observe);
  }
  if constexpr (where == Where::device_in_bfloat16)
    return compare_in_bfloat16<typename Model::template Parameters<float>>(
        c, r, "out.loss", sums.total() / sums.sample_size, "grad.", model.gradient.data());
  model.output("loss", sums.total() / sums.sample_size);

  // The case predicts the visible patches too.
  std::vector<float> normed(static_cast<std::size_t>(B) * T_ * dim), prediction(normed.size() / dim * values);
  constexpr double eps = Network::norm_eps;
  for (int b = 0; b < B; ++b)
    Network::Norm::forward(cpu, p.branch.decoder.decoder_norm, T_, eps,
                           static_cast<const float*>(state.data()) + (b * (E + T_) + E) * dim,
                           normed.data() + b * T_ * dim, static_cast<float*>(nullptr));
  Network::Predict::forward(cpu, p.branch.decoder.decoder_pred, B * T_, static_cast<const float*>(normed.data()),
                            prediction.data());
  model.output("prediction", prediction);
  std::vector<float> patches(static_cast<std::size_t>(B) * T_ * values);
  device::pixel_patches<Step::M::vision.in_chans, Step::M::vision.input_size, Step::M::vision.patch_size>(
      cpu, B, samples.data, patches.data());
  model.output("patches", patches);

  model.compare_gradients();
  const double norm = model.compare_update(1);
  if (c.has("out.grad_norm")) model.output("grad_norm", norm);
}

template <class Model, int B>
void run_mae_on_device(const Case& c, Report& r) {
  run_mae<Model, B, Where::device>(c, r);
}
template <class Model, int B>
void run_mae_in_bfloat16(const Case& c, Report& r) {
  run_mae<Model, B, Where::device_in_bfloat16>(c, r);
}

/// The parameters of a classifier as the reference names them: without "model." in front.
template <class Net>
struct FlatNames {
  template <class T>
  struct Parameters {
    typename Net::template Parameters<T> p;
    static constexpr void visit(auto&& f, auto&... all) {
      f("", all.p.model...);
      f("fc_norm", all.p.fc_norm...);
      f(Net::Head::name, all.p.head...);
    }
  };
};

/// A classifier's step on B samples.
template <class Model, int classes, bool global_pool, bool soft, int B>
void run_mae_finetune(const Case& c, Report& r) {
  constexpr ClassifierConfig head{.num_classes = classes,
                                  .prediction_mode = global_pool ? Pooling::mean_pooling : Pooling::cls_token,
                                  .use_fc_norm = global_pool};
  using Net = Classifier<Model, head>;
  using Named = FlatNames<Net>;
  BaselineCase<typename Named::template Parameters<float>> model(c, r);
  Buffer<float> workspace(buffer_size<typename Net::template Workspace<float, B>>);
  Buffer<int> indices(buffer_size<typename Net::template Index<B>>);
  const auto w = bind<typename Net::template Workspace<float, B>>(workspace.data());
  const auto index = bind<typename Net::template Index<B>>(indices.data());
  const auto p =
      bind<typename Named::template Parameters<const float>>(static_cast<const float*>(model.weights.data())).p;
  const auto g = bind<typename Named::template Parameters<float>>(model.gradient.data()).p;
  const View<const float, B, Net::M::sample_size> samples{c.f32("in.source", B * Net::M::sample_size).data()};
  typename Net::template Labels<float> labels{};
  std::vector<std::int32_t> target;
  if constexpr (soft) {
    labels.soft = c.f32("in.soft_target", B * classes).data();
  } else {
    target = whole_numbers(c, "in.target", B);
    labels.hard = target.data();
    labels.smoothing = c.number_or("label_smoothing", 0);
  }
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  const ClassificationSums sums =
      Net::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}}, p, g, samples, labels, B, w, index);
  model.output("loss", sums.loss / B);
  model.output("features", {head.use_fc_norm ? w.normed.data : w.pooled.data, B * Net::D});
  Net::forward(Pass{cpu}, p, samples, w, index);
  model.output("logits", {w.logits.data, w.logits.size});
  model.compare_gradients();
  const double decay = c.number("optimizer.layer_decay");
  const double norm =
      model.compare_update(1, [&](std::string_view name) { return layer_lr_scale<Model>(name, decay); });
  if (c.has("out.grad_norm")) model.output("grad_norm", norm);
}

/// A step of the probe on features of a frozen encoder, and an evaluation behind it.
template <class Model, int classes, bool global_pool, int B>
void run_mae_linprobe(const Case& c, Report& r) {
  constexpr ClassifierConfig head{.num_classes = classes,
                                  .prediction_mode = global_pool ? Pooling::mean_pooling : Pooling::cls_token,
                                  .use_fc_norm = global_pool};
  using Net = Classifier<Model, head>;
  using Parameters = typename Net::template Parameters<float>;
  Buffer<float> weights(buffer_size<Parameters>);
  for (const TensorInfo& info : tensor_table<Parameters>) {
    std::string name(info.name.view());
    if (name.starts_with("head.")) continue;
    if (name.starts_with("model.")) name = name.substr(6);
    const auto values = c.f32("params." + name, info.size);
    std::copy(values.begin(), values.end(), weights.data() + info.offset);
  }
  Buffer<float> workspace(buffer_size<typename Net::template Workspace<float, B, false>>);
  Buffer<int> indices(buffer_size<typename Net::template Index<B>>);
  const auto w = bind<typename Net::template Workspace<float, B, false>>(workspace.data());
  const auto index = bind<typename Net::template Index<B>>(indices.data());
  const auto p = bind<typename Net::template Parameters<const float>>(static_cast<const float*>(weights.data()));
  const View<const float, B, Net::M::sample_size> samples{c.f32("in.source", B * Net::M::sample_size).data()};
  Cpu cpu;
  Net::forward(Pass{cpu}, p, samples, w, index);
  const std::span<const float> features{head.use_fc_norm ? w.normed.data : w.pooled.data, B * Net::D};
  r.check(Quantity::baseline_output, "out.features", c.f32("out.features", features.size()), features);

  using Probe = LarsProbe<Net::D, classes, Cpu>;
  using Head = typename Probe::template Parameters<float>;
  Probe probe(B, 1,
              {c.number("optimizer.momentum"), c.number("optimizer.trust_coefficient"),
               c.number("optimizer.weight_decay")});
  const auto compare = [&](Quantity quantity, const std::string& prefix, std::span<const float> found) {
    for (const TensorInfo& info : tensor_table<Head>) {
      const std::string name = prefix + "head." + std::string(info.name.view());
      if (c.has(name)) r.check(quantity, name, c.f32(name, info.size), found.subspan(info.offset, info.size));
    }
  };
  for (const TensorInfo& info : tensor_table<Head>) {
    const auto values = c.f32("params.head." + std::string(info.name.view()), info.size);
    std::copy(values.begin(), values.end(), probe.weights().data() + info.offset);
  }
  const auto target = whole_numbers(c, "in.target", B);
  const ProbeStep step = probe.step(features, target, c.number("optimizer.lr"));
  r.check_value(Quantity::baseline_loss, "out.loss", c.value("out.loss", 0), step.loss);
  compare(Quantity::baseline_gradient, "grad.", probe.gradient());
  compare(Quantity::baseline_output, "after1.", probe.weights());
  std::vector<float> logits(static_cast<std::size_t>(B) * classes);
  probe.logits(features, logits);
  r.check(Quantity::baseline_output, "out.eval_logits_after1", c.f32("out.eval_logits_after1", logits.size()), logits);
}

}  // namespace data2vec::parity
