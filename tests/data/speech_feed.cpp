// SPDX-License-Identifier: MIT
// Batches of recordings through the prefetcher: rows are what recordings and keys say, for any number of threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <data2vec/data/speech_feed.hpp>

#include "tests/data/audio_files.hpp"

namespace d2v = data2vec;
using namespace audio_files;
using Two = d2v::Buckets<300, 600>;

namespace {

d2v::Recordings make(const Folder& folder) {
  for (std::uint32_t i = 0; i < 14; ++i)
    sound(folder.file(std::to_string(100 + i) + ".wav"), noise(200 + 50 * i, i), 16'000);
  return d2v::Recordings(d2v::open_manifest(folder.text()), {.max_broken = 0.2});
}

struct Copy {
  int bucket;
  std::vector<float> samples;
  std::vector<std::uint32_t> ids, used, valid;
  bool operator==(const Copy&) const = default;
};

std::vector<Copy> run(const d2v::SpeechFeed<Two>& feed, const d2v::PrefetchOptions& options, int batches) {
  d2v::Prefetcher prefetcher(feed.slots(), feed.sample_size(), feed, options);
  std::vector<Copy> all;
  for (int b = 0; b < batches; ++b) {
    const auto prefetched = prefetcher.next();
    const d2v::SpeechBatch batch = feed.view(prefetched);
    CHECK(batch.samples.size() == static_cast<std::size_t>(batch.rows * batch.length));
    all.push_back({batch.bucket,
                   {batch.samples.begin(), batch.samples.end()},
                   {batch.ids.begin(), batch.ids.end()},
                   {batch.used.begin(), batch.used.end()},
                   {batch.valid.begin(), batch.valid.end()}});
  }
  return all;
}

}  // namespace

TEST_CASE("speech feed: rows are stretches of their recordings, or the whole and zeros") {
  const Folder folder("feed");
  const d2v::Recordings data = make(folder);
  for (const d2v::BucketFit fit : {d2v::BucketFit::crop, d2v::BucketFit::pad}) {
    const d2v::SpeechFeed<Two> feed(data, {.fit = fit, .max_samples = 1800, .drop_partial = false}, 3);
    CHECK(feed.plan().left_out() == (fit == d2v::BucketFit::pad ? 5 : 0));
    std::vector<float> samples;
    for (const Copy& batch : run(feed, {.depth = 0}, 2 * static_cast<int>(feed.batches_per_epoch()))) {
      const auto length = static_cast<std::size_t>(Two::lengths[static_cast<std::size_t>(batch.bucket)]);
      for (std::size_t row = 0; row < batch.ids.size(); ++row) {
        CHECK(batch.used[row] == batch.ids[row]);
        data.read(batch.ids[row], samples);
        CHECK(batch.valid[row] == std::min(samples.size(), length));
        if (fit == d2v::BucketFit::pad) CHECK(batch.valid[row] == samples.size());
        const auto begin = batch.samples.begin() + static_cast<std::ptrdiff_t>(row * length);
        const auto end = begin + static_cast<std::ptrdiff_t>(batch.valid[row]);
        CHECK(std::search(samples.begin(), samples.end(), begin, end) != samples.end());
        CHECK(std::all_of(end, begin + static_cast<std::ptrdiff_t>(length), [](float x) { return x == 0; }));
      }
    }
  }
}

TEST_CASE("speech feed: the same for any number of threads, from any batch on; epochs crop elsewhere") {
  const Folder folder("feed_threads");
  const d2v::SpeechFeed<Two> feed(make(folder), {.max_samples = 1200, .max_rows = 3}, 3);
  const int epoch = static_cast<int>(feed.batches_per_epoch());
  const auto plain = run(feed, {.depth = 0}, 3 * epoch);
  CHECK(run(feed, {.depth = 4, .threads = 3}, 3 * epoch) == plain);
  CHECK(run(feed, {.depth = 1, .first = 4}, 3 * epoch - 4) == std::vector<Copy>(plain.begin() + 4, plain.end()));
  const auto first_of = [&](int from, std::uint32_t id) {  // the row of a recording in an epoch
    for (int b = from; b < from + epoch; ++b)
      for (const Copy& c = plain[static_cast<std::size_t>(b)]; const std::uint32_t& i : c.ids)
        if (i == id) {
          const auto length = Two::lengths[static_cast<std::size_t>(c.bucket)];
          const auto begin = c.samples.begin() + (&i - c.ids.data()) * length;
          return std::vector<float>(begin, begin + length);
        }
    return std::vector<float>();
  };
  int different = 0;
  for (std::uint32_t id = 3; id < 14; ++id) different += first_of(0, id) != first_of(epoch, id);
  CHECK(different > 5);
}

TEST_CASE("speech feed: a broken recording's row is made of the next good one, and says so") {
  const Folder folder("feed_broken");
  const d2v::Recordings data = make(folder);
  std::filesystem::remove(folder.file("105.wav"));
  const d2v::SpeechFeed<Two> feed(data, {.max_samples = 1, .drop_partial = false}, 3);  // single rows
  int replaced = 0;
  for (const Copy& batch : run(feed, {.depth = 0}, static_cast<int>(feed.batches_per_epoch()))) {
    REQUIRE(batch.ids.size() == 1);
    CHECK(batch.used[0] == (batch.ids[0] == 5 ? 6 : batch.ids[0]));
    replaced += batch.ids[0] == 5;
  }
  CHECK(replaced == 1);
  CHECK(data.skipped().total() == 1);
}
