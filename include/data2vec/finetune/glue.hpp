// SPDX-License-Identifier: MIT
// The eight tasks of GLUE (Wang et al., 2019) that RoBERTa and data2vec are fine-tuned on: columns of their files,
// metrics, and the settings of the reference.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/labelled.hpp>
#include <data2vec/data/table.hpp>
#include <data2vec/finetune/options.hpp>

namespace data2vec::inline v0 {

/// By what a task is judged.
enum class TaskMetric {
  accuracy,
  accuracy_and_f1,  ///< F1 of the second class
  matthews,
  correlations,     ///< Pearson's and Spearman's, of a regression
};

/// One task. Its files are tables with tabs whose quotation marks are text.
struct GlueTask {
  const char* name;
  const char *first, *second, *label;  ///< columns by name, `second` empty for single sentences; without a header:
  int first_at = 0, label_at = 0;      ///< by index
  bool header = true;
  int classes = 2;                     ///< 1: regression
  TaskMetric metric = TaskMetric::accuracy;
  double lr = 2e-5;
  int batch = 16;
  std::int64_t warmup_updates = 0, total_num_update = 0;

  bool regression() const { return classes == 1; }
  LabelledColumns columns() const {
    if (!header) return {.text = first_at, .label = label_at};
    LabelledColumns columns{.text = first, .label = label};
    if (second[0] != '\0') columns.second = second;
    return columns;
  }
  TableOptions table() const { return {.format = TableFormat::tsv, .header = header}; }
};

inline constexpr std::array<GlueTask, 8> glue_tasks{{
    {.name = "cola", .first = "", .second = "", .label = "", .first_at = 3, .label_at = 1, .header = false,
     .metric = TaskMetric::matthews, .warmup_updates = 320, .total_num_update = 5336},
    {.name = "mnli", .first = "sentence1", .second = "sentence2", .label = "gold_label", .classes = 3, .batch = 32,
     .warmup_updates = 7432, .total_num_update = 123'873},
    {.name = "mrpc", .first = "#1 String", .second = "#2 String", .label = "Quality",
     .metric = TaskMetric::accuracy_and_f1, .warmup_updates = 137, .total_num_update = 2296},
    {.name = "qnli", .first = "question", .second = "sentence", .label = "label", .batch = 32, .warmup_updates = 1986,
     .total_num_update = 33'112},
    {.name = "qqp", .first = "question1", .second = "question2", .label = "is_duplicate",
     .metric = TaskMetric::accuracy_and_f1, .batch = 32, .warmup_updates = 28'318, .total_num_update = 113'272},
    {.name = "rte", .first = "sentence1", .second = "sentence2", .label = "label", .warmup_updates = 122,
     .total_num_update = 2036},
    {.name = "sst-2", .first = "sentence", .second = "", .label = "label", .batch = 32, .warmup_updates = 1256,
     .total_num_update = 20'935},
    {.name = "sts-b", .first = "sentence1", .second = "sentence2", .label = "score", .classes = 1,
     .metric = TaskMetric::correlations, .lr = 4e-5, .warmup_updates = 214, .total_num_update = 3598},
}};

/// The task of a name. Throws OptionError with the names that there are.
inline const GlueTask& glue_task(std::string_view name) {
  std::string names;
  for (const GlueTask& task : glue_tasks) {
    if (name == task.name) return task;
    names += (names.empty() ? "" : ", ") + std::string(task.name);
  }
  throw OptionError("task: expected one of " + names + ", found '" + std::string(name) + "'");
}

/// The reference's fine-tuning on text: Adam with weight decay on everything, no clipping, a linear decay behind a
/// linear warm-up.
template <class Model>
FineTunerOptions sentence_recipe(double lr, std::int64_t warmup_updates, std::int64_t total_num_update) {
  FineTunerOptions options = FineTunerOptions::of<Model>();
  options.schedule = PolynomialSchedule{
      .lr = lr, .warmup_updates = warmup_updates, .total_num_update = total_num_update};
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.1, .clip_norm = 0,
                       .decay_scope = DecayScope::all};
  return options;
}

/// Of a task: its batch is task.batch.
template <class Model>
FineTunerOptions glue_recipe(const GlueTask& task) {
  return sentence_recipe<Model>(task.lr, task.warmup_updates, task.total_num_update);
}

}  // namespace data2vec::inline v0
