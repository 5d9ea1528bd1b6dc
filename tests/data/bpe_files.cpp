// SPDX-License-Identifier: MIT
// vocab.bpe, encoder.json and dict.txt: what is read and written, and every way in which they can be wrong.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/data/bpe_files.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;
using text_files::Folder;

namespace {

const std::string good_merges = "#version: 0.2\na b\nab c\n";

/// An encoder.json of the bytes and `pieces`.
std::string encoder(std::initializer_list<const char*> pieces) {
  std::string text = "{";
  int id = 0;
  for (int b = 0; b < 256; ++b) {
    std::string byte(1, static_cast<char>(static_cast<unsigned char>(b)));
    text += Json(detail::printable(byte)).dump() + ": " + std::to_string(id++) + ", ";
  }
  for (const char* piece : pieces) text += Json(piece).dump() + ": " + std::to_string(id++) + ", ";
  return text.substr(0, text.size() - 2) + "}";
}

std::string read_error(const std::string& merges, const std::string& ids, const std::string& dictionary) {
  const Folder folder("bpe_files");
  folder.write("vocab.bpe", merges), folder.write("encoder.json", ids), folder.write("dict.txt", dictionary);
  std::string text = error_of([&] { read_bpe(BpeFiles::in(folder.text())); });
  return text.starts_with(folder.text() + "/") ? text.substr(folder.text().size() + 1) : text;
}

}  // namespace

TEST_CASE("bpe files: read and written back") {
  const Folder folder("bpe_files");
  folder.write("vocab.bpe", good_merges), folder.write("encoder.json", encoder({"ab", "abc", "<|endoftext|>"}));
  CHECK(BpeFiles::in(folder.text()).dictionary.empty());
  CHECK(read_bpe(BpeFiles::in(folder.text())).dictionary.empty());
  folder.write("dict.txt", "256 7\n257 5\nmadeupword0000 0\n");
  const BpeModel model = read_bpe(BpeFiles::in(folder.text()));
  CHECK(model.merges == std::vector<SymbolPair>{{'a', 'b'}, {256, 'c'}});
  CHECK(model.pieces.size() == 258);
  CHECK(model.pieces[257] == "abc");
  CHECK(model.ids[256] == 256);
  CHECK(model.entries[258] == "<|endoftext|>");
  CHECK(model.dictionary == std::vector<BpeModel::Entry>{{"256", 7}, {"257", 5}, {"madeupword0000", 0}});
  const Folder copy("bpe_files_copy");
  write_bpe(copy.text(), model);
  CHECK(copy.read("vocab.bpe") == good_merges);
  CHECK(copy.read("dict.txt") == folder.read("dict.txt"));
  const BpeModel again = read_bpe(BpeFiles::in(copy.text()));
  CHECK(again.merges == model.merges);
  CHECK(again.ids == model.ids);
  CHECK(again.entries == model.entries);
  CHECK(find_bad_utf8(copy.read("encoder.json")) == std::string::npos);
  for (const char c : copy.read("encoder.json")) CHECK(static_cast<unsigned char>(c) < 0x80);  // any locale reads it
}

TEST_CASE("bpe files: characters that stand for bytes") {
  CHECK(detail::printable(std::string_view(" \n\0z\xAD", 5)) == "\u0120\u010A\u0100z\u0143");
  for (int b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(static_cast<unsigned char>(b)));
    CHECK(detail::unprintable("f", detail::printable(byte)) == byte);
  }
  CHECK(error_of([] { detail::unprintable("f", "a\u4E2D"); }) ==
        "f: expected characters that stand for bytes, found '\u4E2D' in 'a\u4E2D'");
}

TEST_CASE("bpe files: merges that are wrong, with their line") {
  const std::string ids = encoder({"ab", "abc"}), words = "256 1\n";
  const auto error = [&](const std::string& merges) { return read_error(merges, ids, words); };
  CHECK(error(good_merges) == "");
  CHECK(error("#version: 0.2\r\na b\r\nab c\r\n") == "");
  CHECK(error("") == "vocab.bpe: expected merges, found an empty file");
  CHECK(error("a b\n") == "vocab.bpe:1: expected a line that starts with #version");
  CHECK(error("#version: 0.2\nab c\na b\n") ==
        "vocab.bpe:2: merges out of order: expected pieces that earlier lines make, found 'ab'");
  CHECK(error("#version: 0.2\na b\na b\n") == "vocab.bpe:3: expected every merge once, found it again");
  for (const char* line : {"a", "a b c", " a", "a ", "", "a  b"})
    CHECK(error("#version: 0.2\n" + std::string(line) + "\n") ==
          "vocab.bpe:2: expected two pieces with one blank between them, found '" + std::string(line) + "'");
  CHECK(error("#version: 0.2\na \u4E2D\n").starts_with("vocab.bpe:2: expected characters that stand for bytes"));
}

TEST_CASE("bpe files: ids that are wrong") {
  const auto error = [&](const std::string& ids) { return read_error(good_merges, ids, "256 1\n"); };
  CHECK(error("").starts_with("encoder.json: expected JSON: "));
  CHECK(error("{\"a\": 0,}").starts_with("encoder.json: expected JSON: "));
  CHECK(error("{\"a\": 0} x").starts_with("encoder.json: expected JSON: "));
  CHECK(error("[1]").starts_with("encoder.json: expected an object of pieces with ids"));
  CHECK(error("7").starts_with("encoder.json: expected an object of pieces with ids"));
  for (const char* value : {"-1", "1.5", "\"1\"", "null", "[0]", "{}", "4294967296"})
    CHECK(error("{\"a\": " + std::string(value) + "}") ==
          "encoder.json: expected an object of pieces with ids, found something else at 'a'");
  CHECK(error("{\"a\": 0, \"a\": 1}") == "encoder.json: expected every piece once, found 'a' twice");
  CHECK(error("{\"a\": 0, \"b\": 2}") == "encoder.json: ids: expected 0 to 1, each once, found 2");
  CHECK(error("{\"a\": 0, \"b\": 0}") == "encoder.json: ids: expected 0 to 1, each once, found 0 twice");
  CHECK(error(encoder({"ab"})) ==
        "encoder.json: expected an id for every piece of the merges, found none for 'abc'");
}

TEST_CASE("bpe files: a dictionary that is wrong, with its line") {
  const auto error = [&](const std::string& words) {
    return read_error(good_merges, encoder({"ab", "abc"}), words);
  };
  CHECK(error("1 5\n2 4") == "");  // the last line needs no end
  CHECK(error("") == "dict.txt: expected words with counts, found an empty file");
  for (const char* line : {"1", "1 x", "1 -2", " 5", "", "1 5 "})
    CHECK(error("0 9\n" + std::string(line) + "\n") ==
          "dict.txt:2: expected a word, a blank and a count, found '" + std::string(line) + "'");
  CHECK(error("0 9\n1 5\n0 1\n") == "dict.txt:3: expected every word once, found '0' again");
  const Folder folder("bpe_files");
  CHECK(error_of([&] { read_bpe(BpeFiles::in(folder.text())); }).ends_with("vocab.bpe: expected a file, found none"));
}
