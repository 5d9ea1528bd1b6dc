// SPDX-License-Identifier: MIT
// The labelled text of --data for the example programs: WordNet's glosses, a folder of tables, or a task of GLUE.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/data/images.hpp>
#include <data2vec/data/sentences.hpp>
#include <data2vec/finetune/glue.hpp>

#include "examples/text/data.hpp"

namespace demo {

/// What says which samples.
struct LabelledOptions {
  std::string data = default_data, task, text = "sentence", second, label = "label";
  bool no_header = false, regression = false, validation = false;

  void add_to(CLI::App& app) {
    app.add_option("--data", data, "WordNet's folder, or one of train, dev and test as .tsv, .csv or .jsonl");
    auto* named = app.add_option("--task", task, "columns and metric of a task of GLUE: cola, mnli, mrpc, qnli, qqp, "
                                                 "rte, sst-2, sts-b");
    app.add_option("--text", text, "column of the sentence: a name, or a number from 0")->excludes(named);
    app.add_option("--second", second, "column of the second sentence of a pair")->excludes(named);
    app.add_option("--label", label, "column of the label")->excludes(named);
    app.add_flag("--no-header", no_header, "the first line is a sample")->excludes(named);
    app.add_flag("--regression", regression, "labels are numbers to be predicted")->excludes(named);
    app.add_flag("--validation", validation, "judge by the validation part also where there is a test part");
  }
  d2v::Json json() const {
    return {{"data", data},     {"task", task},           {"text", text},
            {"second", second}, {"label", label},         {"no_header", no_header},
            {"regression", regression}, {"validation", validation}};
  }

  std::optional<d2v::GlueTask> glue() const {
    if (task.empty()) return {};
    try {
      return d2v::glue_task(task);
    } catch (const d2v::OptionError& error) {
      throw UsageError("--" + std::string(error.what()));
    }
  }
  bool is_regression() const { return glue() ? glue()->regression() : regression; }
  d2v::LabelledColumns columns() const {
    if (const auto known = glue()) return known->columns();
    d2v::LabelledColumns columns{.text = column(text), .label = column(label)};
    if (!second.empty()) columns.second = column(second);
    return columns;
  }

