// SPDX-License-Identifier: MIT
// The report of the demo on text: results from the parts, and texts as the student and the encoder see them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/core/buffer.hpp>

#include "examples/common/report.hpp"
#include "examples/text/parts.hpp"

namespace demo {

/// Hidden tokens of some texts, each with what was predicted for it: one step of the model on one text, of which
/// targets and predictions are kept. Nothing is trained.
class HiddenTokens {
 public:
  /// Buffers of Model::Parameters.
  HiddenTokens(std::span<const float> student, std::span<const float> teacher, std::uint64_t seed)
      : student_(student), teacher_(teacher), seed_(seed), gradient_(d2v::buffer_size<Model::Parameters<float>>),
        memory_(d2v::buffer_size<Branch::Workspace<float, 1>>), numbers_(d2v::buffer_size<Branch::Indices<1>>),
        moments_(static_cast<std::size_t>(Branch::moment_rows) * width) {}

  struct Token {
    int place;                               ///< in its text
    std::vector<float> target, prediction;   ///< (D)
  };

  /// The hidden tokens of text `i` under the first mask that its number draws.
  std::vector<Token> operator()(const std::int32_t* ids, std::size_t i) {
    const auto index = d2v::bind<Branch::Indices<1>>(numbers_.data());
    const int length = Words::length_of(ids);
    const auto id = static_cast<std::uint32_t>(i);
    d2v::Cpu device;
    const d2v::Pass<d2v::Cpu, true> pass{device, {seed_, 0, &id, Branch::masks}, {}};  // no dropout
    index.set_lengths(&length);
    index.draw(pass.draws);
    std::vector<float> targets, predictions;  // (T, D), (masks * R, D)
    const auto observe = [&](std::string_view name, int, const float* values, std::size_t n) {
      if (name == "targets") targets.assign(values, values + n);
      if (name == "prediction") predictions.assign(values, values + n);
    };
    const d2v::View<const std::int32_t, 1, Words::sample_size> sample{ids};
    const auto weights = [](std::span<const float> buffer) {
      return Model::weights<0>(d2v::bind<Model::Parameters<const float>>(buffer.data()));
    };
    Branch::step(pass, weights(student_), weights(teacher_),
                 Model::weights<0>(d2v::bind<Model::Parameters<float>>(gradient_.data())), sample, sample,
                 static_cast<const float*>(nullptr), 0.01, {}, 1.0,
                 d2v::bind<Branch::Workspace<float, 1>>(memory_.data()), index, moments_.data(), observe);
    std::vector<Token> hidden;
    const auto row = [](const std::vector<float>& all, int r) {
      const auto begin = all.begin() + std::ptrdiff_t{r} * Branch::D;
      return std::vector<float>(begin, begin + Branch::D);
    };
    for (int r = 0; r < index.hidden(0); ++r)
      hidden.push_back({index.masked[0][r], row(targets, index.masked[0][r]), row(predictions, r)});
    return hidden;
  }

 private:
  using Branch = Model::First;
  static constexpr auto width = static_cast<std::size_t>(Branch::D);
  std::span<const float> student_, teacher_;
  std::uint64_t seed_;
  d2v::Buffer<float> gradient_, memory_;
  d2v::Buffer<int> numbers_;
  d2v::Buffer<double> moments_;
};

/// A token of a judged text as it is read.
inline std::string piece(const DemoText& text, std::size_t i, int t) {
  const std::int32_t token = text.judged.sample(i)[t];
  const auto special = text.vocabulary.tokenizer.special();
  if (token == special.bos) return "<s>";
  if (token == special.eos) return "</s>";
  return std::string(text.vocabulary.tokenizer.piece(token));
}

/// Judged texts with hidden tokens in brackets, each behind how much of its target's variation was predicted.
inline d2v::ReportSection hidden_section(const DemoText& text, std::span<const float> student,
                                         std::span<const float> teacher, std::uint64_t seed) {
  HiddenTokens find(student, teacher, seed);
  const std::size_t count = std::min<std::size_t>(200, text.judged.size()), shown = std::min<std::size_t>(12, count);
  std::vector<std::vector<HiddenTokens::Token>> hidden;
  for (std::size_t i = 0; i < count; ++i) hidden.push_back(find(text.judged.sample(i), i));
  constexpr auto width = static_cast<std::size_t>(Model::First::D);
  std::vector<double> mean(width);
  double tokens_seen = 0;
  for (const auto& tokens_of_text : hidden)
    for (const auto& token : tokens_of_text) {
      ++tokens_seen;
      for (std::size_t c = 0; c < width; ++c) mean[c] += static_cast<double>(token.target[c]);
    }
  for (double& x : mean) x /= std::max(1.0, tokens_seen);
  double all_errors = 0, all_variation = 0;
  const auto explained = [&](const HiddenTokens::Token& token) {
    double error = 0, variation = 0;
    for (std::size_t c = 0; c < width; ++c) {
      const auto target = static_cast<double>(token.target[c]), miss = target - static_cast<double>(token.prediction[c]);
      error += miss * miss;
      variation += (target - mean[c]) * (target - mean[c]);
    }
    all_errors += error, all_variation += variation;
    return variation > 0 ? 1 - error / variation : 0.0;
  };
  d2v::ReportSection section{.title = "Hidden tokens"};
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<std::string> pieces;
    for (int t = 0; t < Words::length_of(text.judged.sample(i)); ++t) pieces.push_back(piece(text, i, t));
    for (const auto& token : hidden[i]) {
      std::string& shown_piece = pieces[static_cast<std::size_t>(token.place)];
      const bool space = shown_piece.starts_with(' ');
      shown_piece = (space ? " [" : "[") + shown_piece.substr(space ? 1 : 0) +
                    formatted("|%.0f%%]", 100 * explained(token));
    }
    if (i >= shown) continue;
    for (const std::string& one : pieces) section.text += one;
    section.text += "\n";
  }
  section.paragraph = formatted(
      "Judged texts under one mask. The student does not get the tokens in brackets and predicts what the teacher, who "
      "reads the whole text, makes of them; behind each stands how much of its target's variation was predicted. Of %zu "
      "texts together: %.1f %% (0 %%: as good as the mean of all targets).",
      count, all_variation > 0 ? 100 * (1 - all_errors / all_variation) : 0.0);
  return section;
}

