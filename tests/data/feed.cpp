// SPDX-License-Identifier: MIT
// Training batches: every image once an epoch, the same for any way of making them ahead.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <data2vec/data/feed.hpp>
#include <data2vec/data/loader.hpp>

#include "tests/data/image_files.hpp"

namespace d2v = data2vec;
using namespace image_files;

namespace {

d2v::ImageDataset files(const Folder& folder, int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    names.push_back(std::to_string(i));
    Bytes file = png(pattern(9 + i % 3, 8, 3));
    if (i == 4) file[file.size() / 2] ^= 0xff;
    folder.write(names.back(), file);
  }
  return d2v::ImageDataset::from_files(folder.text(), names, {}, {}, {.max_broken = 0.2});
}

}  // namespace

TEST_CASE("feed: the same samples for every depth and number of threads, broken files included") {
  const Folder folder("feed");
  const auto data = files(folder, 10);
  std::vector<std::vector<float>> runs;
  const d2v::PrefetchOptions kinds[] = {{.depth = 0}, {.depth = 1}, {.depth = 4, .threads = 3}};
  for (const auto& options : kinds) {
    d2v::ImageFeed feed(data, {.size = 8}, 3, 5);
    d2v::Prefetcher batches(3, feed.sample_size(), feed, options);
    std::vector<float> all;
    for (int b = 0; b < 9; ++b) {
      const auto batch = batches.next();
      all.insert(all.end(), batch.samples.begin(), batch.samples.end());
      all.insert(all.end(), batch.ids.begin(), batch.ids.end());
    }
    runs.push_back(std::move(all));
  }
  CHECK(runs[0] == runs[1]);
  CHECK(runs[0] == runs[2]);
  CHECK(data.skipped().total() == 1);
}

TEST_CASE("feed: an epoch has every image at most once, the next one another order and other views") {
  const Folder folder("feed_epoch");
  const auto data = files(folder, 10);
  d2v::ImageFeed feed(data, {.size = 8}, 3, 5);
  CHECK(feed.sample_size() == 192);
  REQUIRE(feed.batches_per_epoch() == 3);
  std::vector<std::uint32_t> first, second, ids(3);
  std::vector<float> samples(3 * 192), again(3 * 192);
  for (std::uint64_t b = 0; b < 6; ++b) {
    feed(b, samples.data(), ids.data());
    auto& epoch = b < 3 ? first : second;
    epoch.insert(epoch.end(), ids.begin(), ids.end());
    for (std::size_t i = 0; i < 3; ++i) {
      std::vector<float> expected(192);
      d2v::ImageTransform({.size = 8}).train(data.load(ids[i]), 5, b < 3 ? 0 : 1, ids[i], expected.data());
      CHECK(std::equal(expected.begin(), expected.end(), samples.begin() + static_cast<std::ptrdiff_t>(i * 192)));
    }
  }
  CHECK(first != second);
  for (auto* epoch : {&first, &second}) {
    std::sort(epoch->begin(), epoch->end());
    CHECK(std::adjacent_find(epoch->begin(), epoch->end()) == epoch->end());
    CHECK(epoch->back() < 10);
  }
  feed(1, samples.data(), ids.data());
  d2v::ImageFeed(data, {.size = 8}, 3, 5)(1, again.data(), ids.data());
  CHECK(samples == again);  // whatever was made before
}

TEST_CASE("feed: fewer images than a batch is an error naming both") {
  const Folder folder("feed_few");
  const auto data = files(folder, 3);
  CHECK_THROWS_WITH_AS(d2v::ImageFeed(data, {.size = 8}, 4, 5),
                       "ImageFeed: expected a batch of 1 to the number of images, 3, found 4", d2v::OptionError);
  CHECK_THROWS_AS(d2v::ImageFeed(data, {.size = 8}, 0, 5), d2v::OptionError);
}
