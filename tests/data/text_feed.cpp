// SPDX-License-Identifier: MIT
// Batches of token blocks: every block once an epoch, the same for any way of making them ahead.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include <data2vec/data/text_feed.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;

namespace {

/// Documents of 1 to 10 ids, 11 blocks of at most 7 of them.
TokenShards corpus(const text_files::Folder& folder) {
  TokenWriter writer(folder.text(), ByteTokenizer::size, 1);
  std::int32_t next = 10;
  for (int size = 1; size <= 10; ++size) {
    for (int i = 0; i < size; ++i) writer.add(std::vector<std::int32_t>{next++});
    writer.end_document();
  }
  writer.finish();
  return TokenShards::open(folder.text());
}

}  // namespace

TEST_CASE("text feed: a batch is a function of seed and number, however it is made ahead and cut") {
  const text_files::Folder folder("text_feed");
  const TokenShards shards = corpus(folder);
  const TokenBlocks blocks(shards, ByteTokenizer(), 8, BlockMode::document);
  REQUIRE(blocks.size() == 13);
  const auto all = [&](const PrefetchOptions& options, int parts, std::uint64_t seed = 5) {
    TextBatches batches(TextFeed(blocks, 4, seed), options, parts);
    std::vector<std::int64_t> numbers;
    for (int i = 0; i < 8 * parts; ++i) {
      const TextBatch batch = batches.next();
      CHECK(batch.index == options.first + static_cast<std::uint64_t>(i / parts));
      CHECK(batch.samples.size() == batch.ids.size() * 8);
      for (std::size_t row = 0; row < batch.ids.size(); ++row) {
        numbers.push_back(batch.ids[row]);
        numbers.push_back(batch.lengths[row]);
        const auto sample = batch.samples.subspan(8 * row, 8);
        CHECK(std::count(sample.begin(), sample.end(), 1) == 8 - batch.lengths[row]);
        numbers.insert(numbers.end(), sample.begin(), sample.end());
      }
    }
    return numbers;
  };
  const auto plain = all({.depth = 0}, 1);
  CHECK(all({.depth = 1}, 1) == plain);
  CHECK(all({.depth = 4, .threads = 3}, 1) == plain);
  CHECK(all({.depth = 2}, 2) == plain);
  CHECK(all({.depth = 0}, 1, 6) != plain);
  const auto later = all({.first = 5}, 1);  // an interrupted run goes on with batch 5
  CHECK(std::equal(later.begin(), later.begin() + 3 * 4 * 10, plain.begin() + 5 * 4 * 10));
}

TEST_CASE("text feed: an epoch has every block at most once, the next one another order") {
  const text_files::Folder folder("text_feed_epoch");
  const TokenShards shards = corpus(folder);
  const TokenBlocks blocks(shards, ByteTokenizer(), 8, BlockMode::document);
  TextFeed feed(blocks, 4, 1);
  REQUIRE(feed.batches_per_epoch() == 3);  // the partial batch is dropped
  std::vector<std::vector<std::uint32_t>> epochs(2);
  std::vector<std::int32_t> samples(4 * 8);
  std::vector<std::uint32_t> numbers(8);
  for (std::uint64_t i = 0; i < 6; ++i) {
    feed(i, samples.data(), numbers.data());
    epochs[i / 3].insert(epochs[i / 3].end(), numbers.begin(), numbers.begin() + 4);
  }
  CHECK(std::set<std::uint32_t>(epochs[0].begin(), epochs[0].end()).size() == 12);
  CHECK(epochs[0] != epochs[1]);
}

TEST_CASE("text feed: refusals") {
  const text_files::Folder folder("text_feed_errors");
  const TokenShards shards = corpus(folder);
  const TokenBlocks blocks(shards, ByteTokenizer(), 8, BlockMode::document);
  CHECK(error_of([&] { TextFeed(blocks, 14, 1); }) ==
        "TextFeed: expected a batch of 1 to the number of blocks, 13, found 14");
  CHECK(error_of([&] { TextFeed(blocks, 0, 1); }) ==
        "TextFeed: expected a batch of 1 to the number of blocks, 13, found 0");
  CHECK(error_of([&] { TextBatches(TextFeed(blocks, 4, 1), {}, 3); }) ==
        "TextBatches: expected micro-batches that divide a batch of 4, found 3");
  CHECK(error_of([] {
          BasicPrefetcher<std::int32_t>(1, 1, [](auto...) {}, {.beside = 0});
        }) == "Prefetcher: PrefetchOptions::beside: expected 1 or more, found 0");
}
