// SPDX-License-Identifier: MIT
// Blocks of T tokens: across documents and within them.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/data/blocks.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;
using Ids = std::vector<std::int32_t>;

namespace {

/// Documents of 5, 1 and 6 ids: 10, 11, 12, ...
TokenShards corpus(const text_files::Folder& folder) {
  TokenWriter writer(folder.text(), ByteTokenizer::size, 1, 4);
  std::int32_t next = 10;
  for (const int size : {5, 1, 6}) {
    for (int i = 0; i < size; ++i) writer.add(Ids{next++});
    writer.end_document();
  }
  writer.finish();
  return TokenShards::open(folder.text());
}

std::vector<Ids> all(const TokenBlocks& blocks, std::vector<int>& lengths) {
  std::vector<Ids> found;
  lengths.clear();
  for (std::uint64_t i = 0; i < blocks.size(); ++i) {
    found.emplace_back(static_cast<std::size_t>(blocks.tokens()), -1);
    lengths.push_back(blocks.read(i, found.back()));
  }
  return found;
}

}  // namespace

TEST_CASE("blocks: across documents every token once, the last block padded") {
  const text_files::Folder folder("blocks");
  const TokenShards shards = corpus(folder);
  std::vector<int> lengths;
  CHECK(all(TokenBlocks(shards, ByteTokenizer(), 6), lengths) ==
        std::vector<Ids>{{0, 10, 11, 12, 13, 14}, {0, 15, 16, 17, 18, 19}, {0, 20, 21, 1, 1, 1}});
  CHECK(lengths == std::vector<int>{6, 6, 3});
  CHECK(all(TokenBlocks(shards, ByteTokenizer(), 7), lengths).size() == 2);
  CHECK(lengths == std::vector<int>{7, 7});
  CHECK(TokenBlocks(shards, ByteTokenizer(), 2).size() == 12);
  CHECK(TokenBlocks(shards, ByteTokenizer(), 512).size() == 1);
}

TEST_CASE("blocks: within documents, long ones cut and short ones padded") {
  const text_files::Folder folder("blocks");
  const TokenShards shards = corpus(folder);
  std::vector<int> lengths;
  CHECK(all(TokenBlocks(shards, ByteTokenizer(), 4, BlockMode::document), lengths) ==
        std::vector<Ids>{{0, 10, 11, 12}, {0, 13, 14, 1}, {0, 15, 1, 1}, {0, 16, 17, 18}, {0, 19, 20, 21}});
  CHECK(lengths == std::vector<int>{4, 3, 2, 4, 4});
  CHECK(TokenBlocks(shards, ByteTokenizer(), 512, BlockMode::document).size() == 3);
}

TEST_CASE("blocks: whole sentences, as many as fit; what is too long is cut") {
  const text_files::Folder folder("blocks");
  constexpr std::int32_t eos = 2;
  TokenWriter writer(folder.text(), ByteTokenizer::size, 1, 4);
  for (const Ids& sentence : {Ids{10, 11, eos}, Ids{12, eos}, Ids{13, 14, 15, eos}, Ids{}, Ids{20, eos}, Ids{},
                              Ids{21, 22, 23, 24, 25, 26, 27, eos}, Ids{28, eos}, Ids{29}, Ids{}}) {
    if (sentence.empty()) writer.end_document();
    else writer.add(sentence);
  }
  writer.finish();
  const TokenShards shards = TokenShards::open(folder.text());
  std::vector<int> lengths;
  CHECK(all(TokenBlocks(shards, ByteTokenizer(), 7, BlockMode::sentences), lengths) ==
        std::vector<Ids>{{0, 10, 11, 2, 12, 2, 1}, {0, 13, 14, 15, 2, 20, 2}, {0, 21, 22, 23, 24, 25, 26},
                         {0, 27, 2, 28, 2, 29, 1}});
  CHECK(lengths == std::vector<int>{6, 7, 7, 6});
  CHECK(all(TokenBlocks(shards, ByteTokenizer(), 7, BlockMode::document_sentences), lengths) ==
        std::vector<Ids>{{0, 10, 11, 2, 12, 2, 1}, {0, 13, 14, 15, 2, 1, 1}, {0, 20, 2, 1, 1, 1, 1},
                         {0, 21, 22, 23, 24, 25, 26}, {0, 27, 2, 28, 2, 29, 1}});
  CHECK(lengths == std::vector<int>{6, 5, 3, 7, 6});
  CHECK(TokenBlocks(shards, ByteTokenizer(), 512, BlockMode::sentences).size() == 1);
  CHECK(TokenBlocks(shards, ByteTokenizer(), 512, BlockMode::document_sentences).size() == 3);
}

TEST_CASE("blocks: what is refused") {
  const text_files::Folder folder("blocks");
  const TokenShards shards = corpus(folder);
  const TokenBlocks blocks(shards, ByteTokenizer(), 6);
  Ids room(6), small(5);
  CHECK(error_of([&] { blocks.read(3, room); }) ==
        "TokenBlocks: expected a block below 3 and room for 6 tokens, found 3 and 6");
  CHECK_THROWS_AS(blocks.read(0, small), OptionError);
  CHECK(error_of([&] { TokenBlocks(shards, ByteTokenizer(), 1); }) ==
        "TokenBlocks: expected at least 2 tokens in a block, found 1");
  TokenWriter writer(folder.text(), 300, 1);
  writer.add(room);
  writer.finish();
  const TokenShards other = TokenShards::open(folder.text());
  CHECK(error_of([&] { TokenBlocks(other, ByteTokenizer(), 6); }) ==
        "TokenBlocks: expected the vocabulary of the shards, 300 tokens, found 261");
}
