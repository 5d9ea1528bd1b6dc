// SPDX-License-Identifier: MIT
// The images of --data for the example programs, as the model's samples: random views for training, plain ones for
// evaluation, the choice of labelled images.
#pragma once

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/data/feed.hpp>
#include <data2vec/data/layouts.hpp>

#include "examples/common/encoder.hpp"
#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/common/threads.hpp"
#include "examples/vision/model.hpp"

namespace demo {

inline constexpr const char* default_data = "/usr/share/datasets/fashion-mnist";
inline constexpr d2v::Extent image_size{height, width};
inline constexpr std::size_t sample_size = Images::sample_size;

/// What says which images.
struct DataOptions {
  std::string directory = default_data;
  int size = 0;
  double max_broken = 0.01;

  void add_to(CLI::App& app) {
    app.add_option("--data", directory, "folder of IDX files, CIFAR-10's, or train/<class>/* and test/<class>/*");
    app.add_option("--size", size, "resize images of another size to the model's N x N")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--max-broken", max_broken, "share of the image files that may be broken")
        ->check(CLI::Range(0.0, 1.0));
  }
};

inline std::string shape_text(int rows, int columns, int planes) {
  return rows == 0 ? formatted("mixed sizes x %d", planes) : formatted("%d x %d x %d", rows, columns, planes);
}

/// Opens --data for the model that the program was compiled for. Throws MissingData, UsageError and the library's.
inline d2v::ImageSets open_data(const DataOptions& options) {
  std::error_code error;
  if (!std::filesystem::is_directory(options.directory, error))
    throw MissingData(options.directory + ": expected a folder of images, found none. Fashion-MNIST: sudo apt-get " +
                      "install dataset-fashion-mnist, then --data " + default_data);
  if (options.size != 0 && (options.size != height || options.size != width))
    throw UsageError(formatted("--size: this program was compiled for images of %d x %d, found %d", height, width,
                               options.size));
  d2v::ImageSets sets = d2v::open_images(options.directory, {.max_broken = options.max_broken});
  const d2v::ImageDataset& train = sets.train;
  const bool same_size = train.height() == height && train.width() == width;
  if (train.channels() != channels || (!same_size && options.size == 0))
    throw d2v::MismatchError(options.directory + ": expected images of " + shape_text(height, width, channels) +
                             ", for which this program was compiled, found " +
                             shape_text(train.height(), train.width(), train.channels()) +
                             ": ./run compiles the programs for --data DIR" +
                             (train.height() == 0 ? ", with --size N for mixed sizes" : ""));
  return sets;
}

/// The labels' names; throws MismatchError where there are none, or others than the program was compiled for.
inline const std::vector<std::string>& expect_classes(const d2v::ImageDataset& data, const std::string& directory) {
  if (data.classes().empty())
    throw d2v::MismatchError(directory + ": expected images with labels (IDX, CIFAR-10, train/<class>/*), found none");
  if (data.classes().size() > static_cast<std::size_t>(classes))
    throw d2v::MismatchError(directory + ": expected at most " + std::to_string(classes) +
                             " classes, for which this program was compiled, found " +
                             std::to_string(data.classes().size()));
  return data.classes();
}

inline d2v::Json json_of(const d2v::ChannelStatistics& s) { return {{"mean", s.mean}, {"deviation", s.deviation}}; }
inline d2v::ChannelStatistics statistics_of(const d2v::Json& json) {
  return {json.at("mean").get<std::array<float, 3>>(), json.at("deviation").get<std::array<float, 3>>()};
}

inline bool fills_the_model(const d2v::ImageDataset& data) { return data.height() == height && data.width() == width; }

/// make(view, i) for all i < count, on all threads: each has a copy of `view`, for views have scratch memory. What
/// `make` throws is thrown at the end.
template <class View, class Make>
void each_view(d2v::ThreadTeam& team, std::size_t count, const View& view, Make&& make) {
  run_all(team, [&](int thread) {
    View own = view;
    const auto step = static_cast<std::size_t>(team.size());
    for (std::size_t i = static_cast<std::size_t>(thread); i < count; i += step) make(own, i);
  });
}

/// Plain views of some images: resized and cut to the model's size where they have another one, normalised.
class Views {
 public:
  Views(const d2v::ImageDataset& data, const d2v::ChannelStatistics& statistics, std::vector<std::size_t> indices)
      : data_(data), indices_(std::move(indices)),
        transform_({.size = image_size, .statistics = statistics, .keep = fills_the_model(data) ? 1.0 : 0.0}) {}
  /// All of a data set.
  Views(const d2v::ImageDataset& data, const d2v::ChannelStatistics& statistics) : Views(data, statistics, {}) {
    indices_.resize(data.size());
    std::iota(indices_.begin(), indices_.end(), std::size_t{0});
  }

  std::size_t size() const { return indices_.size(); }

