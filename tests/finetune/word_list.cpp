// SPDX-License-Identifier: MIT
// Word lists: from words, files and lexicons; what goes on and what may end.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/finetune/word_list.hpp>

#include "tests/data/audio_files.hpp"

namespace d2v = data2vec;
using namespace audio_files;

namespace {

d2v::Letters letters() {
  return d2v::Letters::from_transcripts(
      std::vector<d2v::ManifestEntry>{{.path = "x", .text = "abc", .text_at = "x:1"}});
}

/// Whether a text could be written, and could end.
std::string verdict(const d2v::WordList& list, const d2v::Letters& l, const std::string& text) {
  int state = 0;
  for (const char c : text) {
    state = list.next(state, l.number(c == ' ' ? "|" : std::string(1, c)));
    if (state < 0) return "no";
  }
  return list.complete(state) ? "whole" : "begun";
}

}  // namespace

TEST_CASE("word list: prefixes go on, whole words end, nothing else") {
  const auto l = letters();
  const d2v::WordList list(l, std::vector<std::string>{"ab", "abc", "c", "ab"});
  CHECK(list.size() == 3);
  for (const char* text : {"", "ab", "abc", "ab ", "ab c", "  ab  c "}) CHECK(verdict(list, l, text) == "whole");
  for (const char* text : {"a", "ab a", "c a"}) CHECK(verdict(list, l, text) == "begun");
  for (const char* text : {"b", "ac", "abb", "a ", "cc", "abcc"}) CHECK(verdict(list, l, text) == "no");
}

TEST_CASE("word list: files of words and fairseq's lexicons; unknown letters with file and line") {
  const Folder folder("words");
  const auto l = letters();
  const auto list = d2v::WordList::from_file(l, folder.write("w", "ab\n\nspelled\tb a |\r\n"));
  CHECK(list.size() == 2);
  CHECK(verdict(list, l, "ba ab") == "whole");
  CHECK(verdict(list, l, "s") == "no");
  CHECK(has(error_of<d2v::MismatchError>([&] { d2v::WordList::from_file(l, folder.write("w", "ab\nabx\n")); }),
            "w:2: expected letters of the dictionary, found 'x'"));
  CHECK(has(error_of<d2v::FileError>([&] { d2v::WordList::from_file(l, folder.write("w", "\n")); }),
            "w: expected words, found none"));
}
