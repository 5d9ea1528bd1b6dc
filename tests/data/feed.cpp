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

const d2v::ImageTransformOptions crops{.size = 8};

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
    d2v::ImageFeed feed({data, crops}, 3, 5);
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
  d2v::ImageFeed feed({data, crops}, 3, 5);
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
      d2v::ImageTransform(crops).train(data.load(ids[i]), 5, b < 3 ? 0 : 1, ids[i], expected.data());
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
  d2v::ImageFeed({data, crops}, 3, 5)(1, again.data(), ids.data());
  CHECK(samples == again);  // whatever was made before
}

TEST_CASE("feed: fewer images than a batch is an error naming both") {
  const Folder folder("feed_few");
  const auto data = files(folder, 3);
  CHECK_THROWS_WITH_AS(d2v::ImageFeed({data, crops}, 4, 5),
                       "ImageFeed: expected a batch of 1 to the number of images, 3, found 4", d2v::OptionError);
  CHECK_THROWS_AS(d2v::ImageFeed({data, crops}, 0, 5), d2v::OptionError);
}

TEST_CASE("feed: shifted views move every channel by the same draws, and are of the images' own size") {
  const Folder folder("feed_shifted");
  for (const int channels : {1, 3}) {
    const std::string name = std::to_string(channels);
    const d2v::Image image = pattern(8, 6, channels);
    folder.write(name, png(image));
    const auto data = d2v::ImageDataset::from_files(folder.text(), {name}, {}, {});
    d2v::ChannelStatistics statistics;  // deviations of 1 / 255: numbers are then bytes, and black is 0
    statistics.deviation.fill(1.0f / 255);
    const d2v::ShiftedView view{.size = {8, 6}, .statistics = statistics, .augment = {.shift = 2, .flip = true}};
    d2v::ImageViews views(data, view);
    REQUIRE(views.sample_size() == static_cast<std::size_t>(48 * channels));
    std::vector<float> sample(views.sample_size()), plane(48);
    for (std::uint32_t epoch = 0; epoch < 20; ++epoch) {
      CHECK(views(0, 5, epoch, sample.data()) == -1);
      for (int c = 0; c < channels; ++c) {
        std::vector<std::uint8_t> pixels;
        for (std::size_t i = 0; i < 48; ++i)
          pixels.push_back(image.pixels[i * static_cast<std::size_t>(channels) + static_cast<std::size_t>(c)]);
        d2v::shifted_image(pixels.data(), {8, 6}, 1, statistics, view.augment, 5, epoch, 0, plane.data());
        CHECK(std::equal(plane.begin(), plane.end(), sample.begin() + 48 * c));
      }
    }
    CHECK_THROWS_WITH_AS(d2v::ImageViews(data, d2v::ShiftedView{.size = 8}),
                         "ShiftedView: expected images of 8 x 8, found 8 x 6", d2v::MismatchError);
  }
}

TEST_CASE("feed: micro-batches are the batch, from any first batch on") {
  const Folder folder("feed_micro");
  const auto data = files(folder, 10);
  const d2v::ImageFeed feed({data, crops}, 4, 5);
  d2v::ImageBatches whole(feed), halves(feed, 1, 2);
  whole.next();
  for (std::uint64_t b = 1; b < 4; ++b) {
    const auto batch = whole.next();
    REQUIRE(batch.index == b);
    for (std::size_t half = 0; half < 2; ++half) {
      const auto part = halves.next();
      CHECK(part.index == b);
      REQUIRE(part.ids.size() == 2);
      CHECK(std::equal(part.ids.begin(), part.ids.end(), batch.ids.begin() + static_cast<std::ptrdiff_t>(2 * half)));
      REQUIRE(part.samples.size() == 2 * 192);
      CHECK(std::equal(part.samples.begin(), part.samples.end(),
                       batch.samples.begin() + static_cast<std::ptrdiff_t>(2 * 192 * half)));
    }
  }
  for (const int parts : {3, 0})
    CHECK_THROWS_WITH_AS(d2v::ImageBatches(feed, 0, parts),
                         ("ImageBatches: expected micro-batches that divide a batch of 4, found " +
                          std::to_string(parts)).c_str(), d2v::OptionError);
}
