// SPDX-License-Identifier: MIT
// From an image to what a model reads: random resized crop and flip for training, resize and central crop for
// evaluation, as torchvision does both for PIL images. Every draw is a function of (seed, epoch, sample).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/data/pixels.hpp>
#include <data2vec/data/resample.hpp>

namespace data2vec::inline v0 {

/// A random part of an image: its share of the area and its aspect (width / height). The defaults are the reference's
/// for pre-training; fine-tuning begins at an area of 0.08.
struct RandomResizedCrop {
  double min_area = 0.2, max_area = 1;             ///< 0 < min_area <= max_area <= 1
  double min_aspect = 3.0 / 4, max_aspect = 4.0 / 3;  ///< 0 < min_aspect <= max_aspect
  int tries = 10;

  /// Throws OptionError naming the field.
  void check() const {
    const auto fail = [](const char* field, const char* expected, double found) {
      throw OptionError(std::string("RandomResizedCrop::") + field + ": expected " + expected + ", found " +
                        std::to_string(found));
    };
    if (!(min_area > 0 && min_area <= 1)) fail("min_area", "more than 0 and at most 1", min_area);
    if (!(max_area >= min_area && max_area <= 1)) fail("max_area", "min_area to 1", max_area);
    if (!(min_aspect > 0)) fail("min_aspect", "more than 0", min_aspect);
    if (!(max_aspect >= min_aspect)) fail("max_aspect", "at least min_aspect", max_aspect);
    if (tries < 0) fail("tries", "0 or more", tries);
  }
};

namespace detail {

/// To the nearest whole number, halves to even as Python's round(): the reference's sizes come from there.
inline int round_even(double x) {
  const double down = std::floor(x), rest = x - down;
  const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(down, 2) != 0);
  return static_cast<int>(down) + (up ? 1 : 0);
}

}  // namespace detail

/// The central part of an image whose aspect is outside of the range, cut to it; all of the image otherwise.
inline Rectangle central_crop(const RandomResizedCrop& options, Extent image) {
  const double aspect = static_cast<double>(image.width) / image.height;
  int height = image.height, width = image.width;
  if (aspect < options.min_aspect) height = std::clamp(detail::round_even(width / options.min_aspect), 1, height);
  if (aspect > options.max_aspect) width = std::clamp(detail::round_even(height * options.max_aspect), 1, width);
  return {(image.height - height) / 2, (image.width - width) / 2, height, width};
}

/// One crop, as torchvision's RandomResizedCrop.get_params: area uniform, aspect log-uniform, rounded sizes, `tries`
/// times until one fits, then the central crop. Draws: two of Rng::uniform a try, then row and column by Rng::below.
inline Rectangle random_crop(const RandomResizedCrop& options, Extent image, Rng& rng) {
  const double area = static_cast<double>(image.height) * image.width;
  const double low = std::log(options.min_aspect), high = std::log(options.max_aspect);
  for (int i = 0; i < options.tries; ++i) {
    const double part = area * (options.min_area + (options.max_area - options.min_area) * double{rng.uniform()});
    const double aspect = std::exp(low + (high - low) * double{rng.uniform()});
    const int width = detail::round_even(std::sqrt(part * aspect));
    const int height = detail::round_even(std::sqrt(part / aspect));
    if (width < 1 || width > image.width || height < 1 || height > image.height) continue;
    const auto top = static_cast<int>(rng.below(static_cast<std::uint32_t>(image.height - height + 1)));
    const auto left = static_cast<int>(rng.below(static_cast<std::uint32_t>(image.width - width + 1)));
    return {top, left, height, width};
  }
  return central_crop(options, image);
}

/// How images become samples of a model.
struct ImageTransformOptions {
  Extent size = 224;                                    ///< of the result
  ChannelStatistics statistics = imagenet_statistics;   ///< what is subtracted and divided by
  RandomResizedCrop crop = {};                          ///< training
  bool flip = true;                                     ///< training: half of the samples are mirrored left to right
  /// Evaluation: share of the resized image's sides that the central crop keeps, in (0, 1]. 0: the reference's rule,
  /// 0.875 up to a size of 224 and 1 above. Small images that fill the model's size (CIFAR-10, MNIST) want 1.
  double keep = 0;
};

/// The rectangle of the resized image that evaluation keeps, and the size to which the image is resized for it.
struct EvaluationGeometry {
  Extent resized{1};
  Rectangle window;
};

/// Resize so that the shorter side is int(size / keep), the other one in proportion and rounded down (torchvision's
/// Resize), then the centre (CenterCrop, halves to even). An oblong result is covered in the same way.
inline EvaluationGeometry evaluation_geometry(const ImageTransformOptions& options, Extent image) {
  const int largest = std::max(options.size.height, options.size.width);
  const double keep = options.keep > 0 ? options.keep : largest <= 224 ? 0.875 : 1;
  const auto height = static_cast<std::int64_t>(options.size.height / keep);
  const auto width = static_cast<std::int64_t>(options.size.width / keep);
  Extent resized(static_cast<int>(height), static_cast<int>(width));
  if (image.height * width <= image.width * height)
    resized.width = static_cast<int>(height * image.width / image.height);
  else
    resized.height = static_cast<int>(width * image.height / image.width);
  return {resized,
          {detail::round_even((resized.height - options.size.height) / 2.0),
           detail::round_even((resized.width - options.size.width) / 2.0), options.size.height, options.size.width}};
}

/// Turns images into samples. Holds scratch memory that is kept: one (a copy) for each thread.
class ImageTransform {
 public:
  /// Throws OptionError naming the field.
  explicit ImageTransform(const ImageTransformOptions& options) : options_(options), table_(options.statistics) {
    options_.crop.check();
    if (options_.size.height < 1 || options_.size.width < 1)
      throw OptionError("ImageTransformOptions::size: expected 1 or more, found " +
                        std::to_string(options_.size.height) + " x " + std::to_string(options_.size.width));
    if (!(options_.keep >= 0 && options_.keep <= 1))
      throw OptionError("ImageTransformOptions::keep: expected 0 to 1, found " + std::to_string(options_.keep));
  }

  const ImageTransformOptions& options() const { return options_; }

  /// Numbers of a sample for images of so many channels.
  std::size_t sample_size(int channels) const {
    return static_cast<std::size_t>(channels) * static_cast<std::size_t>(options_.size.height) *
           static_cast<std::size_t>(options_.size.width);
  }

  /// A random view: crop, bicubic resize, flip, normalise. `out` is (C, size.height, size.width).
  void train(const Image& image, std::uint64_t seed, std::uint32_t epoch, std::uint32_t sample, float* out) {
    Rng rng({.seed = seed, .update = epoch, .sample = sample, .site = Site::augment});
    const Rectangle crop = random_crop(options_.crop, {image.height, image.width}, rng);
    const bool mirrored = options_.flip && rng.below(2) == 1;
    resample_(image, crop, options_.size, resized_);
    table_.apply(resized_, mirrored, out);
  }

  /// The view of evaluation: bicubic resize, centre, normalise. `out` is (C, size.height, size.width).
  void evaluate(const Image& image, float* out) {
    const EvaluationGeometry geometry = evaluation_geometry(options_, {image.height, image.width});
    resample_(image, {0, 0, image.height, image.width}, geometry.resized, geometry.window, resized_);
    table_.apply(resized_, false, out);
  }

 private:
  ImageTransformOptions options_;
  PixelTable table_;
  Resampler resample_;
  Image resized_;
};

}  // namespace data2vec::inline v0
