// SPDX-License-Identifier: MIT
// One interface for images, labelled or not, in memory or in files. What is broken is counted by reason and skipped up
// to a limit. Part of data2vec::images.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/decode.hpp>
#include <data2vec/data/idx.hpp>
#include <data2vec/data/pixels.hpp>
#include <data2vec/data/skips.hpp>
#include <data2vec/io/file.hpp>

namespace data2vec::inline v0 {

/// How files of images are treated.
struct FileOptions {
  double max_broken = 0.01;  ///< share of the files that may be broken before that is an error
  /// Read the header of every file at once: sizes and kinds are known and files without one are left out. Otherwise
  /// nothing is opened before it is loaded, all images become RGB and the size counts as mixed.
  bool scan = true;
};

/// The classes of CIFAR-10 in the order of its labels.
inline constexpr std::array<const char*, 10> cifar10_classes{"airplane", "automobile", "bird",  "cat",  "deer",
                                                             "dog",      "frog",       "horse", "ship", "truck"};

/// Images by index, with their labels where there are any. Copies share the data; everything const is thread-safe.
class ImageDataset {
 public:
  ImageDataset() = default;  ///< no images

  /// Grey images in memory. Classes are named by their numbers, at least `classes` of them.
  static ImageDataset from_idx(IdxSet set, const std::string& name, int classes = 0) {
    ImageDataset data;
    for (const std::uint8_t label : set.labels) classes = std::max(classes, label + 1);
    for (int c = 0; c < classes; ++c) data.classes_.push_back(std::to_string(c));
    data.labels_.assign(set.labels.begin(), set.labels.end());
    data.set_shape(set.images.rows, set.images.cols, 1);
    data.sources_ = {{0, name}};
    data.size_ = static_cast<std::size_t>(set.images.count);
    data.packed_ = std::make_shared<const std::vector<std::uint8_t>>(std::move(set.images.pixels));
    return data;
  }

  /// CIFAR-10's binary files in this order: records of one byte of label and 32 x 32 bytes of red, green and blue
  /// (https://www.cs.toronto.edu/~kriz/cifar.html). Throws FileError with file, offset, expected and found.
  static ImageDataset from_cifar10(std::span<const std::string> files) {
    constexpr std::size_t plane = 32 * 32, record = 1 + 3 * plane;
    ImageDataset data;
    std::vector<std::uint8_t> pixels;
    for (const std::string& file : files) {
      const std::vector<std::byte> bytes = read_file(file);
      const std::size_t records = bytes.size() / record;
      if (records == 0 || bytes.size() % record != 0)
        throw FileError(file, "truncated at offset " + std::to_string(bytes.size()) +
                                  ": expected one or more records of 3073 bytes, found " + std::to_string(records) +
                                  " and " + std::to_string(bytes.size() % record) + " bytes");
      data.sources_.push_back({data.labels_.size(), file});
      pixels.reserve(pixels.size() + records * 3 * plane);
      for (std::size_t offset = 0; offset < bytes.size(); offset += record) {
        const int label = std::to_integer<int>(bytes[offset]);
        if (label > 9)
          throw FileError(file, "label at offset " + std::to_string(offset) + ": expected 0 to 9, found " +
                                    std::to_string(label));
        data.labels_.push_back(label);
        for (std::size_t i = 0; i < plane; ++i)
          for (std::size_t c = 0; c < 3; ++c)
            pixels.push_back(std::to_integer<std::uint8_t>(bytes[offset + 1 + c * plane + i]));
      }
    }
    data.classes_.assign(cifar10_classes.begin(), cifar10_classes.end());
    data.set_shape(32, 32, 3);
    data.size_ = data.labels_.size();
    data.packed_ = std::make_shared<const std::vector<std::uint8_t>>(std::move(pixels));
    return data;
  }

  /// PNG and JPEG files `root/names[i]`, mixed at will; `labels` is empty or has one for each. Throws FileError where
  /// more of them than allowed have no valid header.
  static ImageDataset from_files(const std::string& root, std::vector<std::string> names, std::vector<int> labels,
                                 std::vector<std::string> classes, const FileOptions& options = {}) {
    if (!labels.empty() && labels.size() != names.size())
      throw OptionError("from_files: expected " + std::to_string(names.size()) + " labels, found " +
                        std::to_string(labels.size()));
    ImageDataset data;
    data.root_ = root;
    data.classes_ = std::move(classes);
    data.log_ = std::make_shared<detail::SkipLog>(root, names.size(), options.max_broken, "FileOptions",
                                                  "broken images");
    if (options.scan)
      data.scan(names, labels);
    else
      data.set_shape(0, 0, names.empty() ? 0 : 3);
    data.size_ = names.size();
    data.names_ = std::make_shared<const std::vector<std::string>>(std::move(names));
    data.labels_ = std::move(labels);
    return data;
  }