 private:
  static d2v::Column column(const std::string& name) {
    const bool number = !name.empty() && name.size() < 5 && name.find_first_not_of("0123456789") == name.npos;
    return number ? d2v::Column(std::stoi(name)) : d2v::Column(name);
  }
};

/// The parts of --data. Without a validation part it is every tenth training sample; a test part without labels (as of
/// GLUE) is passed over.
inline LabelledSets open_labelled(const LabelledOptions& o) {
  namespace fs = std::filesystem;
  expect_data(o.data);
  if (is_wordnet(o.data)) return read_wordnet(o.data);
  const auto find = [&](std::initializer_list<const char*> names) {
    for (const char* name : names)
      for (const char* extension : {".tsv", ".csv", ".jsonl"})
        if (fs::exists(o.data + "/" + name + extension)) return o.data + "/" + name + extension;
    return std::string();
  };
  const d2v::TableOptions format = o.glue() ? o.glue()->table() : d2v::TableOptions{.header = !o.no_header};
  const bool regression = o.is_regression();
  const auto read = [&](const d2v::Table& table, const std::vector<std::string>& names) {
    return regression ? d2v::labelled_values(table, o.columns()) : d2v::labelled_text(table, o.columns(), names);
  };
  const std::string train = find({"train"}), dev = find({"dev", "valid", "dev_matched"}), test = find({"test"});
  if (train.empty())
    throw d2v::FileError(o.data, "expected train.tsv, train.csv or train.jsonl in this folder, or WordNet's files, "
                                 "found none");
  LabelledSets sets;
  sets.train = read(d2v::Table::open(train, format), {});
  const std::vector<std::string> names = sets.train.classes;
  if (!dev.empty()) {
    sets.dev = read(d2v::Table::open(dev, format), names);
  } else {
    const d2v::LabelledText all = std::exchange(sets.train, {});
    const auto take = [](const auto& from, auto& to, std::size_t i) {
      if (!from.empty()) to.push_back(from[i]);
    };
    for (std::size_t i = 0; i < all.size(); ++i) {
      d2v::LabelledText& set = i % 10 == 9 ? sets.dev : sets.train;
      set.text.push_back(all.text[i]);
      take(all.second, set.second, i), take(all.labels, set.labels, i), take(all.values, set.values, i);
    }
    sets.train.classes = sets.dev.classes = names;
  }
  if (!test.empty()) {
    const d2v::Table table = d2v::Table::open(test, format);
    bool labelled = true;
    try {
      table.column(o.columns().label);
    } catch (const d2v::FileError&) {
      labelled = false;
    }
    if (labelled) sets.test = read(table, names);
  }
  return sets;
}

/// The samples that are judged: of the test part, or with --validation or without one of the validation part.
inline const d2v::LabelledText& judged_part(const LabelledSets& sets, const LabelledOptions& o) {
  return o.validation || sets.test.size() == 0 ? sets.dev : sets.test;
}

/// A sample as one text: of a pair both sentences.
inline std::string whole_text(const d2v::LabelledText& text, std::size_t i) {
  return text.second.empty() ? text.text[i] : text.text[i] + "\n" + text.second[i];
}

/// The training texts in a file, one a line, for the pre-training; returns its folder.
inline std::string write_texts(const d2v::LabelledText& texts, const std::string& out) {
  std::string all;
  for (std::size_t i = 0; i < texts.size(); ++i)
    for (const auto* part : {&texts.text, &texts.second})
      if (!part->empty()) {
        for (const char c : (*part)[i]) all += c == '\n' || c == '\r' ? ' ' : c;
        all += '\n';
      }
  write_text(out + "/text/train.txt", all);
  return out + "/text";
}

/// Throws MismatchError unless the program was compiled for such labels.
inline void expect_labels(const LabelledSets& sets, const LabelledOptions& o) {
  const bool regression = o.is_regression();
  const std::size_t found = sets.train.classes.size();
  if (regression ? classes == 1 : classes > 1 && found <= static_cast<std::size_t>(classes)) return;
  throw d2v::MismatchError(o.data + ": expected " + (classes == 1 ? "numbers" : std::to_string(classes) + " labels") +
                           ", for which this program was compiled, found " +
                           (regression ? "numbers" : std::to_string(found) + " labels") +
                           ": ./run compiles the programs for --data DIR");
}

/// Samples as the model reads them.
struct Samples {
  std::vector<std::int32_t> ids;  ///< (n, T)
  std::vector<int> labels;        ///< (n) classes
  std::vector<float> values;      ///< (n) of a regression
  std::size_t count = 0;

  Samples(const d2v::LabelledText& text, const Vocabulary& vocabulary)
      : ids(text.size() * sample_size), labels(text.labels), values(text.values), count(text.size()) {
    d2v::SentenceEncoder encode(vocabulary.tokenizer, tokens);
    for (std::size_t i = 0; i < count; ++i) {
      const std::span<std::int32_t> to(&ids[i * sample_size], sample_size);
      if (text.second.empty()) encode(text.text[i], to);
      else encode(text.text[i], text.second[i], to);
    }
  }

  std::size_t size() const { return count; }
  const std::int32_t* sample(std::size_t i) const { return &ids[i * sample_size]; }
};

/// `count` of n samples (0: all), drawn at random: a function of the seed, every beginning as random.
inline std::vector<std::size_t> choose_samples(std::size_t n, std::size_t count, std::uint64_t seed) {
  d2v::EpochOrder order(static_cast<std::uint32_t>(n), seed);
  const auto drawn = order.of(0);
  std::vector<std::size_t> chosen(drawn.begin(), drawn.end());
  if (count > 0 && count < n) chosen.resize(count);
  return chosen;
}

}  // namespace demo
