// SPDX-License-Identifier: MIT
// Token shards: there and back across shards, and every byte of every file matters.
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include <data2vec/data/shards.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;
using text_files::Folder;
using Ids = std::vector<std::int32_t>;

namespace {

/// Documents of 5, 1 and 7 ids: 0, 1, 2, ... times `step`, in shards of 4.
void write(const std::string& folder, int vocab_size, int step, std::uint64_t fingerprint = 9) {
  TokenWriter writer(folder, vocab_size, fingerprint, 4);
  int next = 0;
  for (const int size : {5, 1, 7}) {
    Ids ids(static_cast<std::size_t>(size));
    for (std::int32_t& id : ids) id = step * next++;
    writer.add(ids);
    writer.end_document();
    writer.end_document();  // an empty one is none
  }
  CHECK(writer.ids() == 13);
  writer.finish();
}

std::string open_error(const Folder& folder) {
  const std::string text = error_of([&] { TokenShards::open(folder.text()); });
  return text.starts_with(folder.text() + "/") ? text.substr(folder.text().size() + 1) : text;
}

/// A header with its checksums made right, so that the rule behind them is what refuses it.
std::string signed_file(std::string bytes) {
  const auto put = [&](std::size_t at, std::string_view of) {
    const std::uint32_t crc = detail::crc32_of(std::as_bytes(std::span(of)));
    std::memcpy(bytes.data() + at, &crc, 4);
  };
  put(56, std::string_view(bytes).substr(64));
  put(60, std::string_view(bytes).substr(0, 60));
  return bytes;
}

}  // namespace