  std::size_t size() const { return size_; }
  int channels() const { return channels_; }  ///< of every loaded image: 3, or 1 where all are grey
  int height() const { return height_; }      ///< 0: mixed sizes
  int width() const { return width_; }        ///< 0: mixed sizes
  const std::vector<std::string>& classes() const { return classes_; }  ///< empty: no labels
  int label(std::size_t i) const { return labels_.empty() ? -1 : labels_.at(i); }

  /// The file of an image, with the number of its record where a file holds several.
  std::string name(std::size_t i) const {
    check_index(i);
    if (names_) return (std::filesystem::path(root_) / (*names_)[i]).string();
    const auto after = std::upper_bound(sources_.begin(), sources_.end(), i,
                                        [](std::size_t at, const auto& source) { return at < source.first; });
    const auto& source = *std::prev(after);
    return source.second + " #" + std::to_string(i - source.first);
  }

  /// The image, with channels(). A file that cannot be decoded is counted, and the next good index takes its place
  /// (i + 1, i + 2, ..., from 0 after the last): the same one whoever asks. `*used` becomes the index of the image
  /// returned; its label is label(*used). Throws FileError naming the first files where too many are broken.
  Image load(std::size_t i, std::size_t* used = nullptr) const {
    check_index(i);
    if (used) *used = i;
    if (packed_) {
      const auto bytes = static_cast<std::size_t>(height_ * width_ * channels_);
      const auto begin = packed_->begin() + static_cast<std::ptrdiff_t>(i * bytes);
      return {height_, width_, channels_, std::vector<std::uint8_t>(begin, begin + static_cast<std::ptrdiff_t>(bytes))};
    }
    for (std::size_t step = 0; step < size_; ++step) {
      const std::size_t at = (i + step) % size_;
      if (log_->broken(at)) continue;
      try {
        Image image = with_channels(decode_image(name(at)), channels_);
        if (used) *used = at;
        return image;
      } catch (const ImageError& error) {
        log_->add(at, error.reason, error.what());
      } catch (const FileError& error) {
        log_->add(at, "unreadable", error.what());
      }
    }
    throw FileError(root_, "expected an image that can be decoded, found none");
  }

  /// What was skipped so far.
  SkipReport skipped() const { return log_ ? log_->report() : SkipReport{}; }

 private:
  void set_shape(int height, int width, int channels) { height_ = height, width_ = width, channels_ = channels; }

  void check_index(std::size_t i) const {
    if (i >= size_)
      throw OptionError("index of an image: expected less than " + std::to_string(size_) + ", found " +
                        std::to_string(i));
  }

  /// Leaves out what has no valid header and learns the shape from the rest.
  void scan(std::vector<std::string>& names, std::vector<int>& labels) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string path = (std::filesystem::path(root_) / names[i]).string();
      try {
        const ImageInfo info = image_info(path);
        const bool same = kept == 0 || (info.height == height_ && info.width == width_);
        set_shape(same ? info.height : 0, same ? info.width : 0, std::max(channels_, info.channels));
        if (kept != i) names[kept] = std::move(names[i]);
        if (!labels.empty()) labels[kept] = labels[i];
        ++kept;
      } catch (const ImageError& error) {
        log_->count(error.reason, error.what());
      } catch (const FileError& error) {
        log_->count("unreadable", error.what());
      }
    }
    names.resize(kept);
    if (!labels.empty()) labels.resize(kept);
    log_->check();
  }

  std::size_t size_ = 0;
  int height_ = 0, width_ = 0, channels_ = 0;
  std::vector<std::string> classes_;
  std::vector<int> labels_;
  std::shared_ptr<const std::vector<std::uint8_t>> packed_;      // images in memory, or
  std::vector<std::pair<std::size_t, std::string>> sources_;     //   first index and name of what they came from
  std::shared_ptr<const std::vector<std::string>> names_;        // files below root_
  std::string root_;
  std::shared_ptr<detail::SkipLog> log_;
};

/// Mean and deviation by channel over at most `most` images, evenly spaced.
inline ChannelStatistics channel_statistics(const ImageDataset& data, std::size_t most = 10'000) {
  ChannelMoments moments;
  const std::size_t count = std::min(most, data.size());
  for (std::size_t i = 0; i < count; ++i) moments.add(data.load(i * data.size() / count));
  return moments.statistics();
}

}  // namespace data2vec::inline v0
