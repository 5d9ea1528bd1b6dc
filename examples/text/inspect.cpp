// SPDX-License-Identifier: MIT
// Says what the other programs on text must be compiled for: `VOCABULARY TOKENS CLASSES`, from their own options.
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include <data2vec/io/safetensors.hpp>

#include "examples/common/program.hpp"
#include "examples/text/labelled.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::LabelledOptions data;
  std::string weights, vocab;
  int vocab_size = demo::vocab_size, tokens = demo::tokens;
  bool labelled = false;
};

void run(Options o, const CLI::App& app) {
  if (!o.weights.empty()) {
    const auto file = d2v::SafetensorsFile::open(o.weights);
    const auto found = file.metadata().find("configuration");
    if (found != file.metadata().end()) {
      const d2v::Json text = d2v::parse_json(found->second, o.weights).value("modality", d2v::Json::object());
      if (app.count("--vocab-size") == 0) o.vocab_size = text.value("vocab_size", o.vocab_size);
      if (app.count("--tokens") == 0) o.tokens = text.value("tokens", o.tokens);
    }
  } else if (!o.vocab.empty() && app.count("--vocab-size") == 0) {
    o.vocab_size = d2v::BpeTokenizer::open(d2v::BpeFiles::in(o.vocab)).vocab_size();
  }
  int classes = demo::classes;
  if (o.labelled) {
    const demo::LabelledSets sets = demo::open_labelled(o.data);
    classes = o.data.is_regression() ? 1 : static_cast<int>(sets.train.classes.size());
  }
  std::printf("%d %d %d\n", o.vocab_size, o.tokens, classes);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Prints vocabulary, tokens and classes that programs on text are compiled for."};
  app.allow_extras();
  o.data.add_to(app);
  app.add_option("--weights", o.weights, "weights or checkpoint");
  app.add_option("--vocab", o.vocab, "folder of a vocabulary");
  app.add_option("--vocab-size", o.vocab_size, "tokens of the vocabulary")->check(CLI::Range(262, 1 << 20));
  app.add_option("--tokens", o.tokens, "tokens of a text")->check(CLI::Range(4, 4096));
  app.add_flag("--labelled", o.labelled, "the data have labels");
  return demo::run_program("inspect", app, argc, argv, [&] { run(o, app); });
}
