// SPDX-License-Identifier: MIT
// data2vec 2.0 on real English text, from scratch, in minutes on two cores: learns a vocabulary, pre-trains on the
// training texts without their labels, then says what the encoder is worth: nearest neighbours and a linear probe beside
// the same encoder at random initialisation, and fine-tuning with 1 % and 10 % of the labels beside training from
// scratch and a linear classifier on weighted counts of words. Writes a report. Stopped at any moment, it goes on.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/report.hpp>

#include "examples/common/demo.hpp"
#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/text/data.hpp"
#include "examples/text/model.hpp"
#include "examples/text/report.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::SizeOptions size;
  demo::LabelledOptions data;
  demo::CorpusOptions corpus;
  demo::PretrainOptions training{.out = "out/demo-text", .minutes = 5, .lr = demo::learning_rate,
                                 .batch = demo::batch_size};
  demo::DemoOptions demo;
  std::string commit;

  d2v::Json json() const {
    d2v::Json all = training.json();
    all.update(demo.json());
    all.update({{"text", data.text}, {"label", data.label}, {"task", data.task}, {"validation", data.validation}});
    return all;
  }
  void take(const d2v::Json& kept) {
    training.take(kept), demo.take(kept);
    data.text = kept["text"], data.label = kept["label"], data.task = kept["task"];
    data.validation = kept["validation"];
  }

  /// What repeats the run.
  std::string command() const {
    std::string text = "./run demo text --updates " + std::to_string(training.updates);
    if (data.data != demo::default_data) text += " --data " + data.data;
    if (!data.task.empty()) text += " --task " + data.task;
    if (training.batch != demo::batch_size) text += " --batch " + std::to_string(training.batch);
    if (training.lr != demo::learning_rate) text += demo::formatted(" --lr %g", training.lr);
    if (data.validation) text += " --validation";
    return text + " --seeds " + std::to_string(demo.seeds) + " --tuning-updates " +
           std::to_string(demo.tuning_updates) + " --seed " + std::to_string(training.seed);
  }
};

void report(const Options& o, const demo::Parts& parts, const demo::DemoText& text, const demo::Corpus& corpus,
            const demo::Pretrained& trained) {
  d2v::RunReport report;
  report.title = "data2vec 2.0 on " + std::to_string(text.train.size()) + " texts";
  report.command = o.command();
  demo::describe_machine(report, d2v::ThreadTeam(o.training.threads).size(), o.commit);
  report.dataset = {{"path", o.data.data},
                    {"training texts, without their labels", text.train.size()},
                    {"tokens", corpus.shards.size()},
                    {"judged texts", text.judged.size()},
                    {"labels", text.class_count}};
  using Branch = demo::Model::First;
  report.model = {{"parameters", static_cast<std::int64_t>(demo::Model::parameter_count)},
                  {"parameters of the encoder", static_cast<std::int64_t>(demo::Model::encoder_parameter_count)},
                  {"vocabulary", demo::vocab_size},
                  {"width", demo::config.embed_dim},
                  {"blocks", demo::config.depth},
                  {"tokens of a sample", Branch::T_},
                  {"visible tokens", Branch::V},
                  {"masks of a sample", Branch::masks},
                  {"features", demo::formatted("layer %d, mean of the tokens", demo::judged_layer)}};
  report.training = {{"updates", trained.updates},
                     {"samples of an update", o.training.batch},
                     {"passes over the text", static_cast<double>(trained.updates) * o.training.batch /
                                                  static_cast<double>(corpus.blocks.size())},
                     {"highest learning rate", o.training.lr},
                     {"seed", o.training.seed},
                     {"updates of a fine-tuning with the fewest labels", o.demo.tuning_updates}};
  report.configuration = d2v::describe_model<demo::Model>();
  report.curve = demo::curve_of(o.training.out + "/log.jsonl");
  for (const auto& [name, seconds] : parts.all_seconds().items()) report.seconds.push_back({name, seconds});
  for (const auto& alarm : parts.alarms()) report.alarms.push_back(alarm.get<std::string>());
  demo::add_results(report, parts, text, o.demo, o.training.seed);
  const demo::Encoder teacher = demo::read_weights<demo::Model>(o.training.checkpoint(), true);
  report.sections = {demo::hidden_section(text, trained.weights, {teacher.weights.data(), teacher.weights.size()},
                                          o.training.seed),
                     demo::neighbours_section(parts, text, o.training.seed)};
  report.notes.push_back(&text.judged_text == &text.sets.dev
                             ? "Judged by the validation part; the test part was not used."
                             : "Neighbours k and the penalty of the probe were chosen on a part of the training texts, "
                               "the test texts were used once.");
  d2v::write_report(o.training.out, report);
  for (const d2v::FewLabels::Row& row : report.few_labels.rows) {
    std::string line = std::to_string(row.labels) + " labels:";
    for (std::size_t i = 0; i < row.scores.size(); ++i)
      line += demo::formatted("%s %s %.2f %%", i > 0 ? "," : "", report.few_labels.methods[i].c_str(),
                              100 * row.scores[i].value) +
              (std::isfinite(row.scores[i].spread) ? demo::formatted(" (spread %.2f)", 100 * row.scores[i].spread)
                                                   : "");
    std::printf("%s\n", line.c_str());
  }
  demo::print_end(report, o.training.out);
}

