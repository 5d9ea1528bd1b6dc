// SPDX-License-Identifier: MIT
// Training batches of a data set for a Prefetcher: random order by epoch, one random view of each image.
// Part of data2vec::images.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/data/augment.hpp>
#include <data2vec/data/dataset.hpp>
#include <data2vec/data/images.hpp>

namespace data2vec::inline v0 {

/// Fills batch after batch: epoch = index / batches_per_epoch(), the last partial batch of an epoch is dropped. What it
/// writes is a function of (seed, index) and the data. Holds scratch memory: one (a copy) for each thread.
class ImageFeed {
 public:
  /// Throws OptionError where the data set is smaller than a batch. `data` is shared, not copied.
  ImageFeed(const ImageDataset& data, const ImageTransformOptions& options, int batch, std::uint64_t seed)
      : data_(data), transform_(options), order_(static_cast<std::uint32_t>(data.size()), seed), seed_(seed) {
    if (batch < 1 || data.size() < static_cast<std::size_t>(batch))
      throw OptionError("ImageFeed: expected a batch of 1 to the number of images, " + std::to_string(data.size()) +
                        ", found " + std::to_string(batch));
    if (data.size() > std::numeric_limits<std::uint32_t>::max())
      throw OptionError("ImageFeed: expected less than 2^32 images, found " + std::to_string(data.size()));
    batch_ = static_cast<std::size_t>(batch);
  }

  std::size_t sample_size() const { return transform_.sample_size(data_.channels()); }
  std::uint64_t batches_per_epoch() const { return data_.size() / batch_; }

  /// Writes batch `index`: samples (n, C, height, width) and their indices in the data set. Where an image is broken,
  /// its sample is made of the one that ImageDataset::load() takes instead, under the index asked for.
  void operator()(std::uint64_t index, float* samples, std::uint32_t* ids) {
    const auto epoch = static_cast<std::uint32_t>(index / batches_per_epoch());
    const std::size_t begin = static_cast<std::size_t>(index % batches_per_epoch()) * batch_;
    const auto order = order_.of(epoch).subspan(begin, batch_);
    for (std::size_t i = 0; i < batch_; ++i) {
      ids[i] = order[i];
      transform_.train(data_.load(ids[i]), seed_, epoch, ids[i], samples + i * sample_size());
    }
  }

 private:
  ImageDataset data_;
  ImageTransform transform_;
  EpochOrder order_;
  std::uint64_t seed_;
  std::size_t batch_ = 0;
};

}  // namespace data2vec::inline v0
