// SPDX-License-Identifier: MIT
// Cases of wav2vec 2.0: a step of pre-training, and of fine-tuning to letters.
#pragma once

#include <data2vec/finetune/recogniser.hpp>
#include <data2vec/objective/wav2vec2.hpp>

#include "baseline.hpp"
#include "device_step.hpp"
#include "given_mask.hpp"

namespace data2vec::parity {

/// Waveforms of a case, and how many of their numbers are no padding.
template <class M, int B>
struct CaseWaveforms {
  View<const float, B, M::sample_size> samples;
  int lengths[B];
  CaseWaveforms(const Case& c, Report& r) : samples{c.f32("in.source", B * M::sample_size).data()} {
    std::fill(lengths, lengths + B, M::sample_size);
    if (!c.has("in.padding_mask")) return;
    const auto mask = c.u8("in.padding_mask");
    for (int b = 0; b < B; ++b) {
      const auto* row = mask.data() + b * M::sample_size;
      lengths[b] = static_cast<int>(std::find(row, row + M::sample_size, 1) - row);
      r.expect(std::all_of(row + lengths[b], row + M::sample_size, [](std::uint8_t m) { return m == 1; }),
               "in.padding_mask: padding stands at the end");
    }
    const auto frames = c.u8("out.padding_mask");
    for (int i = 0; i < B * M::tokens; ++i)
      r.expect((frames[static_cast<std::size_t>(i)] != 0) == (i % M::tokens >= M::valid_tokens(lengths[i / M::tokens])),
               "out.padding_mask: frames behind the valid ones");
  }
};

/// Compares what a step shows with the case; of projected frames those that are no padding.
template <class M, int B, class All>
void compare_observed(const Case& c, All& all, const int* lengths, const std::string& name, int i, const float* values,
                      std::size_t size) {
  if (name == "conv_features") {  // the reference has (B, C, T)
    std::vector<float> turned(size);
    const std::size_t width = size / (B * M::tokens);
    for (std::size_t b = 0; b < B; ++b)
      for (std::size_t t = 0; t < M::tokens; ++t)
        for (std::size_t k = 0; k < width; ++k)
          turned[(b * width + k) * M::tokens + t] = values[(b * M::tokens + t) * width + k];
    return all.output(name, turned);
  }
  if (name == "features_proj") {
    if (!c.has("out.features_proj")) return;
    const auto expected = c.f32("out.features_proj", size);
    std::vector<float> own(values, values + size);
    const std::size_t width = size / (B * M::tokens);
    for (std::size_t at = 0; at < B * M::tokens; ++at)
      if (static_cast<int>(at % M::tokens) >= M::valid_tokens(lengths[at / M::tokens]))
        std::copy_n(expected.begin() + static_cast<std::ptrdiff_t>(at * width), width,
                    own.begin() + static_cast<std::ptrdiff_t>(at * width));
    return all.output(name, own);
  }
  all.output(name.starts_with("layer") ? name + "." + std::to_string(i) : name, {values, size});
}

template <class Model, int B, Where where = Where::cpu>
void run_wav2vec2(const Case& c, Report& r) {
  using Step = typename Model::First;
  using M = typename Step::M;
  constexpr int T_ = Step::T_, R = Step::R, G = Step::groups;
  constexpr auto shape = Step::codebooks;
  BaselineCase<typename Model::template Parameters<float>> all(c, r);
  const auto p = Model::template weights<0>(
      bind<typename Model::template Parameters<const float>>(static_cast<const float*>(all.weights.data())));
  const auto gradient =
      Model::template weights<0>(bind<typename Model::template Parameters<float>>(all.gradient.data()));
  Buffer<float> workspace(buffer_size<typename Step::template Workspace<float, B>>);
  Buffer<int> indices(buffer_size<typename Step::template Indices<B>>);
  const auto w = bind<typename Step::template Workspace<float, B>>(workspace.data());
  const auto index = bind<typename Step::template Indices<B>>(indices.data());
  const CaseWaveforms<M, B> waveforms(c, r);
  const auto hidden = c.u8("in.mask_indices");
  for (int b = 0; b < B; ++b) {
    bool row[T_];
    for (int t = 0; t < T_; ++t) row[t] = hidden[static_cast<std::size_t>(b * T_ + t)] != 0;
    index.hide(b, row);
  }
  const int n = index.count();
  r.expect(n == B * R, "in.mask_indices: as many hidden frames in each row");
  const int within = Step::K - static_cast<int>(c.number("model.codebook_negatives"));
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < within; ++j)
      index.negatives[i][j] = static_cast<int>(c.value("in.neg_idxs", static_cast<std::size_t>(i * within + j)));
  for (int e = 0; e < n * (Step::K - within); ++e) {
    auto combination = static_cast<std::int64_t>(c.value("in.codebook_sample_idx", static_cast<std::size_t>(e)));
    for (int g = G; g-- > 0; combination /= shape.entries)
      index.codes[n + e][g] = static_cast<int>(combination % shape.entries);
  }
  index.add_random_negatives();
  const auto noise = c.f32("in.gumbel_noise", static_cast<std::size_t>(n) * shape.codes());
  std::copy(noise.begin(), noise.end(), w.noise.data);

