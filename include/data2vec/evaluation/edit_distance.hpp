// SPDX-License-Identifier: MIT
// Word and letter error rates: the fewest substitutions, deletions and insertions from a reference to what was
// recognised (Levenshtein, 1966), as counts and as an alignment to read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/data/characters.hpp>

namespace data2vec::inline v0 {

enum class Edit { match, substitution, deletion, insertion };

/// One step of an alignment: positions in the reference and the hypothesis; -1 where the step has none.
struct EditStep {
  Edit edit = Edit::match;
  int reference = -1, hypothesis = -1;
  friend bool operator==(const EditStep&, const EditStep&) = default;
};

/// Counts of edits.
struct EditCounts {
  std::int64_t substitutions = 0, deletions = 0, insertions = 0;
  std::int64_t reference = 0;  ///< length of the references

  std::int64_t edits() const { return substitutions + deletions + insertions; }
  /// Edits per unit of the reference: 0 without any edit, above 1 where more is inserted than there was. Without a
  /// reference, the edits themselves.
  double rate() const {
    return static_cast<double>(edits()) / static_cast<double>(std::max<std::int64_t>(reference, 1));
  }
  EditCounts& operator+=(const EditCounts& other) {
    substitutions += other.substitutions, deletions += other.deletions, insertions += other.insertions;
    reference += other.reference;
    return *this;
  }
  friend bool operator==(const EditCounts&, const EditCounts&) = default;
};

/// An alignment of the fewest edits, and among those one of the fewest substitutions: what can be matched is matched.
template <class Unit>
std::vector<EditStep> align(std::span<const Unit> reference, std::span<const Unit> hypothesis) {
  constexpr std::int64_t edit = std::int64_t{1} << 32, substitution = edit + 1;  // substitutions decide among equals
  const std::size_t rows = reference.size() + 1, columns = hypothesis.size() + 1;
  std::vector<std::int64_t> cost(rows * columns);  // (rows, columns): of the first i and j units
  const auto paired = [&](std::size_t i, std::size_t j) {
    return cost[(i - 1) * columns + j - 1] + (reference[i - 1] == hypothesis[j - 1] ? 0 : substitution);
  };
  const auto deleted = [&](std::size_t i, std::size_t j) { return cost[(i - 1) * columns + j] + edit; };
  const auto inserted = [&](std::size_t i, std::size_t j) { return cost[i * columns + j - 1] + edit; };
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j)
      cost[i * columns + j] = i == 0 || j == 0 ? static_cast<std::int64_t>(i + j) * edit
                                               : std::min({paired(i, j), deleted(i, j), inserted(i, j)});
  std::vector<EditStep> steps;
  for (std::size_t i = rows - 1, j = columns - 1; i > 0 || j > 0;) {
    const std::int64_t here = cost[i * columns + j];
    if (i > 0 && j > 0 && here == paired(i, j)) {
      --i, --j;
      const Edit kind = reference[i] == hypothesis[j] ? Edit::match : Edit::substitution;
      steps.push_back({kind, static_cast<int>(i), static_cast<int>(j)});
    } else if (i > 0 && here == deleted(i, j)) {
      steps.push_back({Edit::deletion, static_cast<int>(--i), -1});
    } else {
      steps.push_back({Edit::insertion, -1, static_cast<int>(--j)});
    }
  }
  std::reverse(steps.begin(), steps.end());
  return steps;
}

inline EditCounts count_edits(std::span<const EditStep> steps) {
  EditCounts counts;
  for (const EditStep& step : steps) {
    counts.substitutions += step.edit == Edit::substitution;
    counts.deletions += step.edit == Edit::deletion;
    counts.insertions += step.edit == Edit::insertion;
    counts.reference += step.edit != Edit::insertion;
  }
  return counts;
}

/// Words of a reference and a hypothesis under each other, `*` where one has none, the edits (S, D, I) below.
inline std::string aligned_text(std::string_view reference, std::string_view hypothesis) {
  const std::vector<std::string_view> ref = split_words(reference), hyp = split_words(hypothesis);
  std::string lines[3] = {"REF:", "HYP:", "    "};
  for (const EditStep& step : align<std::string_view>(ref, hyp)) {
    const std::string_view r = step.reference < 0 ? "" : ref[static_cast<std::size_t>(step.reference)];
    const std::string_view h = step.hypothesis < 0 ? "" : hyp[static_cast<std::size_t>(step.hypothesis)];
    const std::size_t r_width = split_characters(r).size(), h_width = split_characters(h).size(),
                      width = std::max(r_width, h_width);
    lines[0] += " " + (r.empty() ? std::string(width, '*') : std::string(r) + std::string(width - r_width, ' '));
    lines[1] += " " + (h.empty() ? std::string(width, '*') : std::string(h) + std::string(width - h_width, ' '));
    lines[2] += std::string(" ") + " SDI"[static_cast<std::size_t>(step.edit)] + std::string(width - 1, ' ');
  }
  std::string text;
  for (std::string& line : lines) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += line + "\n";
  }
  return text;
}

/// Error rates over utterances, with the worst of them to look at.
class ErrorRates {
 public:
  struct Example {
    std::string name, reference, hypothesis;
    EditCounts words, letters;
  };

  /// Keeps the `most` utterances with the most wrong letters.
  explicit ErrorRates(std::size_t most = 5) : most_(most) {}

  /// One utterance. Letters are characters of UTF-8; a single blank between two words counts as one.
  void add(const std::string& name, const std::string& reference, const std::string& hypothesis) {
    Example example{name, single_blanks(reference), single_blanks(hypothesis), {}, {}};
    const auto ref = split_words(example.reference), hyp = split_words(example.hypothesis);
    const auto ref_letters = split_characters(example.reference), hyp_letters = split_characters(example.hypothesis);
    example.words = count_edits(align<std::string_view>(ref, hyp));
    example.letters = count_edits(align<std::string_view>(ref_letters, hyp_letters));
    words_ += example.words, letters_ += example.letters;
    ++utterances_, exact_ += example.letters.edits() == 0;
    const auto before = std::find_if(examples_.begin(), examples_.end(), [&](const Example& other) {
      return other.letters.edits() < example.letters.edits();
    });
    examples_.insert(before, std::move(example));
    if (examples_.size() > most_) examples_.pop_back();
  }

  const EditCounts& words() const { return words_; }
  const EditCounts& letters() const { return letters_; }
  double wer() const { return words_.rate(); }
  double cer() const { return letters_.rate(); }
  std::int64_t utterances() const { return utterances_; }
  std::int64_t exact() const { return exact_; }  ///< without any error
  const std::vector<Example>& worst() const { return examples_; }

 private:
  std::size_t most_;
  EditCounts words_, letters_;
  std::int64_t utterances_ = 0, exact_ = 0;
  std::vector<Example> examples_;
};

}  // namespace data2vec::inline v0
