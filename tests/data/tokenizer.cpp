// SPDX-License-Identifier: MIT
// The tokenizer of bytes, and what every tokenizer refuses.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/data/tokenizer.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using Ids = std::vector<std::int32_t>;

TEST_CASE("byte tokenizer: ids and back") {
  CHECK(ByteTokenizer::encode("Az") == Ids{4 + 65, 4 + 122});
  CHECK(ByteTokenizer::encode(std::string_view("\0\xFF", 2)) == Ids{4, 4 + 255});
  CHECK(ByteTokenizer::vocab_size() == 261);
  CHECK(ByteTokenizer::special() == SpecialIds{.bos = 0, .pad = 1, .eos = 2, .unk = 3, .mask = 260});
  CHECK(ByteTokenizer::decode(Ids{0, 1, 4 + 65, 3, 260, 2}) == "A");  // what is special is no text
  const std::string bytes = text_files::any_bytes(4096, 1);
  CHECK(ByteTokenizer::decode(ByteTokenizer::encode(bytes)) == bytes);
}

TEST_CASE("byte tokenizer: an encoder appends") {
  Ids ids{7};
  ByteTokenizer::encoder().encode("A", ids);
  CHECK(ids == Ids{7, 69});
}

TEST_CASE("tokenizer: what is refused") {
  CHECK_THROWS_WITH_AS(ByteTokenizer::decode(Ids{261}), "token id: expected 0 to 260, found 261", OptionError);
  CHECK_THROWS_AS(ByteTokenizer::decode(Ids{-1}), OptionError);
  CHECK_NOTHROW(expect_vocab_size(ByteTokenizer(), 261));
  CHECK_THROWS_WITH_AS(expect_vocab_size(ByteTokenizer(), 50265),
                       "vocabulary: expected 50265 tokens, the model's, found 261, the tokenizer's", MismatchError);
}
