// SPDX-License-Identifier: MIT
// Labelled text for fine-tuning: sentences or pairs of a table, with a class or a number each.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/table.hpp>

namespace data2vec::inline v0 {

/// Which columns hold what.
struct LabelledColumns {
  Column text = "sentence";
  std::optional<Column> second = {};  ///< the second sentence of a pair
  Column label = "label";
};

/// Samples in the order of their rows.
struct LabelledText {
  std::vector<std::string> text, second;  ///< `second` is empty, or one for each sample
  std::vector<int> labels;                ///< numbers of `classes`; empty for regression
  std::vector<float> values;              ///< of regression; else empty
  std::vector<std::string> classes;       ///< sorted: whole numbers by value, else by bytes
  std::size_t size() const { return text.size(); }
};

namespace detail {

/// The text of two columns, and the column of labels.
inline std::size_t take_text(const Table& table, const LabelledColumns& columns, LabelledText& to) {
  const std::size_t first = table.column(columns.text), label = table.column(columns.label);
  const std::size_t second = columns.second ? table.column(*columns.second) : first;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    if (table.at(row, first).empty() || table.at(row, second).empty())
      throw FileError(table.where(row), "expected text, found an empty field");
    to.text.push_back(table.at(row, first));
    if (columns.second) to.second.push_back(table.at(row, second));
  }
  return label;
}

inline std::optional<long long> whole_number(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

/// Each label once, in order.
inline std::vector<std::string> label_set(const Table& table, std::size_t column) {
  std::vector<std::string> labels;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    if (table.at(row, column).empty()) throw FileError(table.where(row), "expected a label, found an empty field");
    labels.push_back(table.at(row, column));
  }
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  if (std::all_of(labels.begin(), labels.end(), [](const std::string& l) { return whole_number(l).has_value(); }))
    std::stable_sort(labels.begin(), labels.end(),
                     [](const std::string& a, const std::string& b) { return whole_number(a) < whole_number(b); });
  return labels;
}

}  // namespace detail

/// Samples with classes. `classes` are those of the training set; empty: this is the training set, and its labels are
/// the classes. Throws FileError with file:line for a missing column, an empty field, and a label that is no class.
inline LabelledText labelled_text(const Table& table, const LabelledColumns& columns = {},
                                  std::vector<std::string> classes = {}) {
  LabelledText samples;
  const std::size_t label = detail::take_text(table, columns, samples);
  samples.classes = classes.empty() ? detail::label_set(table, label) : std::move(classes);
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const auto place = std::find(samples.classes.begin(), samples.classes.end(), table.at(row, label));
    if (place == samples.classes.end()) {
      std::string all;
      for (const std::string& name : samples.classes) all += (all.empty() ? "" : ", ") + name;
      throw FileError(table.where(row),
                      "label: expected one of the training set (" + all + "), found '" + table.at(row, label) + "'");
    }
    samples.labels.push_back(static_cast<int>(place - samples.classes.begin()));
  }
  return samples;
}

/// Samples with a number each, for regression. Throws FileError with file:line where it is not a finite number.
inline LabelledText labelled_values(const Table& table, const LabelledColumns& columns = {}) {
  LabelledText samples;
  const std::size_t label = detail::take_text(table, columns, samples);
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const std::string& field = table.at(row, label);
    float value = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size() || !std::isfinite(value))
      throw FileError(table.where(row), "label: expected a finite number, found '" + field + "'");
    samples.values.push_back(value);
  }
  return samples;
}

}  // namespace data2vec::inline v0
