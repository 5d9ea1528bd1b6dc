// SPDX-License-Identifier: MIT
// The images of --data for the example programs, as the model's samples: random views for training, plain ones for
// evaluation, the choice of labelled images; and an encoder from a file.
#pragma once

#include <algorithm>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/data/feed.hpp>
#include <data2vec/data/layouts.hpp>
#include <data2vec/data/loader.hpp>
#include <data2vec/finetune/encoder_file.hpp>
#include <data2vec/training/checkpoint.hpp>

#include "examples/common.hpp"
#include "examples/demo_model.hpp"

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
    std::exception_ptr failure;
    std::mutex mutex;
    team.run([&](int thread) {
      try {
        d2v::ImageTransform transform = transform_;  // it has scratch memory
        const auto step = static_cast<std::size_t>(team.size());
        for (std::size_t i = static_cast<std::size_t>(thread); i < count; i += step) {
          std::size_t used = 0;
          transform.evaluate(d2v::with_channels(data_.load(indices_[first + i], &used), channels),
                             out + i * sample_size);
          if (labels) labels[i] = data_.label(used);
        }
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    });
    if (failure) std::rethrow_exception(failure);
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

/// One random view of an image: shifts and a flip for small grey images of the model's size, the reference's random
/// resized crop otherwise.
class RandomView {
 public:
  RandomView(const d2v::ImageDataset& data, const d2v::ChannelStatistics& statistics)
      : data_(data), small_(channels == 1 && height <= 64 && width <= 64 && fills_the_model(data)),
        pixels_{statistics.mean[0], statistics.deviation[0]},
        transform_({.size = image_size, .statistics = statistics}) {}

  /// Returns the label.
  int operator()(std::size_t i, std::uint64_t seed, std::uint32_t epoch, float* out) {
    std::size_t used = 0;
    const d2v::Image image = data_.load(i, &used);
    const auto id = static_cast<std::uint32_t>(i);
    if (small_) d2v::grey_image(image.pixels.data(), image_size, pixels_, augmentation, seed, epoch, id, out);
    else transform_.train(image, seed, epoch, id, out);
    return data_.label(used);
  }

 private:
  d2v::ImageDataset data_;
  bool small_;
  d2v::PixelStatistics pixels_;
  d2v::ImageTransform transform_;
};

/// The batches of a pre-training, made ahead by a thread: batch `update` of n images, in k micro-batches. The last
/// partial batch of an epoch is dropped.
class BatchSource {
 public:
  BatchSource(const d2v::ImageDataset& data, const d2v::ChannelStatistics& statistics, int batch, std::uint64_t seed,
              std::int64_t first, int micro_batches = 1)
      : parts_(static_cast<std::size_t>(micro_batches)), part_(parts_) {
    const auto n = static_cast<std::size_t>(batch);
    if (data.size() < n)
      throw d2v::MismatchError("--batch: expected at most as many as there are training images, " +
                               std::to_string(data.size()) + ", found " + std::to_string(batch));
    auto fill = [view = RandomView(data, statistics), n, seed, per_epoch = data.size() / n,
                 order = d2v::EpochOrder(static_cast<std::uint32_t>(data.size()), seed)](
                    std::uint64_t index, float* samples, std::uint32_t* ids) mutable {
      const auto epoch = static_cast<std::uint32_t>(index / per_epoch);
      const auto part = order.of(epoch).subspan(static_cast<std::size_t>(index % per_epoch) * n, n);
      for (std::size_t i = 0; i < n; ++i) view(ids[i] = part[i], seed, epoch, samples + i * sample_size);
    };
    prefetcher_ = std::make_unique<d2v::Prefetcher>(batch, sample_size, std::move(fill),
                                                    d2v::PrefetchOptions{.first = static_cast<std::uint64_t>(first)});
  }

  /// The next micro-batch, valid until the next call.
  d2v::Batch<float> operator()() {
    if (part_ == parts_) {
      current_ = prefetcher_->next();
      part_ = 0;
    }
    const std::size_t n = current_.ids.size() / parts_, begin = n * part_++;
    return {current_.samples.subspan(begin * sample_size, n * sample_size), current_.ids.subspan(begin, n)};
  }

 private:
  std::size_t parts_, part_;
  std::unique_ptr<d2v::Prefetcher> prefetcher_;
  d2v::PrefetchedBatch current_;
};

/// An encoder from a file: a buffer of the model's parameters, and how its images were normalised, if that is known.
struct Encoder {
  d2v::Buffer<float> weights;
  std::optional<d2v::ChannelStatistics> statistics;
};

/// Reads weights or a checkpoint; `teacher`: the teacher's. Throws FileError (also for weights that are not finite) and
/// MismatchError.
inline Encoder read_weights(const std::string& path, bool teacher) {
  const auto file = d2v::SafetensorsFile::open(path);
  const auto& metadata = file.metadata();
  Encoder encoder;
  if (metadata.contains("schema")) {
    encoder.weights = d2v::checkpoint_encoder<Model>(file, teacher);
    const d2v::Json extra = d2v::checkpoint_extra(file);
    if (extra.contains("statistics")) encoder.statistics = statistics_of(extra["statistics"]);
  } else {
    if (teacher && !(metadata.contains("encoder") && metadata.at("encoder") == "teacher"))
      throw d2v::FileError(path, "--teacher: expected a checkpoint or the weights of a teacher, found other weights");
    if (metadata.contains("configuration")) d2v::expect_configuration<Model>(file, {"model", "modality"});
    encoder.weights = d2v::read_encoder<Model>(file);
    if (metadata.contains("statistics"))
      encoder.statistics = statistics_of(d2v::parse_json(metadata.at("statistics"), path));
  }
  for (const d2v::TensorInfo& info : d2v::tensor_table<Model::Parameters<float>>)
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
      if (!d2v::is_finite(encoder.weights[i]))
        throw d2v::FileError(path, "tensor '" + std::string(info.name.view()) +
                                       "': expected finite weights, found others at element " +
                                       std::to_string(i - info.offset));
  return encoder;
}

}  // namespace demo
