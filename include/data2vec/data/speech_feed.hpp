// SPDX-License-Identifier: MIT
// Batches of recordings by length for a Prefetcher: one bucket each, cropped at random or padded with zeros, with the
// true lengths. Part of data2vec::audio.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/data/buckets.hpp>
#include <data2vec/data/loader.hpp>
#include <data2vec/data/recordings.hpp>
#include <data2vec/data/waveform.hpp>

namespace data2vec::inline v0 {

/// A batch of recordings as a model wants it, valid as long as the PrefetchedBatch that it is a view of.
struct SpeechBatch {
  int bucket = 0, rows = 0, length = 0;
  std::span<const float> samples;        ///< (rows, length)
  std::span<const std::uint32_t> ids;    ///< (rows) recordings that were drawn: they key all randomness
  std::span<const std::uint32_t> used;   ///< (rows) recordings that were read: others where those drawn are broken
  std::span<const std::uint32_t> valid;  ///< (rows) samples before the padding, 1 .. length
};

/// Fills batch after batch; what it writes is a function of (seed, index) and the data. Holds scratch memory: one (a
/// copy) for each thread.
template <class B>
class SpeechFeed {
 public:
  /// `recordings` is shared, not copied. Throws what BucketPlan throws.
  SpeechFeed(const Recordings& recordings, const BucketOptions& options, std::uint64_t seed)
      : recordings_(recordings), plan_(recordings.lengths(), options, seed), seed_(seed) {}

  const BucketPlan<B>& plan() const { return plan_; }
  std::uint64_t batches_per_epoch() const { return plan_.batches_per_epoch(); }

  /// The sizes to make a Prefetcher with: `Prefetcher(feed.slots(), feed.sample_size(), feed)`. A slot holds the
  /// largest batch of any bucket; of the numbers beside the samples there are four a row.
  int slots() const { return 4 * plan_.most_rows(); }
  std::size_t sample_size() const {
    const auto slots = static_cast<std::size_t>(this->slots());
    return (static_cast<std::size_t>(plan_.most_samples()) + slots - 1) / slots;
  }

  /// Writes batch `index`: samples (rows, length), then beside them bucket and rows, ids, used, valid.
  void operator()(std::uint64_t index, float* samples, std::uint32_t* beside) {
    const BucketBatch batch = plan_.batch(index);
    const auto most = static_cast<std::size_t>(plan_.most_rows());
    const auto length = static_cast<std::size_t>(batch.length);
    beside[0] = static_cast<std::uint32_t>(batch.bucket);
    if (most > 1) beside[1] = static_cast<std::uint32_t>(batch.ids.size());
    for (std::size_t row = 0; row < batch.ids.size(); ++row) {
      const std::uint32_t id = batch.ids[row];
      const Rng rng({.seed = seed_, .update = batch.epoch, .sample = id, .site = Site::augment});
      beside[most + row] = id;
      beside[2 * most + row] = static_cast<std::uint32_t>(recordings_.load(id, scratch_));
      beside[3 * most + row] = static_cast<std::uint32_t>(crop_or_pad(scratch_, rng, {samples + row * length, length}));
    }
  }

  /// What operator() has written for a batch.
  SpeechBatch view(const PrefetchedBatch& batch) const {
    const auto most = static_cast<std::size_t>(plan_.most_rows());
    SpeechBatch view;
    view.bucket = static_cast<int>(batch.ids[0]);
    view.rows = most > 1 ? static_cast<int>(batch.ids[1]) : 1;
    view.length = B::lengths.at(batch.ids[0]);
    const auto rows = static_cast<std::size_t>(view.rows);
    view.samples = batch.samples.first(rows * static_cast<std::size_t>(view.length));
    view.ids = batch.ids.subspan(most, rows);
    view.used = batch.ids.subspan(2 * most, rows);
    view.valid = batch.ids.subspan(3 * most, rows);
    return view;
  }

 private:
  Recordings recordings_;
  BucketPlan<B> plan_;
  std::uint64_t seed_;
  std::vector<float> scratch_;
};

}  // namespace data2vec::inline v0
