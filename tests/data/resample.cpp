// SPDX-License-Identifier: MIT
// Bicubic resampling: Pillow's bytes, the formula in double, and parts that equal the whole.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <data2vec/data/resample.hpp>

namespace d2v = data2vec;

namespace {

d2v::Image pattern(int height, int width, int channels) {
  d2v::Image image{height, width, channels, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.pixels.push_back(static_cast<std::uint8_t>(y * 37 + x * 101 + c * 59 + x * y * 13));
  return image;
}

d2v::Image resized(const d2v::Image& image, const d2v::Rectangle& crop, d2v::Extent size) {
  d2v::Resampler resample;
  d2v::Image out;
  resample(image, crop, size, out);
  return out;
}

d2v::Image resized(const d2v::Image& image, d2v::Extent size) {
  return resized(image, {0, 0, image.height, image.width}, size);
}

std::uint64_t fnv(const std::vector<std::uint8_t>& bytes) {
  std::uint64_t hash = 1469598103934665603u;
  for (const std::uint8_t b : bytes) hash = (hash ^ b) * 1099511628211u;
  return hash;
}

/// One axis by the definition: all pixels, weighted by the kernel at their distance from the centre.
std::vector<double> axis(const std::vector<double>& in, int out) {
  const int n = static_cast<int>(in.size());
  const double scale = static_cast<double>(n) / out, widened = std::max(scale, 1.0);
  std::vector<double> result;
  for (int i = 0; i < out; ++i) {
    double sum = 0, weights = 0;
    for (int k = 0; k < n; ++k) {
      const double w = d2v::bicubic_kernel((k + 0.5 - (i + 0.5) * scale) / widened);
      sum += w * in[static_cast<std::size_t>(k)], weights += w;
    }
    result.push_back(sum / weights);
  }
  return result;
}

}  // namespace

TEST_CASE("resample: the bytes of Pillow 10.4") {
  using Bytes = std::vector<std::uint8_t>;
  CHECK(resized(pattern(5, 7, 1), {4, 3}).pixels ==
        Bytes{78, 127, 173, 92, 130, 154, 163, 108, 117, 125, 150, 124});
  CHECK(resized(pattern(3, 2, 1), {4, 5}).pixels == Bytes{0,  5,  49,  91,  108, 14, 28, 75,  122, 139,
                                                          41, 61, 113, 166, 185, 63, 84, 140, 196, 217});
  CHECK(resized(pattern(2, 3, 3), {3, 2}).pixels ==
        Bytes{28, 98, 164, 178, 59, 125, 57, 122, 131, 117, 93, 102, 86, 145, 97, 56, 126, 78});
  CHECK(fnv(resized(pattern(100, 37, 3), 32).pixels) == 0x67b7d56b02541691u);                        // shrinks
  CHECK(fnv(resized(pattern(40, 60, 3), {5, 11, 22, 30}, {48, 48}).pixels) == 0x89fd209d5120adbcu);  // crop, grows
}

TEST_CASE("resample: the formula in double, to the rounding of two passes") {
  for (const auto& sizes :
       {std::array{9, 14, 5, 3}, {9, 14, 30, 41}, {16, 1, 4, 7}, {1, 300, 1, 7}, {12, 12, 11, 13}}) {
    const int height = sizes[0], width = sizes[1], to_height = sizes[2], to_width = sizes[3];
    CAPTURE(to_height);
    CAPTURE(to_width);
    const auto image = pattern(height, width, 1);
    const auto out = resized(image, {to_height, to_width});
    std::vector<std::vector<double>> columns(static_cast<std::size_t>(to_width));
    double gain = 0;  // largest sum of |weights| of the vertical pass: what the first rounding is multiplied by
    for (int y = 0; y < height; ++y) {
      const auto row = image.pixels.begin() + y * width;
      const auto narrow = axis(std::vector<double>(row, row + width), to_width);
      for (std::size_t x = 0; x < columns.size(); ++x)
        columns[x].push_back(std::clamp(narrow[x], 0.0, 255.0));  // the first pass is clipped as well
    }
    for (int i = 0; i < to_height; ++i) {
      double sum = 0;
      for (int k = 0; k < height; ++k) {
        std::vector<double> unit(static_cast<std::size_t>(height));
        unit[static_cast<std::size_t>(k)] = 1;
        sum += std::abs(axis(unit, to_height)[static_cast<std::size_t>(i)]);
      }
      gain = std::max(gain, sum);
    }
    // Half a level from each rounding; weights of 22 bits: 2^-23 each, times 255 and their number (below 300), twice.
    const double tolerance = 0.5 + 0.5 * gain + 2 * 300 * 255 * 0x1p-23;
    for (std::size_t x = 0; x < columns.size(); ++x) {
      const auto exact = axis(columns[x], to_height);
      for (std::size_t y = 0; y < exact.size(); ++y)
        CHECK(std::abs(std::clamp(exact[y], 0.0, 255.0) - out.pixels[y * columns.size() + x]) <= tolerance);
    }
  }
}

TEST_CASE("resample: the same size is the same image, and a level stays a level") {
  for (const int channels : {1, 3}) {
    const auto image = pattern(13, 8, channels);
    CHECK(resized(image, {13, 8}) == image);
    for (const int value : {0, 1, 128, 255})
      for (const d2v::Extent size : {d2v::Extent{1}, d2v::Extent{7, 90}}) {
        const d2v::Image flat{13, 8, channels,
                              std::vector<std::uint8_t>(image.pixels.size(), static_cast<std::uint8_t>(value))};
        const auto out = resized(flat, size).pixels;
        CHECK(out.size() == static_cast<std::size_t>(size.size() * channels));
        CHECK(std::all_of(out.begin(), out.end(), [&](int p) { return p == value; }));
      }
  }
}

TEST_CASE("resample: a window equals that part of the whole, a crop equals the image that was cut out") {
  const auto image = pattern(50, 41, 3);
  d2v::Resampler resample;
  for (const d2v::Extent size : {d2v::Extent{20, 17}, d2v::Extent{90, 61}}) {
    const d2v::Rectangle crop{3, 7, 40, 30}, window{5, 2, 11, 13};
    d2v::Image cut{40, 30, 3, {}}, part, whole;
    for (int y = 0; y < 40; ++y) {
      const auto row = image.pixels.begin() + ((y + 3) * 41 + 7) * 3;
      cut.pixels.insert(cut.pixels.end(), row, row + 90);
    }
    resample(image, crop, size, whole);
    CHECK(resized(cut, size) == whole);
    resample(image, crop, size, window, part);
    REQUIRE(part.pixels.size() == 11 * 13 * 3);
    for (int y = 0; y < 11; ++y) {
      const auto row = whole.pixels.begin() + ((y + 5) * size.width + 2) * 3;
      CHECK(std::equal(row, row + 39, part.pixels.begin() + y * 39));
    }
  }
}

TEST_CASE("resample: rectangles outside of the image are refused") {
  const auto image = pattern(5, 6, 1);
  for (const d2v::Rectangle crop :
       {d2v::Rectangle{0, 0, 6, 6}, {1, 0, 5, 6}, {0, -1, 5, 6}, {0, 0, 0, 6}, {0, 3, 5, 4}})
    CHECK_THROWS_AS(resized(image, crop, 3), d2v::OptionError);
  d2v::Resampler resample;
  d2v::Image out;
  CHECK_THROWS_AS(resample(image, {0, 0, 5, 6}, {3, 3}, {0, 1, 3, 3}, out), d2v::OptionError);
  CHECK_THROWS_AS(resized(image, d2v::Extent{0, 3}), d2v::OptionError);
}