TEST_CASE("shards: what was written is read, across shards, in both widths") {
  const Folder folder("shards");
  for (const int step : {1, 5000, 100'000}) {
    const int vocab_size = 12 * step + 1;
    write(folder.text(), vocab_size, step);
    const TokenShards shards = TokenShards::open(folder.text());
    CHECK(std::filesystem::file_size(folder.path / "tokens-00000.tok") == (step == 100'000 ? 64 + 16 : 64 + 8));
    CHECK(shards.size() == 13);
    CHECK(shards.shards() == 4);
    CHECK(shards.vocab_size() == vocab_size);
    CHECK(shards.fingerprint() == 9);
    REQUIRE(shards.documents() == 3);
    CHECK(shards.document_begin(0) == 0);
    CHECK(shards.document_end(0) == 5);
    CHECK(shards.document_begin(2) == 6);
    CHECK(shards.document_end(2) == 13);
    for (std::uint64_t begin = 0; begin <= 13; ++begin)
      for (std::size_t count = 0; begin + count <= 13; ++count) {
        Ids ids(count), expected(count);
        shards.read(begin, ids);
        for (std::size_t i = 0; i < count; ++i) expected[i] = static_cast<int>(begin + i) * step;
        CHECK(ids == expected);
      }
    Ids ids(2);
    CHECK_THROWS_AS(shards.read(12, ids), OptionError);
    CHECK_THROWS_AS(shards.read(~std::uint64_t{0}, ids), OptionError);
  }
}

TEST_CASE("shards: every wrong byte, every missing one and one too many is refused") {
  const Folder folder("shards_bad");
  write(folder.text(), 13, 1);
  for (const std::string name : {"index.tok", "tokens-00000.tok", "tokens-00003.tok"}) {
    const std::string good = folder.read(name);
    for (std::size_t i = 0; i < good.size(); ++i)
      for (const int flip : {0x01, 0x80, 0xFF}) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ flip);
        folder.write(name, bad);
        CAPTURE(i);
        CHECK(open_error(folder).starts_with(name + ": "));
      }
    for (const std::size_t size : {std::size_t{0}, std::size_t{63}, std::size_t{64}, good.size() - 1}) {
      folder.write(name, good.substr(0, size));
      CHECK(open_error(folder).starts_with(name + ": "));
    }
    folder.write(name, good + '\0');
    CHECK(open_error(folder).starts_with(name + ": payload: expected "));
    std::filesystem::remove(folder.path / name);
    CHECK(open_error(folder) == name + ": expected a file, found none");
    folder.write(name, good);
    CHECK(open_error(folder) == "");
  }
}

TEST_CASE("shards: rules that checksums do not hold") {
  const Folder folder("shards_rules");
  write(folder.text(), 13, 1);
  const std::string index = folder.read("index.tok"), shard = folder.read("tokens-00001.tok");
  const auto error = [&](const std::string& name, const std::string& good, std::size_t at, char value) {
    std::string bad = good;
    bad[at] = value;
    folder.write(name, signed_file(bad));
    const std::string text = open_error(folder);
    folder.write(name, good);
    return text;
  };
  CHECK(error("index.tok", index, 0, 'x') == "index.tok: magic number: expected \"data2vec\", found another one");
  CHECK(error("index.tok", index, 12, 3) == "index.tok: version: expected 1, found 3");
  CHECK(error("index.tok", index, 8, 2) == "index.tok: kind: expected 1, found 2");
  CHECK(error("index.tok", index, 16, 3) == "index.tok: bytes of an id: expected 2 or 4, found 3");
  CHECK(error("index.tok", index, 24, 12) ==
        "index.tok: ids: expected 12, found 13 in the shards and 13 in the documents");
  CHECK(error("index.tok", index, 39, '\x7F') == "index.tok: counts: expected less than 2^59, found more");
  CHECK(error("index.tok", index, 64 + 4 * 8, 6) == "index.tok: ends of documents: expected rising ones, found 6");
  const std::string other = "tokens-00001.tok: expected shard 1 of 4 ids of the corpus of ";
  CHECK(error("tokens-00001.tok", shard, 40, 1).starts_with(other));
  CHECK(error("tokens-00001.tok", shard, 48, 2).starts_with(other));
  CHECK(error("tokens-00001.tok", shard, 20, 14).starts_with(other));
  CHECK(error("tokens-00001.tok", shard, 64, 13) == "tokens-00001.tok: token id: expected 0 to 12, found 13");
  CHECK(open_error(folder) == "");
}

TEST_CASE("shards: a new corpus replaces the old one, whole or not at all") {
  const Folder folder("shards_again");
  write(folder.text(), 13, 1);
  {
    TokenWriter writer(folder.text(), 13, 10, 4);
    writer.add(Ids{1, 2, 3, 4, 5});
  }  // never finished
  CHECK(open_error(folder) == "index.tok: expected a file, found none");
  TokenWriter writer(folder.text(), 13, 10, 4);
  writer.add(Ids{1, 2, 3, 4, 5});
  writer.finish();
  const TokenShards shards = TokenShards::open(folder.text());
  CHECK(shards.size() == 5);
  CHECK(shards.documents() == 1);
  CHECK(shards.fingerprint() == 10);
  CHECK_FALSE(std::filesystem::exists(folder.path / "tokens-00002.tok"));  // of the longer corpus before
}

TEST_CASE("shards: what a writer refuses") {
  const Folder folder("shards_writer");
  TokenWriter writer(folder.text(), 13, 1);
  CHECK(error_of([&] { writer.add(Ids{0, 13}); }) == "token id: expected 0 to 12, found 13");
  CHECK(error_of([&] { writer.add(Ids{-1}); }) == "token id: expected 0 to 12, found -1");
  CHECK_THROWS_AS(TokenWriter(folder.text(), 0, 1), OptionError);
  CHECK_THROWS_AS(TokenWriter(folder.text(), 1, 1, 0), OptionError);
  TokenWriter empty(folder.text(), 13, 1);
  CHECK(error_of([&] { empty.finish(); }) == folder.text() + ": expected text, found none");
  folder.write("file", "");
  CHECK(error_of([&] { TokenWriter(folder.text() + "/file", 13, 1); }).starts_with(folder.text() + "/file: "));
}
