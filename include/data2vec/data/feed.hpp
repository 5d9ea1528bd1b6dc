// SPDX-License-Identifier: MIT
// Random views of images for training, and batches of them made ahead: random order by epoch, one view of each image.
// All of it is a function of seed, epoch and index. Part of data2vec::images.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <variant>

#include <data2vec/core/error.hpp>
#include <data2vec/data/augment.hpp>
#include <data2vec/data/dataset.hpp>
#include <data2vec/data/images.hpp>
#include <data2vec/data/loader.hpp>

namespace data2vec::inline v0 {

/// Images as they are, shifted by some pixels and flipped: for small ones that fill the model's size (MNIST, CIFAR-10).
struct ShiftedView {
  Extent size = 28;
  ChannelStatistics statistics = {};  ///< what is subtracted and divided by
  ShiftAndFlip augment = {};
};

/// What a training sees of an image: the reference's random resized crop and flip (`ImageTransformOptions`), or shifts.
using TrainingView = std::variant<ImageTransformOptions, ShiftedView>;

/// Random views of the images of a data set. Holds scratch memory: one (a copy) for each thread.
class ImageViews {
 public:
  /// `data` is shared, not copied; `channels` 0: as many as its images have. Throws OptionError for a view that cannot
  /// be, MismatchError for a ShiftedView of images of another size.
  ImageViews(const ImageDataset& data, const TrainingView& view, int channels = 0)
      : data_(data), channels_(channels > 0 ? channels : data.channels()),
        transform_(std::holds_alternative<ImageTransformOptions>(view) ? std::get<ImageTransformOptions>(view)
                                                                       : ImageTransformOptions{}) {
    const ShiftedView* const shifted = std::get_if<ShiftedView>(&view);
    if (!shifted) return;
    shifts_ = true, shifted_ = *shifted;
    if (data.height() != shifted->size.height || data.width() != shifted->size.width)
      throw MismatchError("ShiftedView: expected images of " + std::to_string(shifted->size.height) + " x " +
                          std::to_string(shifted->size.width) + ", found " +
                          (data.height() == 0 ? "mixed sizes"
                                              : std::to_string(data.height()) + " x " + std::to_string(data.width())));
  }

  const ImageDataset& data() const { return data_; }

  /// Numbers of a view.
  std::size_t sample_size() const {
    const Extent size = shifts_ ? shifted_.size : transform_.options().size;
    return static_cast<std::size_t>(channels_) * static_cast<std::size_t>(size.height) *
           static_cast<std::size_t>(size.width);
  }

  /// The view of image `index` in an epoch: `out` (channels, height, width). Where the image is broken, it is the view
  /// of the one that ImageDataset::load() takes instead; returns the label of the one that was taken, -1 without labels.
  int operator()(std::size_t index, std::uint64_t seed, std::uint32_t epoch, float* out) {
    std::size_t used = 0;
    const Image image = with_channels(data_.load(index, &used), channels_);
    const auto id = static_cast<std::uint32_t>(index);
    if (shifts_)
      shifted_image(image.pixels.data(), shifted_.size, channels_, shifted_.statistics, shifted_.augment, seed, epoch,
                    id, out);
    else
      transform_.train(image, seed, epoch, id, out);
    return data_.label(used);
  }

 private:
  ImageDataset data_;
  int channels_;
  bool shifts_ = false;
  ShiftedView shifted_ = {};
  ImageTransform transform_;
};

/// Fills batch after batch for a Prefetcher: epoch = index / batches_per_epoch(), the last partial batch of an epoch is
/// dropped. Holds scratch memory: one (a copy) for each thread.
class ImageFeed {
 public:
  /// Throws OptionError where the data set is smaller than a batch.
  ImageFeed(ImageViews views, int batch, std::uint64_t seed)
      : views_(std::move(views)), order_(static_cast<std::uint32_t>(views_.data().size()), seed), seed_(seed) {
    const std::size_t images = views_.data().size();
    if (batch < 1 || images < static_cast<std::size_t>(batch))
      throw OptionError("ImageFeed: expected a batch of 1 to the number of images, " + std::to_string(images) +
                        ", found " + std::to_string(batch));
    if (images > std::numeric_limits<std::uint32_t>::max())
      throw OptionError("ImageFeed: expected less than 2^32 images, found " + std::to_string(images));
    batch_ = static_cast<std::size_t>(batch);
  }

  std::size_t sample_size() const { return views_.sample_size(); }
  std::size_t batch() const { return batch_; }
  std::uint64_t batches_per_epoch() const { return views_.data().size() / batch_; }

  /// Writes batch `index`: samples (n, C, height, width) and their indices in the data set.
  void operator()(std::uint64_t index, float* samples, std::uint32_t* ids) {
    const auto epoch = static_cast<std::uint32_t>(index / batches_per_epoch());
    const std::size_t begin = static_cast<std::size_t>(index % batches_per_epoch()) * batch_;
    const auto order = order_.of(epoch).subspan(begin, batch_);
    for (std::size_t i = 0; i < batch_; ++i) {
      ids[i] = order[i];
      views_(ids[i], seed_, epoch, samples + i * sample_size());
    }
  }

 private:
  ImageViews views_;
  EpochOrder order_;
  std::uint64_t seed_;
  std::size_t batch_ = 0;
};

/// The batches of a training from a feed, made ahead by a thread, each in micro-batches of equal size.
class ImageBatches {
 public:
  /// `first`: the batch with which to begin. Throws OptionError unless the micro-batches divide the batch.
  explicit ImageBatches(const ImageFeed& feed, std::uint64_t first = 0, int micro_batches = 1)
      : parts_(static_cast<std::size_t>(micro_batches)), part_(parts_), sample_size_(feed.sample_size()),
        prefetcher_(static_cast<int>(feed.batch()), feed.sample_size(), feed, {.first = first}) {
    if (micro_batches < 1 || feed.batch() % parts_ != 0)
      throw OptionError("ImageBatches: expected micro-batches that divide a batch of " + std::to_string(feed.batch()) +
                        ", found " + std::to_string(micro_batches));
  }

  /// The next micro-batch, valid until the next call; `index` is that of its batch.
  PrefetchedBatch next() {
    if (part_ == parts_) current_ = prefetcher_.next(), part_ = 0;
    const std::size_t n = current_.ids.size() / parts_, begin = n * part_++;
    return {current_.index, current_.samples.subspan(begin * sample_size_, n * sample_size_),
            current_.ids.subspan(begin, n)};
  }

 private:
  std::size_t parts_, part_, sample_size_;
  Prefetcher prefetcher_;
  PrefetchedBatch current_;
};

}  // namespace data2vec::inline v0
