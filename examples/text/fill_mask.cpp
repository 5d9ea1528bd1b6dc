// SPDX-License-Identifier: MIT
// Says what a masked language model takes for the tokens that are hidden in a text: ./run fill_mask --weights
// out/roberta/checkpoint.safetensors "a large <mask> of water"
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/fill_mask.hpp>

#include "examples/common/program.hpp"
#include "examples/text/encoder.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::SizeOptions size;
  demo::EncoderOptions encoder;
  std::vector<std::string> texts;
  int count = 5;
};

constexpr std::string_view mask_text = "<mask>";

/// `<s>`, the tokens of a text, `</s>`; a space in front of `<mask>` is the hidden token's own.
std::vector<std::int32_t> tokens_of(std::string_view text, const d2v::BpeTokenizer& tokenizer, std::int32_t mask) {
  const d2v::SpecialIds special = tokenizer.special();
  std::vector<std::int32_t> ids{special.bos};
  for (;;) {
    const std::size_t at = text.find(mask_text);
    std::string_view before = text.substr(0, at);
    while (at != text.npos && before.ends_with(' ')) before.remove_suffix(1);
    for (const std::int32_t id : tokenizer.encode(before)) ids.push_back(id);
    if (at == text.npos) break;
    ids.push_back(mask);
    text.remove_prefix(at + mask_text.size());
  }
  ids.push_back(special.eos);
  return ids;
}

template <class Model>
void run(Options o) {
  if constexpr (!demo::is_roberta) {
    throw demo::UsageError("--system: expected roberta, which has a head that names tokens, found " +
                           std::string(demo::system));
  } else {
    using Filler = d2v::MaskFiller<Model>;
    o.size.expect();
    demo::expect_checkpoint(o.encoder.weights, "expected a checkpoint, which has the head that names tokens");
    const demo::TextEncoder encoder(o.encoder);
    const d2v::BpeTokenizer& tokenizer = encoder.vocabulary.tokenizer;
    Filler fill(encoder.weights().data());
    if (o.texts.empty())
      for (std::string line; std::getline(std::cin, line);) o.texts.push_back(line);
    for (const std::string& text : o.texts) {
      if (text.find(mask_text) == text.npos)
        throw demo::UsageError("expected a text with <mask> in it, found: " + text);
      const std::vector<std::int32_t> ids = tokens_of(text, tokenizer, Filler::mask);
      if (ids.size() > static_cast<std::size_t>(Filler::tokens))
        throw demo::UsageError(
            demo::formatted("expected a text of at most %d tokens, found %zu: ", Filler::tokens, ids.size()) + text);
      std::printf("%s\n", text.c_str());
      const auto guesses = fill(ids, o.count);
      for (std::size_t i = 0; i < guesses.size(); ++i) {
        if (guesses.size() > 1) std::printf("  <mask> %zu of %zu\n", i + 1, guesses.size());
        for (const d2v::TokenGuess& guess : guesses[i]) {
          const std::string piece(tokenizer.piece(guess.token));
          std::printf("  %6.2f %%  %s\n", 100 * guess.probability, piece.empty() ? "(special)" : piece.c_str());
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Says what a masked language model takes for <mask> in texts."};
  app.option_defaults()->always_capture_default();
  app.add_option("texts", o.texts, "texts with <mask> in them; without: the lines of standard input");
  o.encoder.add_to(app, true);
  o.size.add_to(app);
  app.add_option("--count", o.count, "how many tokens are named for each")->check(CLI::Range(1, demo::vocab_size));
  return demo::run_program("fill_mask", app, argc, argv, [&] { run<demo::Model>(o); });
}
