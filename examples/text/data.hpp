// SPDX-License-Identifier: MIT
// The text of --data for the example programs: a vocabulary, blocks of tokens to pre-train on, labelled sentences.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/data/bpe.hpp>
#include <data2vec/data/bpe_learn.hpp>
#include <data2vec/data/text.hpp>
#include <data2vec/data/text_feed.hpp>

#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/text/model.hpp"
#include "examples/text/wordnet.hpp"

namespace demo {

inline constexpr const char* default_data = "/usr/share/wordnet";
inline constexpr std::size_t sample_size = Words::sample_size;

/// A vocabulary with its files' content, to be written beside what was trained with it.
struct Vocabulary {
  d2v::BpeModel model;
  d2v::BpeTokenizer tokenizer{model};

  /// Reads vocab.bpe, encoder.json and dict.txt of a folder. Throws FileError, and MismatchError for one of another
  /// size than the model's.
  static Vocabulary open(const std::string& folder) {
    Vocabulary vocabulary{d2v::read_bpe(d2v::BpeFiles::in(folder))};
    try {
      d2v::expect_vocab_size(vocabulary.tokenizer, vocab_size);
    } catch (const d2v::MismatchError& error) {
      throw d2v::MismatchError(folder + ": " + error.what());
    }
    if (vocabulary.tokenizer.special().bos < 0)
      throw d2v::FileError(folder + "/dict.txt", "expected fairseq's dictionary, found none");
    return vocabulary;
  }

  void write(const std::string& folder) const {
    std::filesystem::create_directories(folder);
    d2v::write_bpe(folder, model);
  }

  std::string fingerprint() const {
    return formatted("%016llx", static_cast<unsigned long long>(tokenizer.fingerprint()));
  }
};

/// What a program was compiled for, as options: ./run compiles it for others.
struct SizeOptions {
  int vocabulary = vocab_size, text = tokens;

  void add_to(CLI::App& app) {
    app.add_option("--vocab-size", vocabulary, "tokens of the vocabulary");
    app.add_option("--tokens", text, "tokens of a text; longer ones are cut");
  }
  /// Throws UsageError for other sizes.
  void expect() const {
    if (vocabulary != vocab_size || text != tokens)
      throw UsageError(formatted("--vocab-size, --tokens: this program was compiled for %d and %d, found %d and %d",
                                 vocab_size, tokens, vocabulary, text));
  }
};

/// What says which text, and how it becomes tokens.
struct CorpusOptions {
  std::string data = default_data, vocab, documents = "line", blocks = "sentences";
  bool replace = false;

  inline static const std::map<std::string, d2v::DocumentEnd> document_ends{
      {"line", d2v::DocumentEnd::line}, {"paragraph", d2v::DocumentEnd::empty_line}, {"file", d2v::DocumentEnd::file}};
  inline static const std::map<std::string, d2v::BlockMode> block_modes{
      {"across", d2v::BlockMode::across},
      {"document", d2v::BlockMode::document},
      {"sentences", d2v::BlockMode::sentences},
      {"document-sentences", d2v::BlockMode::document_sentences}};

  void add_to(CLI::App& app) {
    app.add_option("--data", data, "a text file, a folder of *.txt, or WordNet's folder (its training glosses)");
    app.add_option("--vocab", vocab, "folder of vocab.bpe, encoder.json, dict.txt; without it one is learnt");
    app.add_option("--documents", documents, "what a document is")->check(CLI::IsMember(keys(document_ends)));
    app.add_option("--blocks", blocks, "how text is cut into samples: where they are full (across), within documents, "
                                       "or whole lines as they fit")
        ->check(CLI::IsMember(keys(block_modes)));
    app.add_flag("--replace", replace, "replace bytes that are not UTF-8 instead of refusing them");
  }
  d2v::Json json() const { return {{"documents", documents}, {"blocks", blocks}, {"replace", replace}}; }
  void take(const d2v::Json& kept) {
    documents = kept["documents"], blocks = kept["blocks"], replace = kept["replace"];
  }

