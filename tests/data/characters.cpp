// SPDX-License-Identifier: MIT
// Characters and words of text.
#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include <data2vec/data/characters.hpp>

namespace d2v = data2vec;
using Pieces = std::vector<std::string_view>;

TEST_CASE("characters: one for each code point, whatever its length; broken bytes stand for themselves") {
  CHECK(d2v::split_characters("a\u00e9\u20ac\U0001F600z") == Pieces{"a", "\u00e9", "\u20ac", "\U0001F600", "z"});
  CHECK(d2v::split_characters("a\xC3") == Pieces{"a", "\xC3"});
  CHECK(d2v::split_characters("\xFF\x80g") == Pieces{"\xFF", "\x80", "g"});
  CHECK(d2v::split_characters("").empty());
}

TEST_CASE("characters: words and single blanks") {
  CHECK(d2v::split_words("  one\ttwo \r\n three") == Pieces{"one", "two", "three"});
  CHECK(d2v::split_words(" \t ").empty());
  CHECK(d2v::single_blanks("  one\ttwo \r\n three ") == "one two three");
  CHECK(d2v::single_blanks("") == "");
}