  /// Samples first .. first + count - 1 into `out` (count, sample_size), their labels into `labels` unless it is null.
  void load(d2v::ThreadTeam& team, std::size_t first, std::size_t count, float* out, int* labels = nullptr) const {
    each_view(team, count, transform_, [&](d2v::ImageTransform& transform, std::size_t i) {
      std::size_t used = 0;
      transform.evaluate(d2v::with_channels(data_.load(indices_[first + i], &used), channels), out + i * sample_size);
      if (labels) labels[i] = data_.label(used);
    });
  }

 private:
  d2v::ImageDataset data_;
  std::vector<std::size_t> indices_;
  d2v::ImageTransform transform_;
};

/// `count` images to be used with their labels (0: all), a function of the seed: equally many of each class as far as
/// there are, in an order in which every beginning is as balanced.
inline std::vector<std::size_t> choose_labelled(const d2v::ImageDataset& data, std::size_t count, std::uint64_t seed) {
  const std::size_t n = data.size();
  std::vector<std::vector<std::size_t>> of_class(data.classes().size());
  d2v::EpochOrder order(static_cast<std::uint32_t>(n), seed);
  for (const std::uint32_t i : order.of(0))
    of_class[static_cast<std::size_t>(data.label(i))].push_back(i);
  std::vector<std::size_t> chosen;
  for (std::size_t round = 0; chosen.size() < n; ++round)
    for (const auto& members : of_class)
      if (round < members.size()) chosen.push_back(members[round]);
  if (count > 0 && count < n) chosen.resize(count);
  return chosen;
}

/// Random views for training: shifts and a flip for small grey images of the model's size, the reference's random
/// resized crop otherwise.
struct RandomView : d2v::ImageViews {
  RandomView(const d2v::ImageDataset& images, const d2v::ChannelStatistics& statistics)
      : d2v::ImageViews(images, view_of(images, statistics), channels) {}

  static d2v::TrainingView view_of(const d2v::ImageDataset& images, const d2v::ChannelStatistics& statistics) {
    if (channels == 1 && height <= 64 && width <= 64 && fills_the_model(images))
      return d2v::ShiftedView{.size = image_size, .statistics = statistics, .augment = augmentation};
    return d2v::ImageTransformOptions{.size = image_size, .statistics = statistics};
  }
};

/// The batches of a pre-training from batch `first` on, each in k micro-batches.
inline d2v::ImageBatches batches_of(const d2v::ImageDataset& images, const d2v::ChannelStatistics& statistics,
                                    int batch, std::uint64_t seed, std::int64_t first, int micro_batches = 1) {
  if (images.size() < static_cast<std::size_t>(batch))
    throw d2v::MismatchError("--batch: expected at most as many as there are training images, " +
                             std::to_string(images.size()) + ", found " + std::to_string(batch));
  return d2v::ImageBatches(d2v::ImageFeed(RandomView(images, statistics), batch, seed),
                           static_cast<std::uint64_t>(first), micro_batches);
}

/// How the images of an encoder were normalised, if its file says so.
inline std::optional<d2v::ChannelStatistics> statistics_of(const Encoder& encoder) {
  if (!encoder.kept.contains("statistics")) return {};
  return statistics_of(encoder.kept["statistics"]);
}

/// How the images of a training are normalised: as the resumed one did, or by their own statistics. Throws
/// MismatchError where a resumed training had another number of images.
inline d2v::ChannelStatistics statistics_for(const d2v::Json& extra, const d2v::ImageDataset& images,
                                             const std::string& directory) {
  if (extra.empty()) return d2v::channel_statistics(images);
  if (extra["images"] != images.size())
    throw d2v::MismatchError(directory + ": expected the " + extra["images"].dump() +
                             " training images with which this training began, found " + std::to_string(images.size()));
  return statistics_of(extra["statistics"]);
}

/// What a pre-training on images feeds on (see common/pretraining.hpp).
class ImageSource {
 public:
  static constexpr const char* unit = "images";
  ImageSource(const d2v::ImageDataset& images, const d2v::ChannelStatistics& statistics)
      : images_(images), statistics_(statistics) {}

  auto batches(const PretrainOptions& o, std::int64_t first) const {
    return Stream{batches_of(images_, statistics_, o.batch, o.seed, first, o.accumulation)};
  }
  double bytes(int batch) const {
    const double images = fills_the_model(images_) ? static_cast<double>(images_.size() * sample_size) : 0;
    return images + 3.0 * batch * static_cast<double>(sample_size * sizeof(float));
  }
  d2v::Json kept() const { return {{"images", images_.size()}, {"statistics", json_of(statistics_)}}; }

 private:
  struct Stream {
    d2v::ImageBatches batches;
    d2v::Batch<float> next() {
      const d2v::PrefetchedBatch batch = batches.next();
      return {batch.samples, batch.ids};
    }
  };
  const d2v::ImageDataset& images_;
  const d2v::ChannelStatistics& statistics_;
};

}  // namespace demo