  const ContrastOptions options{.logit_temp = c.number("model.logit_temp"),
                                .diversity_weight = c.number("loss_weights.0"),
                                .features_pen_weight = c.number("loss_weights.1")};
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  double squares = 0, frames = 0;
  const auto observe = [&](const std::string& name, int i, const float* values, std::size_t size) {
    if (name == "conv_features") {
      frames = static_cast<double>(size);
      for (std::size_t k = 0; k < size; ++k) squares += std::pow(static_cast<double>(values[k]), 2);
    }
    compare_observed<M, B>(c, all, waveforms.lengths, name, i, values, size);
  };
  Wav2Vec2Sums sums;
  if constexpr (where != Where::cpu) {
    double terms[Step::loss_terms];
    index.complete(nullptr, c.number("temperature"));
    device_step(0, {.weights = all.weights.data(),
                    .gradient = all.gradient.data(),
                    .samples = waveforms.samples.data,
                    .targets = waveforms.samples.data,
                    .noise = w.noise.data,
                    .contrast = options,
                    .sample_size = 1,
                    .indices = indices.data(),
                    .terms = terms,
                    .observe = observe});
    sums = Step::template sums_of<B>(terms, {.contrast = options}, n, 0);
  } else {
    sums = Step::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}}, p, gradient, waveforms.samples, options,
                      c.number("temperature"), 1, w, index, Step::padded ? waveforms.lengths : nullptr, observe);
    const auto& positions = w.encoder.relative_positions.positions.pass.state;
    all.output("pos_conv", {positions.data, positions.size});
  }
  if constexpr (where == Where::device_in_bfloat16)
    return compare_in_bfloat16<typename Model::template Parameters<float>>(c, r, "out.loss", sums.total(), "grad.",
                                                                           all.gradient.data());
  std::vector<float> codes, same;
  for (int i = 0; i < n * G; ++i) codes.push_back(static_cast<float>(index.codes.data[i]));
  for (int i = 0; i < n * Step::K; ++i) same.push_back(index.candidates.data[i] < 0 ? 1 : 0);
  for (std::size_t i = 0; i < codes.size(); ++i)
    r.expect(c.value("out.code_indices", i) == static_cast<double>(codes[i]), "out.code_indices: the same codes");
  for (std::size_t i = 0; i < same.size(); ++i)
    r.expect(c.value("out.neg_is_pos", i) == static_cast<double>(same[i]), "out.neg_is_pos: the same negatives");
  all.output("loss", sums.total());
  all.output("loss_contrastive", sums.contrastive);
  all.output("loss_diversity", sums.diversity);
  all.output("loss_features_pen", sums.features_pen);
  all.output("features_pen", squares / frames);
  all.output("code_perplexity", sums.code_perplexity / n);
  all.output("prob_perplexity", sums.prob_perplexity / n);
  all.exact("sample_size", sums.sample_size);
  all.exact("count", n);
  all.exact("correct", sums.correct);
  all.compare_gradients();
  all.output("grad_norm", all.compare_update(sums.sample_size));
}

