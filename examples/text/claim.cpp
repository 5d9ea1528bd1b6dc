// SPDX-License-Identifier: MIT
// One run of the comparison of systems on text: pre-trains the system that this program is compiled for and judges it
// at growing times, by its frozen features and by fine-tuning with few labels. `./run bench claim --modality text` runs
// it for every system and seed, and `--table` makes the table and the figures of what the runs kept.
#include <span>
#include <string>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>

#include "examples/common/claim.hpp"
#include "examples/common/program.hpp"
#include "examples/text/data.hpp"
#include "examples/text/labelled.hpp"
#include "examples/text/parts.hpp"

namespace {

namespace d2v = data2vec;

class TextClaim {
 public:
  /// `folder` is for the vocabulary and the tokens.
  TextClaim(const demo::LabelledOptions& data, const demo::ClaimOptions& options, const std::string& folder)
      : o_(options), sets_(demo::open_labelled(data)), corpus_(corpus_of(data, folder), folder, false),
        text_(sets_, data, corpus_.vocabulary), source_(corpus_), extract_(options.threads) {}

  const demo::TextSource& source() const { return source_; }

  d2v::Json judge(std::span<const float> weights) {
    const demo::JudgedFeatures features(text_, extract_, text_.bank(o_.seed, o_.labels), weights.data());
    if (demo::interrupted) return {};
    const demo::Judgement j = features.judge(demo::title, text_, o_.seed, o_.threads);
    d2v::Json row{{"knn", j.knn.accuracy()}, {"probe", j.linear.accuracy()}};
    if (o_.tuning_updates > 0)
      row["finetune"] = demo::tune(text_, o_.tuning_labels, o_.tuning_updates, weights, o_.seed, o_.threads);
    return row;
  }

 private:
  demo::CorpusOptions corpus_of(const demo::LabelledOptions& data, const std::string& folder) const {
    demo::expect_labels(sets_, data);
    demo::CorpusOptions corpus;
    corpus.data = demo::write_texts(sets_.train, folder);
    corpus.blocks = "document-sentences";  // as the labelled ones come: each by itself
    return corpus;
  }

  const demo::ClaimOptions& o_;
  demo::LabelledSets sets_;
  demo::Corpus corpus_;
  demo::DemoText text_;
  demo::TextSource source_;
  demo::FeatureExtractor extract_;
};

}  // namespace

int main(int argc, char** argv) {
  demo::LabelledOptions data;
  demo::SizeOptions size;
  demo::ClaimOptions o{
      .lr = demo::learning_rate, .batch = demo::batch_size, .labels = 10'000, .tuning_labels = 944};
  CLI::App app{"Pre-trains one system on text and judges it at growing times; --table compares what runs kept."};
  app.option_defaults()->always_capture_default();
  app.add_option("--data", data.data, "WordNet's folder, or one of train, dev and test as .tsv, .csv or .jsonl");
  size.add_to(app);
  o.add_to(app);
  return demo::run_program("claim", app, argc, argv, [&] {
    if (o.table) return demo::write_claim(o.out);
    size.expect();
    demo::run_claim<demo::Recipe>(o, demo::system, demo::title, [&](const auto& options, const std::string& folder) {
      data.validation = options.validation;
      return TextClaim(data, options, folder);
    });
  });
}
