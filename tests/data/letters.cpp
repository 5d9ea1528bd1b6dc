// SPDX-License-Identifier: MIT
// Letter dictionaries: built, written, read, and checked against transcripts by file and line.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/data/letters.hpp>

#include "tests/data/audio_files.hpp"

namespace d2v = data2vec;
using namespace audio_files;
using Entries = std::vector<d2v::ManifestEntry>;
using Labels = std::vector<std::int32_t>;

namespace {

const Entries three{{.path = "a.wav", .text = "ab ba", .text_at = "t.wrd:1"},
                    {.path = "b.wav", .text = "b", .text_at = "t.wrd:2"},
                    {.path = "c.wav", .text = "\u00e9a", .text_at = "t.wrd:3"}};

}  // namespace

TEST_CASE("letters: built by falling count, then by bytes; `|` counts once for each word") {
  const auto letters = d2v::Letters::from_transcripts(three);  // |: 4, a: 3, b: 3, e acute: 1
  REQUIRE(letters.size() == 8);
  const char* symbols[] = {"<s>", "<pad>", "</s>", "<unk>", "|", "a", "b", "\u00e9"};
  for (int i = 0; i < 8; ++i) CHECK(letters.symbol(i) == symbols[i]);
  CHECK(letters.word_end() == 4);
  CHECK(letters.encode("ab b", "here") == Labels{5, 6, 4, 6, 4});
  CHECK(letters.encode("", "here").empty());
  CHECK(letters.decode(Labels{5, 0, 6, 4, 4, 3, 7, 4}) == "ab \u00e9");
  CHECK_THROWS_AS(d2v::Letters::from_transcripts(Entries{}), d2v::MismatchError);
}

TEST_CASE("letters: a file comes back as it was written; fairseq's own is read") {
  const Folder folder("letters");
  const auto letters = d2v::Letters::from_transcripts(three);
  letters.write(folder.file("dict.ltr.txt"));
  CHECK(read(folder.file("dict.ltr.txt")) == "| 4\na 3\nb 3\n\u00e9 1\n");
  CHECK(d2v::Letters::from_file(folder.file("dict.ltr.txt")) == letters);
  const auto fairseq = d2v::Letters::from_file(folder.write("d", "| 94802\nE 51860\nT 38431\n' 42\n"));
  CHECK(fairseq.number("E") == 5);
  CHECK(fairseq.number("e") == -1);
  const auto problem = [&](const std::string& text) {
    return error_of<d2v::FileError>([&] { d2v::Letters::from_file(folder.write("d", text)); });
  };
  CHECK(has(problem("| 1\nE\n"), "d:2: expected a letter and its count, found 'E'"));
  CHECK(has(problem("| 1\nE x\n"), "d:2: count: expected a whole number, found 'x'"));
  CHECK(has(problem("| 1\nE 2\nE 1\n"), "d:3: expected every letter once, found 'E' again"));
  CHECK(has(problem("| 1\n<pad> 2\n"), "found '<pad>' again"));
  CHECK(has(problem("E 1\n"), "expected '|', the end of a word, among the letters, found none"));
}

TEST_CASE("letters: transcripts are checked before the first step") {
  const auto letters = d2v::Letters::from_transcripts(three);
  letters.check(three);
  CHECK_THROWS_WITH_AS(letters.encode("aB", "t.wrd:9"),
                       "t.wrd:9: expected letters of the dictionary, found 'B' (the dictionary has 'b')",
                       d2v::MismatchError);
  Entries more = three;
  more.push_back({.path = "d.wav"});
  more.push_back({.path = "e.wav", .text_at = "t.wrd:5"});
  more.push_back({.path = "f.wav", .text = "axy", .text_at = "t.wrd:6"});
  for (int i = 0; i < 3; ++i) more.push_back({.path = "g.wav", .text = "?", .text_at = "t.wrd:7"});
  CHECK_THROWS_WITH_AS(
      letters.check(more),
      "transcripts: expected letters of the dictionary for each recording, found 6 of 9 without; the "
      "first: d.wav: no transcript; t.wrd:5: an empty transcript; t.wrd:6: 'x'; t.wrd:7: '?'; t.wrd:7: "
      "'?'",
      d2v::MismatchError);
}
