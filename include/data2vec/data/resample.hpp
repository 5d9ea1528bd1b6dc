// SPDX-License-Identifier: MIT
// Bicubic resampling of bytes as Pillow's `Image.resize(size, BICUBIC)`, which torchvision uses for PIL images, bit for
// bit up to version 12 (13 changes the order for some tall images): a = -0.5, antialiased (the filter grows when
// shrinking), weights of 22 fractional bits, a horizontal and then a vertical pass, each rounded to 8 bits and clipped.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/data/pixels.hpp>

namespace data2vec::inline v0 {

/// A rectangle of pixels.
struct Rectangle {
  int top = 0, left = 0, height = 0, width = 0;
  friend bool operator==(const Rectangle&, const Rectangle&) = default;
};

/// Keys' cubic convolution kernel with a = -0.5 ("Cubic convolution interpolation", 1981, equation 15).
constexpr double bicubic_kernel(double x) {
  constexpr double a = -0.5;
  if (x < 0) x = -x;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}
static_assert(bicubic_kernel(0) == 1 && bicubic_kernel(1) == 0 && bicubic_kernel(0.5) == 0.5625);

namespace detail {

/// Which pixels of one axis make each pixel of a window of the result, and with which weights.
class ResampleAxis {
 public:
  static constexpr int bits = 22;  // of the fraction: 8 of the pixel and 2 to spare fill an int

  void set(int in, int out, int first, int count) {
    const double scale = static_cast<double>(in) / out, widened = std::max(scale, 1.0), support = 2 * widened;
    stride_ = 2 * static_cast<int>(std::ceil(support)) + 1;
    begin_.resize(static_cast<std::size_t>(count));
    size_.resize(static_cast<std::size_t>(count));
    weights_.resize(static_cast<std::size_t>(count) * static_cast<std::size_t>(stride_));
    exact_.resize(static_cast<std::size_t>(stride_));
    for (int i = 0; i < count; ++i) {
      const double center = (first + i + 0.5) * scale;
      const int begin = std::max(static_cast<int>(center - support + 0.5), 0);
      const int size = std::min(static_cast<int>(center + support + 0.5), in) - begin;
      double sum = 0;
      for (int k = 0; k < size; ++k)
        sum += exact_[std::size_t(k)] = bicubic_kernel((k + begin - center + 0.5) * (1 / widened));
      for (int k = 0; k < size; ++k) {
        const double weight = exact_[std::size_t(k)] / sum * (1 << bits);
        weights_[std::size_t(i) * std::size_t(stride_) + std::size_t(k)] =
            static_cast<std::int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
      }
      begin_[std::size_t(i)] = begin;
      size_[std::size_t(i)] = size;
    }
  }

  int count() const { return static_cast<int>(begin_.size()); }
  int begin(int i) const { return begin_[std::size_t(i)]; }
  int size(int i) const { return size_[std::size_t(i)]; }
  int end(int i) const { return begin(i) + size(i); }
  const std::int32_t* weights(int i) const { return weights_.data() + std::ptrdiff_t{i} * stride_; }

  static std::uint8_t rounded(std::int32_t sum) {
    return static_cast<std::uint8_t>(std::clamp(sum >> bits, std::int32_t{0}, std::int32_t{255}));
  }

 private:
  int stride_ = 0;
  std::vector<int> begin_, size_;
  std::vector<std::int32_t> weights_;
  std::vector<double> exact_;
};

}  // namespace detail

/// Resamples parts of images (Pillow, src/libImaging/Resample.c). Holds scratch memory that grows to the largest use
/// and is then kept: one for each thread.
class Resampler {
 public:
  /// Resizes `crop` of `image` to `size`, as if it had been cut out first, and makes `window` of the result.
  /// `out` keeps the memory that it has. Throws OptionError for an empty or outlying rectangle.
  void operator()(const Image& image, const Rectangle& crop, Extent size, const Rectangle& window, Image& out) {
    expect_inside("crop", crop, {image.height, image.width});
    expect_inside("window", window, size);
    rows_.set(crop.height, size.height, window.top, window.height);
    columns_.set(crop.width, size.width, window.left, window.width);
    out.height = window.height;
    out.width = window.width;
    out.channels = image.channels;
    const std::size_t line = static_cast<std::size_t>(window.width) * static_cast<std::size_t>(image.channels);
    out.pixels.resize(line * static_cast<std::size_t>(window.height));
    image.channels == 1 ? horizontal<1>(image, crop, line) : horizontal<3>(image, crop, line);
    vertical(line, out);
  }

  /// Resizes all of `crop`.
  void operator()(const Image& image, const Rectangle& crop, Extent size, Image& out) {
    (*this)(image, crop, size, {0, 0, size.height, size.width}, out);
  }

 private:
  static void expect_inside(const char* what, const Rectangle& r, Extent of) {
    if (r.height >= 1 && r.width >= 1 && r.top >= 0 && r.left >= 0 && r.top <= of.height - r.height &&
        r.left <= of.width - r.width)
      return;
    throw OptionError(std::string("resample: ") + what + ": expected a part of " + std::to_string(of.height) + " x " +
                      std::to_string(of.width) + ", found " + std::to_string(r.height) + " x " +
                      std::to_string(r.width) + " at row " + std::to_string(r.top) + ", column " +
                      std::to_string(r.left));
  }

  template <int C>
  void horizontal(const Image& image, const Rectangle& crop, std::size_t line) {  // the rows that are read later
    first_ = rows_.begin(0);
    const int last = rows_.end(rows_.count() - 1);
    narrow_.resize(line * static_cast<std::size_t>(last - first_));
    std::uint8_t* to = narrow_.data();
    for (int y = first_; y < last; ++y) {
      const std::uint8_t* row =
          image.pixels.data() + (std::ptrdiff_t{crop.top + y} * image.width + crop.left) * std::ptrdiff_t{C};
      for (int x = 0; x < columns_.count(); ++x) {
        const std::int32_t* weights = columns_.weights(x);
        const std::uint8_t* from = row + std::ptrdiff_t{columns_.begin(x)} * C;
        std::int32_t sum[C];
        for (std::int32_t& s : sum) s = 1 << (detail::ResampleAxis::bits - 1);
        for (int k = 0; k < columns_.size(x); ++k)
          for (int c = 0; c < C; ++c) sum[c] += *from++ * weights[k];
        for (const std::int32_t s : sum) *to++ = detail::ResampleAxis::rounded(s);
      }
    }
  }

  void vertical(std::size_t line, Image& out) {
    sums_.resize(line);
    for (int y = 0; y < rows_.count(); ++y) {
      std::fill(sums_.begin(), sums_.end(), 1 << (detail::ResampleAxis::bits - 1));
      for (int k = 0; k < rows_.size(y); ++k) {
        const std::int32_t weight = rows_.weights(y)[k];
        const std::uint8_t* from = narrow_.data() + static_cast<std::size_t>(rows_.begin(y) - first_ + k) * line;
        for (std::size_t i = 0; i < line; ++i) sums_[i] += from[i] * weight;
      }
      std::uint8_t* to = out.pixels.data() + static_cast<std::size_t>(y) * line;
      for (std::size_t i = 0; i < line; ++i) to[i] = detail::ResampleAxis::rounded(sums_[i]);
    }
  }

  detail::ResampleAxis rows_, columns_;
  std::vector<std::uint8_t> narrow_;
  std::vector<std::int32_t> sums_;
  int first_ = 0;
};

}  // namespace data2vec::inline v0
