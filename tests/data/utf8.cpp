// SPDX-License-Identifier: MIT
// UTF-8: every code point there and back, and the examples of The Unicode Standard for what is ill-formed.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/data/utf8.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;

TEST_CASE("utf8: every code point there and back") {
  std::size_t wrong = 0, bytes = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    bytes += text.size();
    const CodePoint point = decode_utf8(text);
    wrong += !point.valid || point.value != c || point.size != text.size();
    wrong += decode_utf8(text + "x").size != text.size();
  }
  CHECK(wrong == 0);
  CHECK(bytes == 0x80 + 2 * (0x800 - 0x80) + 3 * (0x10000 - 0x800 - 0x800) + 4 * 0x100000);
}

TEST_CASE("utf8: the first bad byte") {
  CHECK(find_bad_utf8("") == std::string_view::npos);
  CHECK(find_bad_utf8("plain") == std::string_view::npos);
  CHECK(find_bad_utf8(std::string_view("a\0b", 3)) == std::string_view::npos);
  CHECK(find_bad_utf8("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80") == std::string_view::npos);
  CHECK(find_bad_utf8("ab\xFFz") == 2);
  CHECK(find_bad_utf8("ab\x80") == 2);               // continues nothing
  CHECK(find_bad_utf8("\xC3") == 0);                 // ends too early
  CHECK(find_bad_utf8("\xE2\x82") == 0);
  CHECK(find_bad_utf8("x\xC0\xAF") == 1);            // overlong
  CHECK(find_bad_utf8("\xE0\x9F\xBF") == 0);
  CHECK(find_bad_utf8("\xED\xA0\x80") == 0);         // a surrogate
  CHECK(find_bad_utf8("\xED\x9F\xBF") == std::string_view::npos);
  CHECK(find_bad_utf8("\xF4\x90\x80\x80") == 0);     // above U+10FFFF
  CHECK(find_bad_utf8("\xF4\x8F\xBF\xBF") == std::string_view::npos);
}

TEST_CASE("utf8: one replacement for each maximal subpart") {
  const std::string r = "\xEF\xBF\xBD";
  // The Unicode Standard, tables 3-8, 3-9, 3-10 and 3-11.
  CHECK(replace_bad_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(replace_bad_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") == r + r + r + r + r + r + r + r + "A");
  CHECK(replace_bad_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") == r + r + r + r + r + "A" + r + r + "B");
  CHECK(replace_bad_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == r + r + r + r + "A");
  CHECK(replace_bad_utf8("fine \xC3\xBC") == "fine \xC3\xBC");
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    CHECK(find_bad_utf8(replace_bad_utf8(text_files::any_bytes(500, seed))) == std::string_view::npos);
}

TEST_CASE("utf8: refused with the file and the offset, or replaced") {
  CHECK_FALSE(check_utf8("f.txt", "fine", BadUtf8::refuse));
  CHECK_FALSE(check_utf8("f.txt", "fine", BadUtf8::replace));
  CHECK(check_utf8("f.txt", "ab\xFF", BadUtf8::replace));
  CHECK_THROWS_WITH_AS(check_utf8("f.txt", "ab\xFFz", BadUtf8::refuse),
                       "f.txt: UTF-8: expected text, found byte 0xFF at offset 2, which starts no character",
                       FileError);
}