 private:
  template <class Map>
  static std::vector<std::string> keys(const Map& map) {
    std::vector<std::string> names;
    for (const auto& [name, value] : map) names.push_back(name);
    return names;
  }
};

/// Throws MissingData where --data is not there.
inline void expect_data(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    throw MissingData(path + ": expected text, found none. WordNet: sudo apt-get install wordnet-base, then --data " +
                      default_data);
}

/// Writes a file unless it is there with this content: an unchanged one keeps its time, and what was made of it.
inline void write_text(const std::string& path, const std::string& text) {
  std::ifstream in(path, std::ios::binary);
  if (in && std::string(std::istreambuf_iterator<char>(in), {}) == text) return;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  d2v::AtomicFile file(path, text.size());
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

/// A vocabulary of the model's size from the text of some files.
inline Vocabulary learn_vocabulary(const std::vector<std::string>& files, const d2v::TextOptions& options) {
  d2v::BpeLearner learner;
  for (const std::string& path : files) {
    const d2v::MappedFile file(path);
    std::string repaired;
    std::string_view text = file.text();
    if (d2v::check_utf8(path, text, options.bad_utf8)) text = repaired = d2v::replace_bad_utf8(text);
    learner.add(text);
  }
  if (learner.distinct_words() == 0) throw d2v::FileError(files.at(0), "expected text, found none");
  return {learner.learn({.vocab_size = vocab_size})};
}

/// What a pre-training reads: text as tokens in a cache, cut into samples. Not to be moved: parts point to others.
struct Corpus {
  Vocabulary vocabulary;
  d2v::TokenShards shards;
  d2v::TokenBlocks blocks;

  /// Opens --data; vocabulary, text and tokens are kept in `out`. A resumed run takes the vocabulary there.
  Corpus(const CorpusOptions& o, const std::string& out, bool resume)
      : Corpus(o, out, resume, source_of(o, out), text_options(o)) {}
  Corpus(const Corpus&) = delete;
  Corpus& operator=(const Corpus&) = delete;

 private:
  Corpus(const CorpusOptions& o, const std::string& out, bool resume, const std::string& path,
         const d2v::TextOptions& options)
      : vocabulary(vocabulary_of(o, out + "/vocab", resume, path, options)),
        shards(d2v::open_text(path, vocabulary.tokenizer, out + "/tokens", options)),
        blocks(shards, vocabulary.tokenizer, tokens, CorpusOptions::block_modes.at(o.blocks)) {}

  static d2v::TextOptions text_options(const CorpusOptions& o) {
    return {.bad_utf8 = o.replace ? d2v::BadUtf8::replace : d2v::BadUtf8::refuse,
            .document_end = CorpusOptions::document_ends.at(o.documents)};
  }

  /// --data, or for WordNet a file with its training glosses, one a line.
  static std::string source_of(const CorpusOptions& o, const std::string& out) {
    expect_data(o.data);
    if (!is_wordnet(o.data)) return o.data;
    std::string text;
    for (const std::string& gloss : read_wordnet(o.data).train.text) text += gloss + "\n";
    write_text(out + "/text/glosses.txt", text);
    return out + "/text";
  }

  static Vocabulary vocabulary_of(const CorpusOptions& o, const std::string& folder, bool resume,
                                  const std::string& path, const d2v::TextOptions& options) {
    if (o.vocab.empty() && resume) return Vocabulary::open(folder);
    Vocabulary vocabulary =
        o.vocab.empty() ? learn_vocabulary(d2v::list_text(path), options) : Vocabulary::open(o.vocab);
    vocabulary.write(folder);
    return vocabulary;
  }
};

/// What a pre-training on text feeds on (see common/pretraining.hpp).
class TextSource {
 public:
  static constexpr const char* unit = "texts";
  explicit TextSource(const Corpus& corpus) : corpus_(corpus) {}

  auto batches(const PretrainOptions& o, std::int64_t first) const {
    if (corpus_.blocks.size() < static_cast<std::uint64_t>(o.batch))
      throw d2v::MismatchError("--batch: expected at most as many as there are texts of " + std::to_string(tokens) +
                               " tokens, " + std::to_string(corpus_.blocks.size()) + ", found " +
                               std::to_string(o.batch));
    return Stream{d2v::TextBatches(d2v::TextFeed(corpus_.blocks, o.batch, o.seed),
                                   {.first = static_cast<std::uint64_t>(first)}, o.accumulation)};
  }
  double bytes(int batch) const {
    return 2.0 * static_cast<double>(corpus_.shards.size()) +
           3.0 * batch * static_cast<double>(sample_size * sizeof(std::int32_t));
  }
  d2v::Json kept() const {
    return {{"texts", corpus_.blocks.size()}, {"vocabulary", corpus_.vocabulary.fingerprint()}};
  }

 private:
  struct Stream {
    d2v::TextBatches batches;
    d2v::Batch<std::int32_t> next() {
      const d2v::TextBatch batch = batches.next();
      return {batch.samples, batch.ids, {}, batch.lengths};
    }
  };
  const Corpus& corpus_;
};

/// Throws MismatchError where a resumed training had other text or another vocabulary.
inline void expect_corpus(const d2v::Json& extra, const Corpus& corpus, const std::string& data) {
  if (extra.empty()) return;
  const d2v::Json found = TextSource(corpus).kept();
  for (const auto& [name, value] : found.items())
    if (extra.value(name, d2v::Json()) != value)
      throw d2v::MismatchError(data + ": " + name + ": expected " + extra.value(name, d2v::Json()).dump() +
                               ", with which this training began, found " + value.dump());
}

}  // namespace demo
