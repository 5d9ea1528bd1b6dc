// SPDX-License-Identifier: MIT
// An image of bytes, grey or RGB, and its way to normalised numbers: conversion between the two kinds, mean and
// deviation by channel, (H, W, C) bytes to (C, H, W) floats.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// 8-bit samples, interleaved: `pixels[(y * width + x) * channels + c]`. One channel is grey, three are RGB.
struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;  ///< (height, width, channels)
  friend bool operator==(const Image&, const Image&) = default;
};

/// The same image with 1 or 3 channels. Grey is ITU-R BT.601 luma in 16-bit fixed point, as Pillow's mode "L".
inline Image with_channels(Image image, int channels) {
  if (channels != 1 && channels != 3)
    throw OptionError("channels of an image: expected 1 or 3, found " + std::to_string(channels));
  if (image.channels == channels) return image;
  const auto count = static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width);
  std::vector<std::uint8_t> pixels(count * static_cast<std::size_t>(channels));
  const std::uint8_t* in = image.pixels.data();
  for (std::size_t i = 0; i < count; ++i) {
    if (channels == 3) {
      pixels[3 * i] = pixels[3 * i + 1] = pixels[3 * i + 2] = in[i];
    } else {
      const int luma = 19595 * in[3 * i] + 38470 * in[3 * i + 1] + 7471 * in[3 * i + 2];  // sum of weights: 2^16
      pixels[i] = static_cast<std::uint8_t>((luma + 0x8000) >> 16);
    }
  }
  return {image.height, image.width, channels, std::move(pixels)};
}

/// Mean and standard deviation of each channel, of pixels scaled to [0, 1]. Grey uses the first entries.
struct ChannelStatistics {
  std::array<float, 3> mean{}, deviation{1, 1, 1};
  friend bool operator==(const ChannelStatistics&, const ChannelStatistics&) = default;
};

/// Of ImageNet, as torchvision and the reference normalise with.
inline constexpr ChannelStatistics imagenet_statistics{{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};

/// Sums over images, exact: the result does not depend on their order.
class ChannelMoments {
 public:
  /// Images of 1 or 3 channels; every channel of its own kind is counted.
  void add(const Image& image) {
    const auto channels = static_cast<std::size_t>(image.channels);
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      const std::uint64_t p = image.pixels[i];
      const std::size_t c = i % channels;
      ++count_[c], sum_[c] += p, squares_[c] += p * p;
    }
  }

  /// A channel without pixels has mean 0; one without variance, or without pixels, has deviation 1.
  ChannelStatistics statistics() const {
    ChannelStatistics result;
    for (std::size_t c = 0; c < 3; ++c) {
      if (count_[c] == 0) continue;
      const double n = static_cast<double>(count_[c]), mean = static_cast<double>(sum_[c]) / n;
      const double variance = static_cast<double>(squares_[c]) / n - mean * mean;
      result.mean[c] = static_cast<float>(mean / 255);
      result.deviation[c] = variance > 0 ? static_cast<float>(std::sqrt(variance) / 255) : 1.0f;
    }
    return result;
  }

 private:
  std::array<std::uint64_t, 3> count_{}, sum_{}, squares_{};
};

/// (byte / 255 - mean) / deviation, in single precision and in this order as torchvision's ToTensor and Normalize, for
/// all 256 bytes of every channel.
class PixelTable {
 public:
  explicit PixelTable(const ChannelStatistics& statistics) {
    for (std::size_t c = 0; c < 3; ++c) {
      if (!(statistics.deviation[c] > 0))
        throw OptionError("deviation of channel " + std::to_string(c) + ": expected more than 0, found " +
                          std::to_string(statistics.deviation[c]));
      for (std::size_t p = 0; p < 256; ++p)
        values_[c][p] = (static_cast<float>(p) / 255.0f - statistics.mean[c]) / statistics.deviation[c];
    }
  }

  float operator()(int channel, std::uint8_t pixel) const { return values_[static_cast<std::size_t>(channel)][pixel]; }

  /// An image, mirrored left to right or not, as normalised numbers.
  void apply(const Image& image, bool mirrored, float* out) const {  // (H, W, C) -> (C, H, W)
    const std::ptrdiff_t width = image.width, channels = image.channels;
    for (std::ptrdiff_t c = 0; c < channels; ++c) {
      const auto& table = values_[static_cast<std::size_t>(c)];
      for (std::ptrdiff_t y = 0; y < image.height; ++y) {
        const std::uint8_t* row = image.pixels.data() + y * width * channels + c;
        for (std::ptrdiff_t x = 0; x < width; ++x) *out++ = table[row[(mirrored ? width - 1 - x : x) * channels]];
      }
    }
  }

 private:
  std::array<std::array<float, 256>, 3> values_{};
};

}  // namespace data2vec::inline v0