template <class Model, int B>
void run_wav2vec2_on_device(const Case& c, Report& r) {
  run_wav2vec2<Model, B, Where::device>(c, r);
}
template <class Model, int B>
void run_wav2vec2_in_bfloat16(const Case& c, Report& r) {
  run_wav2vec2<Model, B, Where::device_in_bfloat16>(c, r);
}

template <class Model, int symbols, int B>
void run_wav2vec2_ctc(const Case& c, Report& r) {
  using Net = Recogniser<Model, symbols>;
  using M = typename Net::M;
  constexpr int T_ = Net::T_, D = Net::D;
  BaselineCase<typename Net::template Parameters<float>> all(c, r);
  const auto p = bind<typename Net::template Parameters<const float>>(static_cast<const float*>(all.weights.data()));
  Buffer<float> workspace(buffer_size<typename Net::template Workspace<float, B>>);
  Buffer<int> indices(buffer_size<typename Net::template Index<B>>);
  const auto w = bind<typename Net::template Workspace<float, B>>(workspace.data());
  const auto index = bind<typename Net::template Index<B>>(indices.data());
  const CaseWaveforms<M, B> waveforms(c, r);
  index.masks.clear();
  for (const auto& [name, to, count] : {std::tuple{"in.mask_indices", index.masks.frames.data, B * T_},
                                        std::tuple{"in.mask_channel_indices", index.masks.channels.data, B * D}})
    for (int i = 0; c.has(name) && i < count; ++i) to[i] = c.value(name, static_cast<std::size_t>(i)) != 0;
  const int most = static_cast<int>(c.shape("in.target")[1]);
  CtcBatch targets(B, T_, most);
  for (int b = 0; b < B; ++b) {
    std::vector<std::int32_t> labels;
    for (int i = 0; i < static_cast<int>(c.value("in.target_lengths", static_cast<std::size_t>(b))); ++i)
      labels.push_back(static_cast<std::int32_t>(c.value("in.target", static_cast<std::size_t>(b * most + i))));
    targets.set(b, labels, M::valid_tokens(waveforms.lengths[b]));
  }
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  const Pass<Cpu, true> pass{cpu, {.sample_ids = ids.data()}};
  const int* const lengths = Net::padded ? waveforms.lengths : nullptr;
  const CtcSums sums = Net::step(pass, p, bind<typename Net::template Parameters<float>>(all.gradient.data()),
                                 waveforms.samples, B, targets, 1, w, index, {}, lengths);
  const auto encoded = Net::forward(pass, p, waveforms.samples, w, index, {}, lengths);
  all.output("encoder", {encoded.data, encoded.size});
  // Behind the valid frames the reference sets all logits but the blank's to -infinity; here they have no part.
  std::vector<float> logits, log_probs, theirs, their_logs;
  for (int at = 0; at < B * T_; ++at) {
    if (at % T_ >= M::valid_tokens(waveforms.lengths[at / T_])) continue;
    const float* const own = w.logits.data + at * symbols;
    double sum = 0;
    for (int s = 0; s < symbols; ++s) sum += std::exp(static_cast<double>(own[s]));
    for (int s = 0; s < symbols; ++s) {
      logits.push_back(own[s]);
      log_probs.push_back(static_cast<float>(static_cast<double>(own[s]) - std::log(sum)));
      theirs.push_back(c.f32("out.logits")[static_cast<std::size_t>(at * symbols + s)]);
      their_logs.push_back(c.f32("out.log_probs")[static_cast<std::size_t>(at * symbols + s)]);
    }
  }
  r.check(Quantity::baseline_output, "out.logits", theirs, logits);
  r.check(Quantity::baseline_output, "out.log_probs", their_logs, log_probs);
  const double n = c.flag("sentence_avg") ? B : static_cast<double>(targets.labels());
  all.output("loss", sums.loss);
  all.exact("sample_size", n);
  all.compare_gradients();
  all.output("grad_norm", all.compare_update(n));
}

}  // namespace data2vec::parity
