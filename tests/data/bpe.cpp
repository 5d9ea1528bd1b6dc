// SPDX-License-Identifier: MIT
// Byte-level BPE: the test vectors id for id, any bytes there and back, and what the cache of words may not change.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <vector>

#include <data2vec/data/bpe.hpp>
#include <tests/allocation_counter.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;
using Ids = std::vector<std::int32_t>;

namespace {

const std::string folder = std::string(D2V_SOURCE_DIR) + "/tests/data/bpe";

BpeTokenizer gpt2(const std::string& from) {
  return BpeTokenizer::open({from + "/vocab.bpe", from + "/encoder.json", ""});
}
BpeTokenizer fairseq(const std::string& from) { return BpeTokenizer::open(BpeFiles::in(from)); }

void check_vectors(const std::string& from) {
  const auto plain = gpt2(from), words = fairseq(from);
  auto encoder = words.encoder();
  const auto vectors = text_files::read_vectors(from + "/vectors.tsv");
  CHECK(vectors.size() == 290);
  for (const auto& v : vectors) {
    CAPTURE(v.tag);
    CAPTURE(v.text);
    CHECK(plain.encode(v.text) == v.gpt2);
    CHECK(plain.decode(v.gpt2) == v.text);
    CHECK(words.decode(v.fairseq) == v.text);
    for (int time = 0; time < 2; ++time) {  // the second one comes from the cache
      Ids ids;
      encoder.encode(v.text, ids);
      CHECK(ids == v.fairseq);
    }
  }
}

}  // namespace

TEST_CASE("bpe: the test vectors, in cut files") { check_vectors(folder); }

TEST_CASE("bpe: the test vectors, in the files of GPT-2 and fairseq") {
  const std::string from = text_files::shared("fixtures/bpe");
  if (from.empty()) {
    std::printf("SKIPPED: bpe: whole files: set D2V_SHARED to the folder that holds fixtures/bpe\n");
    return;
  }
  check_vectors(from);
  const auto t = fairseq(from);
  CHECK(gpt2(from).vocab_size() == 50257);
  CHECK(t.vocab_size() == 50265);
  CHECK(t.special() == SpecialIds{.bos = 0, .pad = 1, .eos = 2, .unk = 3, .mask = 50264});
  CHECK(t.encode("Hello world!") == Ids{31414, 232, 328});  // fairseq's documented example
  CHECK(t.piece(8331) == "world");
}

TEST_CASE("bpe: any bytes come back") {
  const auto t = fairseq(folder);
  auto encoder = t.encoder(4);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::string text = seed % 2 ? text_files::any_bytes(700, seed)
                                      : text_files::noise(700, seed, "the and of \n\xC3\xA9\xE4\xB8\xAD'");
    Ids ids;
    encoder.encode(text, ids);
    CHECK(t.decode(ids) == text);
  }
  std::string line(5000, 'a');
  CHECK(t.decode(t.encode(line)) == line);
  CHECK(t.encode("").empty());
}

TEST_CASE("bpe: the cache changes nothing, whatever its size") {
  const auto t = fairseq(folder);
  std::string text;
  for (const auto& v : text_files::read_vectors(folder + "/vectors.tsv")) text += v.text + " ";
  text += std::string(31, 'x') + " " + std::string(32, 'x') + " " + std::string(33, 'x') + " " + std::string(32, 'x');
  text += " a" + std::string(1, '\0') + " a" + std::string(2, '\0') + " a";  // words that differ in zero bytes only
  const Ids expected = t.encode(text);
  for (const int bits : {0, 1, 3, 8, 15}) {
    auto encoder = t.encoder(bits);
    for (int time = 0; time < 2; ++time) {
      Ids ids{-7};  // what is there stays
      encoder.encode(text, ids);
      REQUIRE(ids.size() == expected.size() + 1);
      CHECK(ids.front() == -7);
      CHECK(Ids(ids.begin() + 1, ids.end()) == expected);
    }
  }
}

TEST_CASE("bpe: an encoder outlives its tokenizer and may be used by its own thread") {
  auto encoder = [] { return fairseq(folder).encoder(); }();
  Ids ids;
  encoder.encode("Hello world!", ids);
  CHECK(ids == fairseq(folder).encode("Hello world!"));
}

TEST_CASE("bpe: special tokens in a text are ordinary characters, and ids that are no text decode to nothing") {
  const auto t = fairseq(folder);
  const SpecialIds special = t.special();
  for (const std::int32_t id : t.encode("<s></s><pad><mask><unk><|endoftext|>"))
    CHECK((id > special.unk && id < special.mask));
  CHECK(t.decode(Ids{special.bos, special.pad, special.eos, special.unk, special.mask, special.mask - 1}) == "");
  CHECK(gpt2(folder).special() == SpecialIds{});
  const std::string range = "token id: expected 0 to " + std::to_string(t.vocab_size() - 1) + ", found ";
  CHECK(error_of([&] { t.decode(Ids{t.vocab_size()}); }) == range + std::to_string(t.vocab_size()));
  CHECK(error_of([&] { t.decode(Ids{-1}); }) == range + "-1");
}

TEST_CASE("bpe: a piece that the dictionary lacks is <unk>") {
  BpeModel model = read_bpe(BpeFiles::in(folder));
  const auto z = std::to_string(model.ids['z']);
  std::erase_if(model.dictionary, [&](const auto& entry) { return entry.word == z; });
  const BpeTokenizer t(model);
  CHECK(t.encode("z") == Ids{t.special().unk});
  CHECK(t.fingerprint() != fairseq(folder).fingerprint());
}

TEST_CASE("bpe: fingerprints tell tokenizers apart") {
  CHECK(fairseq(folder).fingerprint() == fairseq(folder).fingerprint());
  CHECK(fairseq(folder).fingerprint() != gpt2(folder).fingerprint());
}

#ifdef D2V_COUNTS_ALLOCATIONS
TEST_CASE("bpe: no allocation for words, seen before or not") {
  const auto t = fairseq(folder);
  auto encoder = t.encoder(4);  // most words are not in the cache
  std::string text;
  for (const auto& v : text_files::read_vectors(folder + "/vectors.tsv")) text += v.text + " ";
  Ids ids;
  encoder.encode(text, ids);
  ids.clear();
  CHECK(allocations_of([&] { encoder.encode(text, ids); }) == 0);
}
#endif
