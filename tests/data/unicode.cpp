// SPDX-License-Identifier: MIT
// Character classes: the white space of Unicode complete, letters and numbers by example.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/data/unicode.hpp>

using namespace data2vec;

TEST_CASE("unicode: white space is the 25 characters of White_Space") {
  const CharClasses classes;
  std::vector<char32_t> space;
  for (char32_t c = 0; c < 0x110000; ++c)
    if (classes.of(c) == CharClass::space) space.push_back(c);
  CHECK(space == std::vector<char32_t>{0x9,    0xA,    0xB,    0xC,    0xD,    0x20,   0x85,   0xA0,   0x1680,
                                       0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
                                       0x2009, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000});
}

TEST_CASE("unicode: letters, numbers and the rest") {
  const CharClasses classes;
  for (const char32_t c : {U'a', U'Z', U'\u00AA', U'\u00B5', U'\u00FC', U'\u0130', U'\u0416', U'\u05D0', U'\u0939',
                           U'\u02B0', U'\u3042', U'\u4E2D', U'\uAC00', U'\U0001D400', U'\U0002A6DF', U'\U00010330'})
    CHECK(classes.of(c) == CharClass::letter);
  for (const char32_t c : {U'0', U'9', U'\u00B2', U'\u00BD', U'\u0663', U'\u2167', U'\u3007', U'\u2460',
                           U'\U0001D7CE'})
    CHECK(classes.of(c) == CharClass::number);
  for (const char32_t c : {U'!', U'_', U'\'', U'\u00AD', U'\u0301', U'\u093F', U'\u200B', U'\u200D', U'\u180E',
                           U'\u2019', U'\u20AC', U'\uFEFF', U'\uFFFD', U'\uE000', U'\U0001F600', U'\U0010FFFF'})
    CHECK(classes.of(c) == CharClass::other);
  CHECK(classes.of(0) == CharClass::other);
  CHECK(classes.of(0x1C) == CharClass::other);  // Python's str.isspace differs
}

TEST_CASE("unicode: what starts a text") {
  const CharClasses classes;
  const auto front = [&](std::string_view text) {
    const auto c = classes.front(text);
    return std::pair(c.kind, c.size);
  };
  CHECK(front("a1") == std::pair(CharClass::letter, 1u));
  CHECK(front("\xC3\xBCx") == std::pair(CharClass::letter, 2u));
  CHECK(front("\xE3\x80\x80") == std::pair(CharClass::space, 3u));
  CHECK(front("\xF0\x9D\x9F\x8E") == std::pair(CharClass::number, 4u));
  CHECK(front("\xF0\x9D\x9F") == std::pair(CharClass::other, 1u));  // cut off: byte by byte
  CHECK(front("\xC3") == std::pair(CharClass::other, 1u));
}
