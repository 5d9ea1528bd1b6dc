// SPDX-License-Identifier: MIT
// Batches of token blocks, made ahead: every block once an epoch in random order, with how much of each is no padding.
// A batch is a function of seed and number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/data/blocks.hpp>
#include <data2vec/data/images.hpp>
#include <data2vec/data/loader.hpp>

namespace data2vec::inline v0 {

/// A batch of token ids as a model of text wants it, valid until the next one is asked for.
struct TextBatch {
  std::uint64_t index = 0;
  std::span<const std::int32_t> samples;  ///< (n, T)
  std::span<const std::uint32_t> ids;     ///< (n) the numbers of the blocks: they key all randomness
  std::span<const int> lengths;           ///< (n) tokens in front of the padding, 1 .. T
};

/// Fills batch after batch for a BasicPrefetcher<std::int32_t> with two numbers beside each sample: epoch = index /
/// batches_per_epoch(), the last partial batch of an epoch is dropped. Holds scratch memory: one (a copy) for each
/// thread.
class TextFeed {
 public:
  static constexpr int beside = 2;  ///< the number of the block, its tokens in front of the padding

  /// `blocks` must outlive this. Throws OptionError where there are fewer blocks than a batch has.
  TextFeed(const TokenBlocks& blocks, int batch, std::uint64_t seed)
      : blocks_(&blocks), batch_(static_cast<std::size_t>(batch)), order_(count_of(blocks, batch), seed) {}

  std::size_t sample_size() const { return static_cast<std::size_t>(blocks_->tokens()); }
  std::size_t batch() const { return batch_; }
  std::uint64_t batches_per_epoch() const { return blocks_->size() / batch_; }

  /// Writes batch `index`: token ids (n, T), then beside them the blocks' numbers (n) and lengths (n).
  void operator()(std::uint64_t index, std::int32_t* samples, std::uint32_t* numbers) {
    const auto epoch = static_cast<std::uint32_t>(index / batches_per_epoch());
    const std::size_t begin = static_cast<std::size_t>(index % batches_per_epoch()) * batch_;
    const auto order = order_.of(epoch).subspan(begin, batch_);
    for (std::size_t i = 0; i < batch_; ++i) {
      numbers[i] = order[i];
      numbers[batch_ + i] =
          static_cast<std::uint32_t>(blocks_->read(order[i], {samples + i * sample_size(), sample_size()}));
    }
  }

 private:
  static std::uint32_t count_of(const TokenBlocks& blocks, int batch) {
    if (batch < 1 || blocks.size() < static_cast<std::uint64_t>(batch))
      throw OptionError("TextFeed: expected a batch of 1 to the number of blocks, " + std::to_string(blocks.size()) +
                        ", found " + std::to_string(batch));
    if (blocks.size() > std::numeric_limits<std::uint32_t>::max())
      throw OptionError("TextFeed: expected less than 2^32 blocks, found " + std::to_string(blocks.size()));
    return static_cast<std::uint32_t>(blocks.size());
  }

  const TokenBlocks* blocks_;
  std::size_t batch_;
  EpochOrder order_;
};

/// The batches of a training from a feed, made ahead by a thread, each in micro-batches of equal size.
class TextBatches {
 public:
  /// `options.first`: the batch with which to begin. Throws OptionError unless the micro-batches divide the batch.
  explicit TextBatches(const TextFeed& feed, PrefetchOptions options = {}, int micro_batches = 1)
      : parts_(static_cast<std::size_t>(micro_batches)), part_(parts_), sample_size_(feed.sample_size()),
        lengths_(feed.batch()), prefetcher_(static_cast<int>(feed.batch()), feed.sample_size(), feed, with(options)) {
    if (micro_batches < 1 || feed.batch() % parts_ != 0)
      throw OptionError("TextBatches: expected micro-batches that divide a batch of " + std::to_string(feed.batch()) +
                        ", found " + std::to_string(micro_batches));
  }

  /// The next micro-batch; `index` is that of its batch.
  TextBatch next() {
    const std::size_t all = lengths_.size(), n = all / parts_;
    if (part_ == parts_) {
      current_ = prefetcher_.next(), part_ = 0;
      for (std::size_t i = 0; i < all; ++i) lengths_[i] = static_cast<int>(current_.ids[all + i]);
    }
    const std::size_t begin = n * part_++;
    return {current_.index, current_.samples.subspan(begin * sample_size_, n * sample_size_),
            current_.ids.subspan(begin, n), std::span<const int>(lengths_.data() + begin, n)};
  }

 private:
  static PrefetchOptions with(PrefetchOptions options) {
    options.beside = TextFeed::beside;
    return options;
  }

  std::size_t parts_, part_, sample_size_;
  Buffer<int> lengths_;
  BasicPrefetcher<std::int32_t> prefetcher_;
  BasicPrefetchedBatch<std::int32_t> current_;
};

}  // namespace data2vec::inline v0