/// Queries with the texts that are nearest to them, by each encoder.
inline d2v::ReportSection neighbours_section(const Parts& parts, const DemoText& text, std::uint64_t seed) {
  d2v::ReportSection section{.title = "Nearest neighbours of texts",
                             .header = {"text", "label", "by", "nearest training texts", "cosine"}};
  const auto bank = text.bank(seed), queries = text.queries();
  const auto& names = text.sets.train.classes;
  std::size_t right[std::size(feature_names)] = {}, all = 0;
  for (std::size_t q = 0; q < queries.size(); ++q)
    for (std::size_t f = std::size(feature_names); f-- > 0;) {
      const auto truth = static_cast<std::size_t>(text.judged.labels[queries[q]]);
      bool first = true;
      for (const d2v::Json& found : parts.results()[feature_names[f]]["neighbours"][q]) {
        const std::size_t at = bank[found.at(0).get<std::size_t>()];
        const auto label = static_cast<std::size_t>(text.train.labels[at]);
        right[f] += label == truth, all += f == 0;
        const std::string mark = label == truth ? "\xE2\x9C\x93 " : "\xE2\x9C\x97 ";
        section.rows.push_back({first ? whole_text(text.judged_text, queries[q]) : "", first ? names[truth] : "",
                                first ? feature_names[f] : "",
                                mark + whole_text(text.sets.train, at) + " (" + names[label] + ")",
                                formatted("%.2f", found.at(1).get<double>())});
        first = false;
      }
    }
  section.paragraph = formatted("Mean features by cosine; labels were not used in pre-training. With the same label "
                                "(\xE2\x9C\x93): %zu of %zu by the pre-trained encoder, %zu by random weights.",
                                right[1], all, right[0]);
  return section;
}

/// Accuracies of features, and of fine-tunings beside the words' baseline.
inline void add_results(d2v::RunReport& report, const Parts& parts, const DemoText& text, const DemoOptions& o,
                        std::uint64_t seed) {
  const d2v::Json& results = parts.results();
  report.class_names = text.sets.train.classes;
  report.accuracy_of = formatted("accuracy on %zu texts with %zu labelled ones", text.judged.size(),
                                 text.bank(seed).size());
  for (const char* name : feature_names) {
    const d2v::Json& r = results[name];
    report.accuracy.push_back({.name = name, .value = r["knn"]["accuracy"],
                               .note = formatted("k %d", r["knn"]["k"].get<int>()), .method = "nearest neighbours"});
    report.accuracy.push_back({.name = name, .value = r["probe"]["accuracy"],
                               .note = formatted("penalty %g", r["probe"]["penalty"].get<double>()),
                               .method = "linear probe"});
  }
  report.confusion = confusion_of(results[feature_names[1]]["confusion"]);
  if (o.seeds == 0) return;
  report.few_labels.what = "labelled texts";
  report.few_labels.methods = {starts[0], starts[1], "TF-IDF, linear classifier"};
  for (const std::size_t labels : text.counts()) {
    d2v::FewLabels::Row row{static_cast<std::int64_t>(labels), {}};
    const auto add = [&](auto&& name_of) {
      std::vector<double> scores;
      for (std::uint64_t s = seed; s < seed + static_cast<std::uint64_t>(o.seeds); ++s)
        scores.push_back(results[name_of(s)].template get<double>());
      row.scores.push_back(d2v::score_of(scores));
    };
    for (const char* start : starts) add([&](std::uint64_t s) { return tuning_name(labels, start, s); });
    add([&](std::uint64_t s) { return words_name(labels, s); });
    report.few_labels.rows.push_back(std::move(row));
  }
}

}  // namespace demo
