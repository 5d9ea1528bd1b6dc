// SPDX-License-Identifier: MIT
// What a classifier gets right and what it takes for what: counts by true and predicted class, and the usual scores.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// Counts of (true class, predicted class) over classes 0 .. classes - 1. Scores are from 0 to 1; one without
/// anything to count (recall of a class that does not occur, precision of one that is never predicted) is 0.
class Confusion {
 public:
  /// A class taken for another.
  struct Pair {
    int truth, predicted;
    std::int64_t count;
    friend bool operator==(const Pair&, const Pair&) = default;
  };

  /// Throws OptionError if `classes` is below 1.
  explicit Confusion(int classes) : classes_(classes) {
    if (classes < 1) throw OptionError("confusion: expected at least 1 class, found " + std::to_string(classes));
    counts_.resize(static_cast<std::size_t>(classes) * static_cast<std::size_t>(classes));
  }

  /// The counts of whole lists. Throws MismatchError if their lengths differ.
  Confusion(std::span<const int> truth, std::span<const int> predicted, int classes) : Confusion(classes) {
    if (truth.size() != predicted.size())
      throw MismatchError("confusion: expected as many predictions as labels, " + std::to_string(truth.size()) +
                          ", found " + std::to_string(predicted.size()));
    for (std::size_t i = 0; i < truth.size(); ++i) add(truth[i], predicted[i]);
  }

  /// One more sample. Throws OptionError if a class is out of range.
  void add(int truth, int predicted) {
    expect(truth, "label");
    expect(predicted, "prediction");
    ++counts_[at(truth, predicted)];
  }

  /// The samples of another one, of as many classes (else MismatchError).
  Confusion& operator+=(const Confusion& other) {
    if (other.classes_ != classes_)
      throw MismatchError("confusion: expected " + std::to_string(classes_) + " classes, found " +
                          std::to_string(other.classes_));
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    return *this;
  }

  int classes() const { return classes_; }
  std::int64_t count(int truth, int predicted) const { return counts_[at(truth, predicted)]; }
  /// Samples of class c, and samples taken for class c.
  std::int64_t support(int c) const { return sum([&](int other) { return count(c, other); }); }
  std::int64_t predicted(int c) const { return sum([&](int other) { return count(other, c); }); }
  std::int64_t correct() const { return sum([&](int c) { return count(c, c); }); }
  std::int64_t total() const { return sum([&](int c) { return support(c); }); }

  double accuracy() const { return ratio(correct(), total()); }
  double precision(int c) const { return ratio(count(c, c), predicted(c)); }
  double recall(int c) const { return ratio(count(c, c), support(c)); }
  /// The harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn).
  double f1(int c) const { return ratio(2 * count(c, c), support(c) + predicted(c)); }

  /// The mean F1 over the classes that occur as label or prediction.
  double macro_f1() const {
    double scores = 0;
    int occurring = 0;
    for (int c = 0; c < classes_; ++c) {
      scores += f1(c);
      occurring += support(c) + predicted(c) > 0;
    }
    return occurring > 0 ? scores / occurring : 0;
  }

  /// The most frequent confusions, at most `most`, by falling count, then by class.
  std::vector<Pair> top_confused(std::size_t most) const {
    std::vector<Pair> pairs;
    for (int t = 0; t < classes_; ++t)
      for (int p = 0; p < classes_; ++p)
        if (t != p && count(t, p) > 0) pairs.push_back({t, p, count(t, p)});
    std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.count > b.count; });
    pairs.resize(std::min(most, pairs.size()));
    return pairs;
  }

  /// A table in text: a row for each true class with its name and number, the counts by predicted class (for up to 20
  /// classes), precision, recall, F1 and samples; below them accuracy and macro F1. `names` may be empty; else one for
  /// each class (else MismatchError).
  std::string table(std::span<const std::string> names = {}) const {
    if (!names.empty() && names.size() != static_cast<std::size_t>(classes_))
      throw MismatchError("confusion: expected " + std::to_string(classes_) + " class names, found " +
                          std::to_string(names.size()));
    std::size_t name_width = 5;
    for (const std::string& name : names) name_width = std::max(name_width, name.size());
    const int columns = classes_ <= 20 ? classes_ : 0;
    const auto label_width = static_cast<int>(name_width + 1 + std::to_string(classes_ - 1).size());
    const std::int64_t most = counts_.empty() ? 0 : *std::max_element(counts_.begin(), counts_.end());
    const int cell = static_cast<int>(std::max(std::to_string(most).size(), std::to_string(classes_ - 1).size())) + 1;
    std::string text = padded("class", -label_width);
    for (int p = 0; p < columns; ++p) text += padded(std::to_string(p), cell);
    text += "  precision  recall      F1  samples\n";
    for (int t = 0; t < classes_; ++t) {
      const std::string number = std::to_string(t);
      const std::string name = names.empty() ? "" : names[static_cast<std::size_t>(t)];
      text += name + padded(number, label_width - static_cast<int>(name.size()));
      for (int p = 0; p < columns; ++p) text += padded(std::to_string(count(t, p)), cell);
      text += padded(fixed(precision(t)), 11) + padded(fixed(recall(t)), 8) + padded(fixed(f1(t)), 8) +
              padded(std::to_string(support(t)), 9) + "\n";
    }
    return text + "accuracy " + fixed(accuracy()) + ", macro F1 " + fixed(macro_f1()) + ", " + std::to_string(total()) +
           " samples\n";
  }

 private:
  std::size_t at(int truth, int predicted) const {
    return static_cast<std::size_t>(truth) * static_cast<std::size_t>(classes_) + static_cast<std::size_t>(predicted);
  }
  void expect(int c, const char* what) const {
    if (c < 0 || c >= classes_)
      throw OptionError(std::string("confusion: expected a ") + what + " from 0 to " + std::to_string(classes_ - 1) +
                        ", found " + std::to_string(c));
  }
  template <class F>
  std::int64_t sum(F&& of) const {
    std::int64_t result = 0;
    for (int c = 0; c < classes_; ++c) result += of(c);
    return result;
  }
  static double ratio(std::int64_t part, std::int64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
  }
  static std::string fixed(double x) {
    char text[16];
    std::snprintf(text, sizeof text, "%.4f", x);
    return text;
  }
  /// To the right of `width` places, or to the left if it is negative.
  static std::string padded(const std::string& text, int width) {
    const auto places = static_cast<std::size_t>(width < 0 ? -width : width);
    const std::string gap(text.size() < places ? places - text.size() : 0, ' ');
    return width < 0 ? text + gap : gap + text;
  }

  int classes_;
  std::vector<std::int64_t> counts_;  // (truth, predicted)
};

}  // namespace data2vec::inline v0
