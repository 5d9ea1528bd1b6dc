// SPDX-License-Identifier: MIT
// Text files and folders as token shards: sentences, documents, bad bytes, and when shards are made anew.
#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <data2vec/data/text.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;
using text_files::Folder;

namespace {

/// The corpus as text: `|` for `</s>`, `/` behind each document.
std::string spelt(const TokenShards& shards) {
  std::string text;
  for (std::uint64_t d = 0; d < shards.documents(); ++d) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(shards.document_end(d) - shards.document_begin(d)));
    shards.read(shards.document_begin(d), ids);
    for (const std::int32_t id : ids)
      text += id == ByteTokenizer::special().eos ? "|" : ByteTokenizer::decode(std::vector{id});
    text += '/';
  }
  return text;
}

std::string tokens_of(const std::string& content, const TextOptions& options = {}) {
  const Folder folder("text");
  const std::string file = folder.write("a.txt", content);
  return spelt(open_text(file, ByteTokenizer(), folder.text() + "/tokens", options));
}

}  // namespace

TEST_CASE("text: a line is a sentence; documents end at empty lines, at every line, or with the file") {
  const std::string text = "one\n two \n\n\nthree\r\n \t\r\nfour";
  CHECK(tokens_of(text) == "one|two|/three|/four|/");
  CHECK(tokens_of(text, {.document_end = DocumentEnd::line}) == "one|/two|/three|/four|/");
  CHECK(tokens_of(text, {.document_end = DocumentEnd::file}) == "one|two|three|four|/");
  CHECK(tokens_of("\xEF\xBB\xBFone\n") == "one|/");  // a byte order mark
  CHECK(tokens_of(text, {.ids_per_shard = 3}) == "one|two|/three|/four|/");
}

TEST_CASE("text: bytes that are not UTF-8 are refused with their offset, or replaced") {
  const Folder folder("text_bad");
  folder.write("in/a.txt", "fine\n"), folder.write("in/b.txt", "g\xC3\xBCt\nb\xFF" "d\n");
  const auto open = [&](BadUtf8 choice) {
    return open_text(folder.text() + "/in", ByteTokenizer(), folder.text() + "/out", {.bad_utf8 = choice});
  };
  CHECK(error_of([&] { open(BadUtf8::refuse); }) ==
        folder.text() + "/in/b.txt: UTF-8: expected text, found byte 0xFF at offset 6, which starts no character");
  CHECK_FALSE(std::filesystem::exists(folder.path / "out/index.tok"));
  CHECK(spelt(open(BadUtf8::replace)) == "fine|/g\xC3\xBCt|b\xEF\xBF\xBD" "d|/");
}

TEST_CASE("text: the files of a folder, sorted, in its folders too") {
  const Folder folder("text_list");
  folder.write("b.txt", "b"), folder.write("a/z.txt", "z"), folder.write("a.md", "no"), folder.write("c.txt", "");
  const auto files = list_text(folder.text());
  CHECK(files == std::vector<std::string>{folder.text() + "/a/z.txt", folder.text() + "/b.txt",
                                          folder.text() + "/c.txt"});
  CHECK(list_text(folder.text() + "/a.md").size() == 1);  // named, so wanted
  CHECK(spelt(open_text(folder.text(), ByteTokenizer(), folder.text() + "/tokens")) == "z|/b|/");
  const Folder other("text_none");
  other.write("a.md", "x");
  CHECK(error_of([&] { list_text(other.text()); }) == other.text() + ": expected *.txt in this folder, found none");
  CHECK(error_of([&] { list_text(other.text() + "/no"); }).ends_with("expected a text file or a folder of *.txt, "
                                                                     "found none"));
}

TEST_CASE("text: shards are made once, and anew for other files or options") {
  const Folder folder("text_cache");
  const std::string in = folder.text() + "/in", out = folder.text() + "/out";
  folder.write("in/a.txt", "one\ntwo");
  const auto open = [&](const TextOptions& options = {}) { return open_text(in, ByteTokenizer(), out, options); };
  const auto time = [&] { return std::filesystem::last_write_time(out + "/index.tok"); };
  CHECK(spelt(open()) == "one|two|/");
  const auto past = time() - std::chrono::hours(1);
  std::filesystem::last_write_time(out + "/index.tok", past);
  CHECK(spelt(open()) == "one|two|/");
  CHECK(time() == past);  // not written
  CHECK(spelt(open({.document_end = DocumentEnd::line})) == "one|/two|/");
  CHECK(time() != past);
  folder.write("in/a.txt", "one\ntwo\nthree");  // another size
  CHECK(spelt(open()) == "one|two|three|/");
  folder.write("in/a.txt", "one\ntwo\nTHREE");
  std::filesystem::last_write_time(in + "/a.txt", past);  // another time
  CHECK(spelt(open()) == "one|two|THREE|/");
  folder.write("in/b.txt", "four");  // another file
  CHECK(spelt(open()) == "one|two|THREE|/four|/");
  std::string broken = folder.read("out/tokens-00000.tok");
  broken.back() = static_cast<char>(broken.back() ^ 1);
  folder.write("out/tokens-00000.tok", broken);
  CHECK(error_of([&] { open(); }).find("tokens-00000.tok: checksum of the payload") != std::string::npos);
}

TEST_CASE("text: a text without text is refused") {
  const Folder folder("text_empty");
  const std::string file = folder.write("a.txt", " \n\n"), out = folder.text() + "/out";
  CHECK(error_of([&] { open_text(file, ByteTokenizer(), out); }) == file + ": expected text, found none");
  folder.write("a.txt", "");
  CHECK(error_of([&] { open_text(file, ByteTokenizer(), out); }) == file + ": expected text, found none");
}
