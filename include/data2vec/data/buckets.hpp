// SPDX-License-Identifier: MIT
// Recordings of any length in batches of a few static lengths. Which recordings meet in which batch is a pure function
// of (seed, epoch, index).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/core/random.hpp>

namespace data2vec::inline v0 {

/// How a recording finds its bucket.
enum class BucketFit {
  crop,  ///< the longest that it fills, so that nothing is padded; the first for those that fill none
  pad,   ///< the shortest that holds all of it, so that nothing is lost; none for those longer than the last
};

/// Static lengths in samples, ascending. A model has one type for each; which one a batch needs is the batch's choice.
template <int... samples>
struct Buckets {
  static constexpr int count = sizeof...(samples);
  static constexpr std::array<int, sizeof...(samples)> lengths{samples...};

 private:
  static constexpr bool ascending() {
    int last = 0;
    for (const int length : lengths)
      if (std::exchange(last, length) >= length) return false;
    return count > 0;
  }

 public:
  static_assert(ascending(), "data2vec: Buckets takes lengths in samples, each above 0 and above the one before");

  /// The bucket of a recording of `length` samples; -1: none.
  static constexpr int choose(std::int64_t length, BucketFit fit) {
    int bucket = 0;
    if (fit == BucketFit::crop) {
      while (bucket + 1 < count && lengths[static_cast<std::size_t>(bucket) + 1] <= length) ++bucket;
      return bucket;
    }
    while (bucket < count && lengths[static_cast<std::size_t>(bucket)] < length) ++bucket;
    return bucket < count ? bucket : -1;
  }

  /// Calls f.template operator()<length>() for the length of a bucket: from a number of run time to a type.
  template <class F>
  static void visit(int bucket, F&& f) {
    int at = 0;
    ((at++ == bucket ? static_cast<void>(f.template operator()<samples>()) : static_cast<void>(0)), ...);
  }
};

/// How batches are made.
struct BucketOptions {
  BucketFit fit = BucketFit::crop;
  std::int64_t max_samples = 1'000'000;  ///< in a batch: max_samples / length recordings, but one at least
  int max_rows = 256;                    ///< recordings in a batch at most
  int row_multiple = 1;                  ///< recordings in a batch are a multiple of this, at least that many
  /// Training drops the recordings of an epoch that do not fill a batch of their bucket; an evaluation keeps them.
  bool drop_partial = true;
  bool shuffle = true;  ///< random order, another one each epoch; else that of the recordings
};

/// One batch: recordings of one bucket.
struct BucketBatch {
  int bucket = 0;
  int length = 0;  ///< samples of a row
  std::uint32_t epoch = 0;
  std::span<const std::uint32_t> ids;  ///< indices of the recordings; valid until the plan is asked for another epoch
};

/// The batches of every epoch. An epoch has the same number of batches, and each bucket its number, whatever the order.
template <class B>
class BucketPlan {
 public:
  /// `lengths` in samples. Throws OptionError for options out of range, MismatchError where no batch can be made.
  BucketPlan(std::span<const std::int64_t> lengths, const BucketOptions& options, std::uint64_t seed)
      : options_(options), seed_(seed) {
    if (options.max_samples < 1 || options.max_rows < 1)
      throw OptionError("BucketOptions: expected max_samples and max_rows of 1 or more, found " +
                        std::to_string(options.max_samples) + " and " + std::to_string(options.max_rows));
    if (options.row_multiple < 1 || options.row_multiple > options.max_rows)
      throw OptionError("BucketOptions::row_multiple: expected 1 to " + std::to_string(options.max_rows) + ", found " +
                        std::to_string(options.row_multiple));
    if (lengths.size() > std::numeric_limits<std::uint32_t>::max())
      throw OptionError("BucketPlan: expected less than 2^32 recordings, found " + std::to_string(lengths.size()));
    std::array<std::uint32_t, B::count + 1> begin{};
    for (const std::int64_t length : lengths) {
      const int bucket = B::choose(length, options.fit);
      if (bucket < 0)
        ++left_out_;
      else
        ++begin[static_cast<std::size_t>(bucket) + 1];
    }
    for (std::size_t b = 0; b < B::count; ++b) begin[b + 1] += begin[b];
    members_.resize(begin.back());
    auto next = begin;
    for (std::size_t i = 0; i < lengths.size(); ++i)
      if (const int bucket = B::choose(lengths[i], options.fit); bucket >= 0)
        members_[next[static_cast<std::size_t>(bucket)]++] = static_cast<std::uint32_t>(i);
    for (std::size_t b = 0; b < B::count; ++b) {
      const auto rows = static_cast<std::uint32_t>(this->rows(static_cast<int>(b)));
      for (std::uint32_t at = begin[b]; at < begin[b + 1]; at += rows) {
        const std::uint32_t size = std::min(rows, begin[b + 1] - at);
        if (size < rows && options.drop_partial) break;
        batches_.push_back({static_cast<std::uint32_t>(b), at, size});
      }
    }
    if (batches_.empty())
      throw MismatchError("BucketPlan: expected recordings for one batch at least (of " + std::to_string(rows(0)) +
                          " in the shortest bucket), found " + std::to_string(lengths.size()) + ", " +
                          std::to_string(left_out_) + " of them longer than every bucket");
    begin_ = begin, order_ = members_, sequence_ = batches_;
  }

