// SPDX-License-Identifier: MIT
// Sentences and pairs with their special tokens, cut and padded to the length of a type.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/data/sentences.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;
using Ids = std::vector<std::int32_t>;

namespace {

constexpr std::int32_t a = 4 + 'a', b = 4 + 'b', c = 4 + 'c', x = 4 + 'x', y = 4 + 'y';

Ids one(const std::string& sentence, int T, int length) {
  Ids ids(static_cast<std::size_t>(T), -1);
  CHECK(SentenceEncoder(ByteTokenizer(), T)(sentence, ids) == length);
  return ids;
}
Ids two(const std::string& first, const std::string& second, int T, int length) {
  Ids ids(static_cast<std::size_t>(T), -1);
  CHECK(SentenceEncoder(ByteTokenizer(), T)(first, second, ids) == length);
  return ids;
}

}  // namespace

TEST_CASE("sentences: <s> A </s>, padded or cut") {
  CHECK(one("abc", 7, 5) == Ids{0, a, b, c, 2, 1, 1});
  CHECK(one("abc", 5, 5) == Ids{0, a, b, c, 2});
  CHECK(one("abc", 4, 4) == Ids{0, a, b, 2});
  CHECK(one("", 4, 2) == Ids{0, 2, 1, 1});
}

TEST_CASE("sentences: <s> A </s> </s> B </s>, the longer one is cut first") {
  CHECK(two("ab", "xy", 9, 8) == Ids{0, a, b, 2, 2, x, y, 2, 1});
  CHECK(two("abc", "xy", 8, 8) == Ids{0, a, b, 2, 2, x, y, 2});
  CHECK(two("a", "xyxy", 8, 8) == Ids{0, a, 2, 2, x, y, x, 2});
  CHECK(two("abcabc", "y", 8, 8) == Ids{0, a, b, c, 2, 2, y, 2});
  CHECK(two("abc", "xyx", 7, 7) == Ids{0, a, b, 2, 2, x, 2});
  CHECK(two("abc", "xyx", 4, 4) == Ids{0, 2, 2, 2});
}

TEST_CASE("sentences: refusals") {
  CHECK(error_of([] { SentenceEncoder(ByteTokenizer(), 3); }) ==
        "SentenceEncoder: expected at least 4 tokens, found 3");
  CHECK(error_of([] {
          Ids ids(5);
          SentenceEncoder(ByteTokenizer(), 6)("a", ids);
        }) == "SentenceEncoder: expected room for 6 tokens, found 5");
}
