// SPDX-License-Identifier: MIT
// Cases of data2vec 1.0: a step of any sense, its gradients, the update and the teacher that follow.
#pragma once

#include <array>

#include <data2vec/objective/data2vec1.hpp>

#include "baseline.hpp"

namespace data2vec::parity {

/// A policy whose hidden positions come from the case, up to `most_` in a sample.
template <int tokens_, int most_>
struct GivenPositions {
  static constexpr int tokens = tokens_, most = most_;
  static int sample(Rng&, Mask<tokens>&) { return 0; }
  static int sample(Rng&, int, const TokenIds&, const std::int32_t*, TokenAction*, std::int32_t*, int*) { return 0; }
};

/// Runs a case of B samples. `cut` is what names of the case's teacher lack.
template <class Model, int B>
class Data2Vec1Case {
 public:
  using Step = typename Model::First;
  using Parameters = typename Model::template Parameters<float>;
  static constexpr int T_ = Step::T_, E = Step::E, D = Step::D, S = Step::S;
  static constexpr bool vision = Step::vision, text = Step::text, speech = !vision && !text, beit = Model::beit;

  Data2Vec1Case(const Case& c, Report& r)
      : case_(c), report_(r), model_(c, r, {"encoder.sentence_encoder.version"}) {}

  void run() {
    load_teacher();
    const auto index = bind<typename Step::template Indices<B>>(indices_.data());
    int lengths[B];
    const int count = fill(index, lengths);
    const auto w = bind<typename Step::template Workspace<float, B>>(workspace_.data());
    const auto read = [](const Buffer<float>& from) {
      return Model::template weights<0>(bind<typename Model::template Parameters<const float>>(from.data()));
    };
    const std::array<std::uint32_t, B> ids{};
    typename Step::template Samples<float, B> samples{};
    if constexpr (!text) samples = {case_.f32("in.source", B * Step::M::sample_size).data()};
    Cpu cpu;
    const double divisor = beit ? count : 1;  // BEiT's loss is a mean
    const RegressionSums sums = Step::step(
        Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}}, read(model_.weights), read(teacher_),
        Model::template weights<0>(bind<Parameters>(model_.gradient.data())), samples, samples, count, 1, divisor, w,
        index, moments_.data(), Step::padded ? lengths : nullptr,
        [&](const std::string& name, int i, const float* x, std::size_t n) { observed(name, i, {x, n}, index, count); });
    model_.output("loss", sums.total() / divisor);
    if (case_.has("out.sample_size")) model_.exact("sample_size", count);
    if (case_.has("out.pred_var")) model_.output("pred_var", mean_deviation(&moments_[0], &moments_[D], D, count));
    if (case_.has("out.target_var"))
      model_.output("target_var", mean_deviation(&moments_[2 * D], &moments_[3 * D], D, count));
    model_.compare_gradients();
    const double norm = model_.compare_update(beit ? 1 : count);
    if (case_.has("out.grad_norm")) model_.output("grad_norm", norm);
    follow(cpu);
  }

 private:
  static std::string cut() {
    return beit ? "" : text ? "encoder.sentence_encoder." : "encoder.";
  }

  void load_teacher() {
    std::copy(model_.weights.begin(), model_.weights.end(), teacher_.begin());
    for (const TensorInfo& info : tensor_table<Parameters>) {
      if (!Model::in_teacher(info.name.view())) continue;
      const auto values = case_.f32("teacher." + std::string(info.name.view().substr(cut().size())), info.size);
      std::copy(values.begin(), values.end(), teacher_.data() + info.offset);
    }
  }

  /// Hidden positions, lengths and, of text, tokens of the case; returns how many positions are hidden.
  int fill(const typename Step::template Indices<B>& index, int* lengths) {
    if constexpr (text) {
      const auto seen = whole_numbers(case_, "in.src_tokens", B * T_);
      const auto original = whole_numbers(case_, "in.target_tokens", B * T_);
      std::copy(seen.begin(), seen.end(), index.seen.data);
      std::copy(original.begin(), original.end(), index.original.data);
      for (int b = 0; b < B; ++b) lengths[b] = Step::M::length_of(seen.data() + b * T_);
      index.set_lengths(lengths);
      int count = 0;
      for (int i = 0; i < B * T_; ++i)
        if (seen[static_cast<std::size_t>(i)] == Step::M::vocab_size - 1) index.hide(count++, i / T_, i % T_);
      return count;
    } else {
      for (int b = 0; b < B; ++b) lengths[b] = Step::M::sample_size;
      if constexpr (Step::padded) {
        const auto padding = case_.u8("in.padding_mask");
        for (int b = 0; b < B; ++b) {
          const auto row = padding.subspan(static_cast<std::size_t>(b) * Step::M::sample_size, Step::M::sample_size);
          lengths[b] = static_cast<int>(std::count(row.begin(), row.end(), std::uint8_t{0}));
          report_.expect(std::is_sorted(row.begin(), row.end()), "in.padding_mask: padding stands at the end");
        }
      }
      index.set_lengths(lengths);
      const std::string name = vision ? "in.mask" : "in.mask_indices";
      int count = 0;
      for (int i = 0; i < B * T_; ++i)
        if (case_.value(name, static_cast<std::size_t>(i)) != 0) index.hide(count++, i / T_, i % T_);
      return count;
    }
  }

  /// Intermediate values under the names of the fixtures.
  void observed(const std::string& name, int i, std::span<const float> x, const auto& index, int count) {
    const std::string number = "." + std::to_string(i);
    if (name == "targets") {
      std::vector<float> hidden;
      for (int k = 0; k < count; ++k) hidden.insert(hidden.end(), x.begin() + index.hidden[k] * D, x.begin() + (index.hidden[k] + 1) * D);
      model_.output("target", hidden);
    } else if (name == "local") {
      compare(vision ? "patch_embed" : "features_proj", x);
    } else if (name == "layer") {
      compare((vision ? "block" : "layer") + number, x);
    } else if (name == "layer_ffn") {
      compare(name + number, x);
    } else if (name == "teacher_layer") {
      const int first = speech ? Model::config.depth - Model::config.average_top_k_layers : 0;
      if (i < first) return;
      const std::string key = (vision ? "teacher_layer." : "teacher_ffn.") + std::to_string(i - first);
      compare(key, vision ? without_extra(x) : std::vector<float>(x.begin(), x.end()));
    } else if (name == "encoder") {
      const bool extra = case_.has("out.encoder") && case_.f32("out.encoder").size() == x.size();
      compare("encoder", extra ? std::vector<float>(x.begin(), x.end()) : without_extra(x));
    } else {
      compare(name, x);
    }
  }
  void compare(const std::string& key, std::span<const float> found) {
    if (case_.has("out." + key)) model_.output(key, found);
  }
  static std::vector<float> without_extra(std::span<const float> x) {
    std::vector<float> tokens;
    for (int b = 0; b < B; ++b) tokens.insert(tokens.end(), x.begin() + (b * S + E) * D, x.begin() + (b + 1) * S * D);
    return tokens;
  }

  /// The teacher's step behind the update.
  void follow(Cpu& cpu) {
    const auto updates = static_cast<std::int64_t>(case_.number_or("num_updates", 0)) + 1;
    const double decay =
        case_.has_number("ema_decay_now")
            ? case_.number("ema_decay_now")
            : ema_decay({case_.number("model.ema_decay"), case_.number("model.ema_end_decay"),
                         static_cast<std::int64_t>(case_.number("model.ema_anneal_end_step"))}, updates);
    if (case_.has("out.ema_decay")) model_.output("ema_decay", decay);
    for (const TensorInfo& info : tensor_table<Parameters>) {
      if (!Model::in_teacher(info.name.view())) continue;
      follow_tensor(cpu, info, decay, static_cast<const float*>(model_.weights.data()), teacher_.data(), 0, info.size,
                    Model::teacher_copies(info.name.view()));
      const std::string name = "teacher_after1." + std::string(info.name.view().substr(cut().size()));
      // Copies are the student's: where that is compared by the length of its step, so are they.
      if (!case_.has(name) || Model::teacher_copies(info.name.view())) continue;
      report_.check(Quantity::baseline_output, name, case_.f32(name, info.size),
                    {teacher_.data() + info.offset, info.size});
    }
  }

  const Case& case_;
  Report& report_;
  BaselineCase<Parameters> model_;
  Buffer<float> teacher_{buffer_size<Parameters>};
  Buffer<float> workspace_{buffer_size<typename Step::template Workspace<float, B>>};
  Buffer<int> indices_{buffer_size<typename Step::template Indices<B>>};
  Buffer<double> moments_{Step::moment_rows * D};
};

template <class Model, int B>
void run_data2vec1(const Case& c, Report& r) {
  Data2Vec1Case<Model, B>(c, r).run();
}

}  // namespace data2vec::parity