  std::uint64_t batches_per_epoch() const { return batches_.size(); }
  std::int64_t left_out() const { return left_out_; }  ///< recordings longer than every bucket (BucketFit::pad)
  /// Recordings in a full batch of a bucket.
  int rows(int bucket) const {
    const std::int64_t fitting = options_.max_samples / B::lengths.at(static_cast<std::size_t>(bucket));
    const auto rows = static_cast<int>(std::clamp<std::int64_t>(fitting, 1, options_.max_rows));
    return std::max(rows / options_.row_multiple, 1) * options_.row_multiple;
  }
  /// Recordings of a bucket, whether they fill batches or not.
  std::int64_t members(int bucket) const {
    return std::int64_t{begin_.at(static_cast<std::size_t>(bucket) + 1)} - begin_[static_cast<std::size_t>(bucket)];
  }
  int most_rows() const { return rows(0); }  ///< of any batch
  /// Samples of the largest batch of any bucket.
  std::int64_t most_samples() const {
    std::int64_t most = 0;
    for (int b = 0; b < B::count; ++b)
      most = std::max(most, std::int64_t{rows(b)} * B::lengths[static_cast<std::size_t>(b)]);
    return most;
  }

  /// Batch `index`, counted over all epochs. For one thread at a time.
  BucketBatch batch(std::uint64_t index) {
    const std::uint64_t epoch = index / batches_.size();
    if (epoch >= epoch_none)
      throw OptionError("BucketPlan: expected less than 2^32 - 1 epochs, found " + std::to_string(epoch));
    if (epoch != epoch_) shuffle(static_cast<std::uint32_t>(epoch));
    const Cut& cut = sequence_[index % batches_.size()];
    return {static_cast<int>(cut.bucket), B::lengths[cut.bucket], static_cast<std::uint32_t>(epoch),
            std::span<const std::uint32_t>(order_).subspan(cut.begin, cut.size)};
  }

 private:
  struct Cut {
    std::uint32_t bucket, begin, size;
  };
  static constexpr std::uint32_t epoch_none = ~0u;

  /// Within each bucket, then the batches: from the same start, so that no epoch depends on the one before.
  void shuffle(std::uint32_t epoch) {
    epoch_ = epoch;
    if (!options_.shuffle) return;
    order_ = members_, sequence_ = batches_;
    const auto mix = [&](auto* items, std::uint32_t size, std::uint32_t stream) {
      Rng rng({.seed = seed_, .update = epoch, .sample = stream, .site = Site::order});
      for (std::uint32_t i = size; i > 1; --i) std::swap(items[i - 1], items[rng.below(i)]);
    };
    for (std::uint32_t b = 0; b < B::count; ++b) mix(order_.data() + begin_[b], begin_[b + 1] - begin_[b], b + 1);
    mix(sequence_.data(), static_cast<std::uint32_t>(sequence_.size()), 0);
  }

  BucketOptions options_;
  std::uint64_t seed_;
  std::int64_t left_out_ = 0;
  std::array<std::uint32_t, B::count + 1> begin_{};  // of each bucket in members_ and order_
  std::vector<std::uint32_t> members_, order_;
  std::vector<Cut> batches_, sequence_;
  std::uint32_t epoch_ = epoch_none;
};

}  // namespace data2vec::inline v0