void run(Options o, const CLI::App& app) {
  o.size.expect();
  const d2v::Json extra = demo::open_run(o.training, app, o.json());
  if (o.training.resume) o.take(extra["options"]);
  const demo::LabelledSets sets = demo::open_labelled(o.data);
  demo::expect_labels(sets, o.data);
  if (sets.train.classes.empty()) throw demo::UsageError("expected text with classes, found numbers");
  o.corpus.data = demo::write_texts(sets.train, o.training.out);
  o.corpus.blocks = "document-sentences";  // as the labelled ones come: each by itself
  const demo::Corpus corpus(o.corpus, o.training.out, o.training.resume);
  demo::expect_corpus(extra, corpus, o.data.data);
  const demo::DemoText text(sets, o.data, corpus.vocabulary);
  std::printf("%zu training texts and %zu that are judged, from %s; %llu tokens\n", text.train.size(),
              text.judged.size(), o.data.data.c_str(), static_cast<unsigned long long>(corpus.shards.size()));
  const demo::Pretrained trained =
      demo::pretrain<demo::Recipe>(o.training, demo::TextSource(corpus), o.json());
  const auto judge = [&](demo::Parts& parts) {
    std::printf("\n%-46s %-18s %s\n", "accuracy on the texts that are judged", "nearest neighbours", "linear probe");
    demo::judge_features(parts, text, trained.weights, o.training.seed, o.training.threads);
    if (o.demo.seeds > 0)
      demo::tune_with_labels(parts, text, trained.weights, o.demo, o.training.seed, o.training.threads);
  };
  demo::run_parts(o.training, trained, judge, [&](demo::Parts& parts) { report(o, parts, text, corpus, trained); });
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"data2vec 2.0 pre-trained on text in minutes, judged, and written up in a report."};
  app.option_defaults()->always_capture_default();
  o.data.add_to(app);
  o.training.add_to(app);
  o.size.add_to(app);
  app.add_option("--batch", o.training.batch, "texts of an update")->check(CLI::PositiveNumber);
  app.add_option("--lr", o.training.lr, "highest learning rate of the pre-training")->check(CLI::PositiveNumber);
  app.add_option("--vocab", o.corpus.vocab, "folder of vocab.bpe, encoder.json, dict.txt; without it one is learnt");
  app.add_option("--seeds", o.demo.seeds, "fine-tunings, each with labelled texts of its own; 0: none")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--tuning-updates", o.demo.tuning_updates,
                 "length of a fine-tuning with 1 % of the labels, also from scratch; four times that with 10 %")
      ->check(CLI::PositiveNumber);
  app.add_option("--commit", o.commit, "what the report says of the program's sources");
  return demo::run_program("demo", app, argc, argv, [&] { run(o, app); });
}
