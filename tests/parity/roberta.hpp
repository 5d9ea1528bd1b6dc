// SPDX-License-Identifier: MIT
// Cases of RoBERTa: a step of masked language modelling, and of the classification of sentences.
#pragma once

#include <data2vec/finetune/classifier.hpp>
#include <data2vec/objective/roberta.hpp>

#include "baseline.hpp"

namespace data2vec::parity {

/// Corrupted tokens that come from the case; `most_` of a row are predicted at most.
template <int tokens_, int most_>
struct GivenTokens {
  static constexpr int tokens = tokens_, most = most_;
  static constexpr TokenMaskConfig config{};
};

/// Token ids of a case, and how many of each row are no padding.
template <int B, int T_>
struct CaseTokens {
  std::int32_t ids[B * T_];
  int lengths[B];
  CaseTokens(const Case& c, const std::string& name, std::int32_t pad) {
    for (int b = 0; b < B; ++b) {
      lengths[b] = 0;
      for (int t = 0; t < T_; ++t) {
        const int at = b * T_ + t;
        ids[at] = static_cast<std::int32_t>(c.value(name, static_cast<std::size_t>(at)));
        if (ids[at] != pad) lengths[b] = t + 1;
      }
    }
  }
};

template <class Model, int B>
void run_roberta(const Case& c, Report& r) {
  using Step = typename Model::First;
  constexpr int T_ = Step::T_, pad = Step::M::text.pad;
  BaselineCase<typename Model::template Parameters<float>> all(
      c, r, {"encoder.lm_head.weight", "encoder.sentence_encoder.version"});
  const auto p = Model::template weights<0>(
      bind<typename Model::template Parameters<const float>>(static_cast<const float*>(all.weights.data())));
  const auto gradient =
      Model::template weights<0>(bind<typename Model::template Parameters<float>>(all.gradient.data()));
  Buffer<float> workspace(buffer_size<typename Step::template Workspace<float, B>>);
  Buffer<int> indices(buffer_size<typename Step::template Indices<B>>);
  const auto w = bind<typename Step::template Workspace<float, B>>(workspace.data());
  const auto index = bind<typename Step::template Indices<B>>(indices.data());
  const CaseTokens<B, T_> seen(c, "in.src_tokens", pad), target(c, "in.target", pad);
  std::copy_n(seen.ids, B * T_, index.seen.data);
  int count = 0;
  for (int at = 0; at < B * T_; ++at)
    if (target.ids[at] != pad) {
      index.rows[count] = at;
      index.labels[count++] = target.ids[at];
    }
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  const auto sums = Step::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}}, p, gradient, count, 1, w, index,
                               Step::padded ? seen.lengths : nullptr,
                               [&](const std::string& name, int i, const float* values, std::size_t size) {
                                 const std::string key = name == "layer" ? "layer." + std::to_string(i) : name;
                                 if (name != "embedding" || c.has("out.embedding")) all.output(key, {values, size});
                               });
  all.output("loss", sums.loss);
  all.output("loss_base2_mean", sums.loss / sums.sample_size / std::log(2.0));
  all.exact("sample_size", sums.sample_size);
  all.compare_gradients();
  all.output("grad_norm", all.compare_update(sums.sample_size));
}

/// Classification, or regression of one number, of the first token.
template <class Model, int num_classes, bool regression, int B>
void run_roberta_sentences(const Case& c, Report& r) {
  using Net = Classifier<Model, regression ? ClassifierConfig::sentence_regression()
                                           : ClassifierConfig::sentence(num_classes)>;
  constexpr int T_ = Net::T_;
  BaselineCase<typename Net::template Parameters<float>> all(
      c, r,
      {"encoder.sentence_encoder.version", "encoder.lm_head.weight", "encoder.lm_head.bias",
       "encoder.lm_head.dense.weight", "encoder.lm_head.dense.bias", "encoder.lm_head.layer_norm.weight",
       "encoder.lm_head.layer_norm.bias"});
  const auto p = bind<typename Net::template Parameters<const float>>(static_cast<const float*>(all.weights.data()));
  Buffer<float> workspace(buffer_size<typename Net::template Workspace<float, B>>);
  Buffer<int> indices(buffer_size<typename Net::template Index<B>>);
  const auto w = bind<typename Net::template Workspace<float, B>>(workspace.data());
  const auto index = bind<typename Net::template Index<B>>(indices.data());
  const CaseTokens<B, T_> tokens(c, "in.src_tokens", Net::M::text.pad);
  const View<const std::int32_t, B, T_> samples{tokens.ids};
  const int* const lengths = Net::padded ? tokens.lengths : nullptr;
  std::int32_t hard[B];
  typename Net::template Labels<float> labels;
  if constexpr (regression) {
    labels.values = c.f32("in.target_float", B).data();
  } else {
    for (std::size_t b = 0; b < B; ++b) hard[b] = static_cast<std::int32_t>(c.value("in.target", b));
    labels.hard = hard;
  }
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  const auto sums = Net::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}}, p,
                              bind<typename Net::template Parameters<float>>(all.gradient.data()), samples, labels, 1,
                              w, index, static_cast<float*>(nullptr), lengths);
  all.output("logits", {w.logits.data, w.logits.size});
  all.output("loss", sums.loss);
  all.exact("sample_size", B);
  const auto encoded = Net::forward(Pass{cpu}, p, samples, w, index, lengths);
  all.output("encoder", {encoded.data, encoded.size});
  all.compare_gradients();
  all.output("grad_norm", all.compare_update(B));
}

}  // namespace data2vec::parity
