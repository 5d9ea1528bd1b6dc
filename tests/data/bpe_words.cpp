// SPDX-License-Identifier: MIT
// GPT-2's words: each alternative of its pattern, and that nothing is lost.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/data/bpe_words.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using Words = std::vector<std::string>;

namespace {

Words words(std::string_view text) {
  static const CharClasses classes;
  Words found;
  for_each_word(classes, text, [&](std::string_view word) { found.emplace_back(word); });
  return found;
}

}  // namespace

TEST_CASE("bpe words: letters, numbers, the rest, each with one blank before") {
  CHECK(words("") == Words{});
  CHECK(words("Hello world!") == Words{"Hello", " world", "!"});
  CHECK(words("in 1984, 20x30") == Words{"in", " 1984", ",", " 20", "x", "30"});
  CHECK(words("a_b") == Words{"a", "_", "b"});
  CHECK(words("x --> y") == Words{"x", " -->", " y"});
  CHECK(words("\xC3\xBC" "ber \xD0\x96\xD0\x96 \xC2\xBD") == Words{"\xC3\xBC" "ber", " \xD0\x96\xD0\x96", " \xC2\xBD"});
  CHECK(words("e\xCC\x81" "a") == Words{"e", "\xCC\x81", "a"});  // a combining accent is no letter
}

TEST_CASE("bpe words: contractions in lower case with the ASCII apostrophe") {
  CHECK(words("I've it's don't we're I'm he'll she'd") ==
        Words{"I", "'ve", " it", "'s", " don", "'t", " we", "'re", " I", "'m", " he", "'ll", " she", "'d"});
  CHECK(words("I'VE 'sx o'clock") == Words{"I", "'", "VE", " '", "sx", " o", "'", "clock"});
  CHECK(words("'sx ''s '") == Words{"'s", "x", " ''", "s", " '"});
  CHECK(words("'r 'l") == Words{"'", "r", " '", "l"});
  CHECK(words("it\xE2\x80\x99s") == Words{"it", "\xE2\x80\x99", "s"});
}

TEST_CASE("bpe words: white space leaves one character to what follows") {
  CHECK(words("a  b") == Words{"a", " ", " b"});
  CHECK(words("a   ") == Words{"a", "   "});
  CHECK(words("a\n\nb") == Words{"a", "\n", "\n", "b"});
  CHECK(words("a \n b") == Words{"a", " \n", " b"});
  CHECK(words("\t\tx") == Words{"\t", "\t", "x"});
  CHECK(words("\n") == Words{"\n"});
  CHECK(words(" ") == Words{" "});
  CHECK(words("a\xE3\x80\x80\xE3\x80\x80" "b") == Words{"a", "\xE3\x80\x80", "\xE3\x80\x80", "b"});
  CHECK(words("a \xC2\xA0" "b") == Words{"a", " ", "\xC2\xA0", "b"});
  CHECK(words("a  's") == Words{"a", " ", " '", "s"});
}

TEST_CASE("bpe words: joined they are the text, whatever its bytes") {
  CHECK(words("a\xFF\xFE b") == Words{"a", "\xFF\xFE", " b"});
  CHECK(words("\xE3\x80") == Words{"\xE3\x80"});
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const std::string text = seed % 2 ? text_files::any_bytes(300, seed)
                                      : text_files::noise(300, seed, " \n\t'abst1,.\xC3\xBC\xE3\x80\xA0");
    std::string joined;
    for (const std::string& word : words(text)) {
      CHECK_FALSE(word.empty());
      joined += word;
    }
    CHECK(joined == text);
  }
}
