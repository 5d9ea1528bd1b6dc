// SPDX-License-Identifier: MIT
// Pre-trains the model of model.hpp on text of one's own: learns a vocabulary from it unless one is given, keeps the
// text as tokens, and trains. A folder with vocabulary, tokens, checkpoint, log and the weights of the encoder. Stopped
// at any moment, it goes on from there to the same bits.
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>

#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/text/data.hpp"
#include "examples/text/model.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::SizeOptions size;
  demo::CorpusOptions corpus;
  demo::PretrainOptions training{.out = "out/pretrain-text", .lr = demo::learning_rate, .batch = demo::batch_size};

  d2v::Json json() const {
    d2v::Json all = training.json();
    all.update(corpus.json());
    return all;
  }
};

void run(Options o, const CLI::App& app) {
  o.size.expect();
  const d2v::Json extra = demo::open_run(o.training, app, o.json());
  if (o.training.resume) o.training.take(extra["options"]), o.corpus.take(extra["options"]);
  const demo::Corpus corpus(o.corpus, o.training.out, o.training.resume);
  demo::expect_corpus(extra, corpus, o.corpus.data);
  std::printf("%llu texts of %d tokens from %s: %llu tokens of %llu documents\n",
              static_cast<unsigned long long>(corpus.blocks.size()), demo::tokens, o.corpus.data.c_str(),
              static_cast<unsigned long long>(corpus.shards.size()),
              static_cast<unsigned long long>(corpus.shards.documents()));
  demo::pretrain<demo::Recipe>(o.training, demo::TextSource(corpus), o.json());
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"data2vec 2.0: pre-trains an encoder on text."};
  app.option_defaults()->always_capture_default();
  o.corpus.add_to(app);
  o.training.add_to(app);
  o.size.add_to(app);
  app.add_option("--batch", o.training.batch, "texts of an update")->check(CLI::PositiveNumber);
  app.add_option("--accumulation", o.training.accumulation, "micro-batches that the texts of an update come in")
      ->check(CLI::PositiveNumber);
  app.add_option("--lr", o.training.lr, "highest learning rate of the cosine schedule")->check(CLI::PositiveNumber);
  return demo::run_program("pretrain", app, argc, argv, [&] { run(o, app); });
}
