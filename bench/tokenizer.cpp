// SPDX-License-Identifier: MIT
// Bytes of text that the BPE tokenizer turns into ids in a second, on one core; with --learn, what learning a
// vocabulary takes. bench/peer/tokenizer.py runs it beside Hugging Face tokenizers.
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <bench/timing.hpp>
#include <data2vec/data/bpe.hpp>
#include <data2vec/data/bpe_learn.hpp>
#include <data2vec/io/file.hpp>

namespace {

using namespace data2vec;

/// Every file as one text, or cut behind each line end.
std::vector<std::string> read_texts(const std::vector<std::string>& files, bool lines) {
  std::vector<std::string> texts;
  for (const std::string& file : files) {
    const std::vector<std::byte> bytes = read_file(file);
    std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    while (!rest.empty()) {
      const std::size_t end = lines ? std::min(rest.find('\n'), rest.size() - 1) + 1 : rest.size();
      texts.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end);
    }
  }
  return texts;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times the BPE tokenizer on text files, one thread. Prints JSON."};
  std::string folder;
  std::vector<std::string> files;
  bool lines = false;
  int rounds = 5, learn = 0;
  app.add_option("--bpe", folder, "Folder of vocab.bpe and encoder.json (ids are those of encoder.json)");
  app.add_flag("--lines", lines, "One text a line instead of one a file");
  app.add_option("--rounds", rounds, "Passes over the text, each with an empty cache")->check(CLI::PositiveNumber);
  app.add_option("--learn", learn, "Learn a vocabulary of this size from the files first, and use it without --bpe");
  app.add_option("files", files, "Text files")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    const std::vector<std::string> texts = read_texts(files, lines);
    std::size_t bytes = 0;
    for (const std::string& text : texts) bytes += text.size();
    double learning = 0;
    std::optional<BpeTokenizer> tokenizer;
    if (learn > 0) {
      const double begun = bench::clock_seconds(CLOCK_MONOTONIC);
      BpeLearner learner;
      for (const std::string& text : texts) learner.add(text);
      tokenizer.emplace(learner.learn({.vocab_size = learn}));
      learning = bench::clock_seconds(CLOCK_MONOTONIC) - begun;
    }
    if (!folder.empty()) tokenizer = BpeTokenizer::open({folder + "/vocab.bpe", folder + "/encoder.json", ""});
    if (!tokenizer) throw OptionError("expected --bpe or --learn, found neither");
    std::vector<double> seconds;
    std::vector<std::int32_t> ids;
    for (int round = 0; round < rounds; ++round) {
      auto encoder = tokenizer->encoder();
      ids.clear();
      const double begun = bench::clock_seconds(CLOCK_MONOTONIC);
      for (const std::string& text : texts) encoder.encode(text, ids);
      seconds.push_back(bench::clock_seconds(CLOCK_MONOTONIC) - begun);
    }
    std::sort(seconds.begin(), seconds.end());
    const auto raw = std::as_bytes(std::span(ids));
    const auto crc = ::crc32_z(0, reinterpret_cast<const unsigned char*>(raw.data()), raw.size());
    std::printf("{\"implementation\": \"data2vec\", \"texts\": %zu, \"bytes\": %zu, \"ids\": %zu, \"crc32\": %lu, "
                "\"seconds\": {\"min\": %.6f, \"median\": %.6f}, \"learn_seconds\": %.3f, \"MB_per_second\": %.2f}\n",
                texts.size(), bytes, ids.size(), static_cast<unsigned long>(crc), seconds.front(),
                seconds[seconds.size() / 2], learning, 1e-6 * static_cast<double>(bytes) / seconds.front());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tokenizer: %s\n", error.what());
    return 1;
  }
  return 0;
}
