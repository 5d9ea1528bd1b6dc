// SPDX-License-Identifier: MIT
// The tasks of GLUE by name: their files as they are published, and the reference's settings.
#include <data2vec/finetune/glue.hpp>

#include <doctest/doctest.h>

#include <string>
#include <variant>

#include <data2vec/data2vec.hpp>

using namespace data2vec;

namespace {

inline constexpr Config config{.embed_dim = 16, .depth = 1, .num_heads = 2, .average_top_k_layers = 1};
struct Model
    : Data2Vec2<config, Branch<Text<TextConfig{.vocab_size = 30, .tokens = 8, .max_source_positions = 8,
                                               .modality = {.padding = Padding::none}}>,
                               RandomMask<8, MaskConfig{.mask_prob = 0.5}>, LinearDecoder<DecoderConfig{}>>> {};

LabelledText read(const GlueTask& task, const std::string& text) {
  const Table table = Table::from_text(text, task.table(), task.name);
  return task.regression() ? labelled_values(table, task.columns()) : labelled_text(table, task.columns());
}

}  // namespace

TEST_CASE("glue: every task's columns are those of its files") {
  const LabelledText cola = read(glue_task("cola"), "gj04\t1\t\tThey \"drank\" it.\ngj04\t0\t*\tThey drank.\n");
  CHECK(cola.text == std::vector<std::string>{"They \"drank\" it.", "They drank."});
  CHECK(cola.labels == std::vector<int>{1, 0});
  const LabelledText mrpc =
      read(glue_task("mrpc"), "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tOne.\tTwo.\n0\t9\t8\tA.\tB.\n");
  CHECK(mrpc.second == std::vector<std::string>{"Two.", "B."});
  const LabelledText sts =
      read(glue_task("sts-b"), "index\tsentence1\tsentence2\tscore\n0\tA plane.\tAn air plane.\t5.000\n1\tx\ty\t2.6\n");
  CHECK(sts.values == std::vector<float>{5.0f, 2.6f});
  CHECK(sts.labels.empty());
  const LabelledText mnli = read(glue_task("mnli"), "sentence1\tsentence2\tgold_label\na\tb\tneutral\n"
                                                    "c\td\tentailment\ne\tf\tcontradiction\n");
  CHECK(mnli.labels == std::vector<int>{2, 1, 0});
  CHECK(read(glue_task("sst-2"), "sentence\tlabel\na fine film \t1\nno \t0\n").labels == std::vector<int>{1, 0});
  CHECK(read(glue_task("qnli"), "index\tquestion\tsentence\tlabel\n0\tWhy?\tSo.\tentailment\n").second.size() == 1);
  CHECK(read(glue_task("rte"), "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n").second.size() == 1);
  CHECK(read(glue_task("qqp"), "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\ta\tb\t0\n")
            .second.size() == 1);
}

TEST_CASE("glue: settings, and a name that is none") {
  const GlueTask& task = glue_task("sts-b");
  CHECK(task.regression());
  CHECK(task.batch == 16);
  const FineTunerOptions options = glue_recipe<Model>(task);
  CHECK(learning_rate(options.schedule, 107) == doctest::Approx(2e-5));
  CHECK(learning_rate(options.schedule, 214) == doctest::Approx(4e-5));
  CHECK(learning_rate(options.schedule, 3598) == 0);
  CHECK(options.optimizer.clip_norm == 0);
  CHECK_THROWS_WITH_AS(glue_task("sst"),
                       "task: expected one of cola, mnli, mrpc, qnli, qqp, rte, sst-2, sts-b, found 'sst'",
                       OptionError);
}
