// SPDX-License-Identifier: MIT
// Which tokens begin a word.
#include <data2vec/data/words.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include <data2vec/data/bpe.hpp>
#include <data2vec/data/bpe_learn.hpp>

using namespace data2vec;

TEST_CASE("words: bytes") {
  const auto begins = begins_word(ByteTokenizer());
  REQUIRE(begins.size() == 261);
  for (const std::int32_t special : {0, 1, 2, 3, 260}) CHECK(begins[static_cast<std::size_t>(special)] == 1);
  CHECK(begins[4 + ' '] == 1);
  CHECK(begins[4 + 'a'] == 0);
  CHECK(begins[4 + '\n'] == 0);
}

TEST_CASE("words: pieces of byte-level BPE") {
  BpeLearner learner;
  for (int i = 0; i < 50; ++i) learner.add("the cat sat on the mat with another hat");
  const BpeTokenizer tokenizer{learner.learn({.vocab_size = 300})};
  const auto begins = begins_word(tokenizer);
  std::vector<std::int32_t> ids;
  auto encoder = tokenizer.encoder();
  const std::string text = "the hat sat";
  encoder.encode(text, ids);
  std::string words;
  for (const std::int32_t id : ids) {
    if (begins[static_cast<std::size_t>(id)]) words += "|";
    words += tokenizer.decode(std::span(&id, 1));
  }
  CHECK(words == "the| hat| sat");  // what stands at the front of a text begins no word by its bytes
}
