// SPDX-License-Identifier: MIT
// PNG and JPEG of every kind that is decoded or refused, and files that are cut short or changed.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <data2vec/data/decode.hpp>

#include "tests/data/image_files.hpp"

namespace d2v = data2vec;
using namespace image_files;

namespace {

d2v::Image decode(const Bytes& bytes) { return d2v::decode_image(bytes_of(bytes), "memory"); }

/// Reason and text of the error, "" where there is none.
std::array<std::string, 2> failure(const Bytes& bytes) {
  try {
    decode(bytes);
  } catch (const d2v::ImageError& error) {
    return {error.reason, error.what()};
  }
  return {};
}

int largest_difference(const d2v::Image& a, const d2v::Image& b) {
  REQUIRE(a.pixels.size() == b.pixels.size());
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

d2v::Image smooth(int height, int width, int channels) {  // what JPEG keeps to a few levels
  d2v::Image image{height, width, channels, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c) image.pixels.push_back(static_cast<std::uint8_t>(40 + 2 * y + 3 * x + 20 * c));
  return image;
}

void patch_u32(Bytes& bytes, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

/// Sets the extents in IHDR and repairs its check sum.
Bytes with_png_size(Bytes bytes, std::uint32_t width, std::uint32_t height) {
  patch_u32(bytes, 16, width);
  patch_u32(bytes, 20, height);
  std::uint32_t sum = ~0u;
  for (std::size_t i = 12; i < 29; ++i) {
    sum ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ (sum & 1 ? 0xEDB88320u : 0);
  }
  patch_u32(bytes, 29, ~sum);
  return bytes;
}

}  // namespace

TEST_CASE("decode: PNG gives back what was stored, for any shape") {
  for (const int channels : {1, 3})
    for (const auto& [height, width] : {std::array{1, 1}, {1, 5000}, {5000, 1}, {7, 13}, {64, 33}})
      for (const bool interlaced : {false, true}) {
        const auto image = pattern(height, width, channels);
        CAPTURE(image.height);
        CAPTURE(channels);
        CHECK(decode(png(image, interlaced)) == image);
      }
}

TEST_CASE("decode: PNG of 16 bits, of few bits, with a palette, with transparency") {
  const Bytes deep{0x00, 0x00, 0x80, 0x7f, 0x80, 0x80, 0xff, 0xff};  // 0, 32895, 32896, 65535: times 255 / 65535
  CHECK(decode(png(1, 4, deep, 8, {.colour = PNG_COLOR_TYPE_GRAY, .depth = 16})) ==
        d2v::Image{1, 4, 1, {0, 128, 128, 255}});
  CHECK(decode(png(2, 4, {0x1b, 0xe4}, 1, {.colour = PNG_COLOR_TYPE_GRAY, .depth = 2})) ==
        d2v::Image{2, 4, 1, {0, 85, 170, 255, 255, 170, 85, 0}});
  const std::vector<png_color> palette{{1, 2, 3}, {250, 0, 9}};
  const d2v::Image expected{1, 3, 3, {250, 0, 9, 1, 2, 3, 250, 0, 9}};
  CHECK(decode(png(1, 3, {0xa0}, 1, {.colour = PNG_COLOR_TYPE_PALETTE, .depth = 1, .palette = palette})) == expected);
  CHECK(decode(png(1, 3, {1, 0, 1}, 3,
                   {.colour = PNG_COLOR_TYPE_PALETTE, .palette = palette, .palette_alpha = {0, 128}})) == expected);
  CHECK(decode(png(1, 2, {1, 2, 3, 0, 4, 5, 6, 255}, 8, {.colour = PNG_COLOR_TYPE_RGB_ALPHA})) ==
        d2v::Image{1, 2, 3, {1, 2, 3, 4, 5, 6}});
  CHECK(decode(png(1, 2, {7, 0, 8, 255}, 4, {.colour = PNG_COLOR_TYPE_GRAY_ALPHA})) == d2v::Image{1, 2, 1, {7, 8}});
}

TEST_CASE("decode: JPEG, grey and colour, baseline and progressive") {
  for (const int channels : {1, 3})
    for (const bool progressive : {false, true}) {
      const auto image = smooth(24, 31, channels);
      const auto space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
      const auto decoded = decode(jpeg(24, 31, image.pixels, space, progressive, 100));
      CHECK(decoded.channels == channels);
      CHECK(decoded.height == 24);
      CHECK(decoded.width == 31);
      // Quality 100 quantises by 1. Errors of the transform and of the conversion to YCbCr are below 3 levels each; the
      // halved chroma of a ramp of 2 to 3 levels a pixel is off by up to 3 at the edge.
      CHECK(largest_difference(decoded, image) <= 6);
    }
  CHECK(decode(jpeg(1, 1, {200}, JCS_GRAYSCALE, false, 100)) == d2v::Image{1, 1, 1, {200}});
}

TEST_CASE("decode: CMYK becomes RGB, with Adobe's complements undone") {
  // Of one value a plane, so that JPEG adds nothing: with the marker, samples are 255 - ink, and R = C' K' / 255.
  Bytes samples;
  for (int i = 0; i < 64; ++i) samples.insert(samples.end(), {200, 100, 0, 255});
  Bytes file = jpeg(8, 8, samples, JCS_CMYK, false, 100);
  const auto image = decode(file);
  CHECK(image.channels == 3);
  CHECK(largest_difference(image, {8, 8, 3, [] {
          Bytes rgb;
          for (int i = 0; i < 64; ++i) rgb.insert(rgb.end(), {200, 100, 0});
          return rgb;
        }()}) <= 1);
  // The same file without the marker holds inks: R = (255 - C) (255 - K) / 255 is 0 for K = 255.
  const std::array<std::uint8_t, 5> adobe{'A', 'd', 'o', 'b', 'e'};
  const auto place = std::search(file.begin(), file.end(), adobe.begin(), adobe.end());
  REQUIRE(place != file.end());
  *place = 'X';
  CHECK(largest_difference(decode(file), {8, 8, 3, Bytes(192, 0)}) <= 1);
}

TEST_CASE("decode: a file of any length but its own is an error") {
  const auto image = pattern(19, 23, 3);
  for (const Bytes& whole : {png(image), png(image, true), jpeg(19, 23, image.pixels, JCS_RGB),
                             jpeg(19, 23, image.pixels, JCS_RGB, true), jpeg(1, 1, {9}, JCS_GRAYSCALE)}) {
    REQUIRE(failure(whole)[0].empty());
    for (std::size_t length = 0; length < whole.size(); ++length) {
      const auto error = failure(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
      CAPTURE(length);
      CAPTURE(error[1]);
      CHECK_FALSE(error[0].empty());
      CHECK(error[1].find("memory: ") == 0);
      CHECK(has(error[1], "expected"));
      if (length < 3) CHECK(error[0] == "not an image");
    }
    CHECK(failure(Bytes(whole.begin(), whole.end() - 1))[0] == "truncated");
  }
}

TEST_CASE("decode: changed bytes are an error or another image, nothing else") {
  const auto image = pattern(17, 16, 3);
  for (const Bytes& whole : {png(image), jpeg(17, 16, image.pixels, JCS_RGB, true)})
    for (std::size_t at = 0; at < whole.size(); ++at)
      for (const int change : {0x01, 0x80, 0xff}) {
        Bytes broken = whole;
        broken[at] = static_cast<std::uint8_t>(broken[at] ^ change);
        try {
          const auto decoded = decode(broken);
          CHECK(decoded.pixels.size() == static_cast<std::size_t>(decoded.height * decoded.width * decoded.channels));
          if (whole[0] == 0x89) CHECK(decoded == image);  // PNG has check sums; only what carries no pixel may differ
        } catch (const d2v::ImageError& error) {
          CHECK_FALSE(error.reason.empty());
        }
      }
}

TEST_CASE("decode: by content, not by name; the errors say what was found") {
  const Folder folder("decode");
  const auto image = pattern(3, 4, 3);
  CHECK(d2v::decode_image(folder.write("a.jpg", png(image))) == image);
  const std::string gif = folder.write("b.png", {'G', 'I', 'F', '8', '9', 'a', 1, 0, 1, 0});
  const auto text = error_of<d2v::ImageError>([&] { d2v::decode_image(gif); });
  CHECK(text == gif + ": not an image: first bytes: expected those of PNG (89504e470d0a1a0a) or JPEG (ffd8ff), found "
                      "4749463839610100");
  CHECK(has(failure({})[1], "found an empty file"));
  CHECK(has(error_of<d2v::FileError>([&] { d2v::decode_image(folder.text() + "/none"); }), "found none"));
}

TEST_CASE("decode: sizes are checked before memory is asked for") {
  const Bytes small = png(pattern(2, 2, 1));
  CHECK(has(failure(with_png_size(small, 16385, 2))[1],
            "too large: size: expected at most 16384 a side, found 2 x 16385"));
  CHECK(failure(with_png_size(small, 0x7fffffff, 0x7fffffff))[0] == "too large");
  CHECK(failure(with_png_size(small, 16384, 16384))[0] == "truncated");  // 268 million pixels from less than 100 bytes
  CHECK(failure(with_png_size(small, 0, 2))[0] == "corrupt");
  CHECK(failure(with_png_size(small, 2, 3))[0] == "corrupt");  // a row that is not there
  CHECK(decode(with_png_size(small, 2, 2)) == pattern(2, 2, 1));
  for (const auto& [height, width, reason] : {std::tuple{16384, 16384, "truncated"}, {40000, 8, "too large"}}) {
    Bytes file = jpeg(8, 8, Bytes(64, 99), JCS_GRAYSCALE);
    const std::array<std::uint8_t, 2> sof{0xff, 0xc0};
    const auto place = std::search(file.begin(), file.end(), sof.begin(), sof.end());
    patch_u32(file, static_cast<std::size_t>(place - file.begin()) + 5,
              static_cast<std::uint32_t>(height) << 16 | static_cast<std::uint32_t>(width));
    CHECK(failure(file)[0] == reason);
  }
}

TEST_CASE("decode: 12-bit JPEG is refused by name") {
  Bytes file = jpeg(8, 8, Bytes(64, 99), JCS_GRAYSCALE);
  const std::array<std::uint8_t, 2> sof{0xff, 0xc0};
  auto at = std::search(file.begin(), file.end(), sof.begin(), sof.end());
  at[1] = 0xc1;  // extended sequential
  at[4] = 12;
  CHECK(failure(file)[0] == "unsupported");
  CHECK(has(failure(file)[1], "precision 12"));
}

TEST_CASE("decode: a JPEG of very many scans, valid but made to take time, is refused by name") {
  // Every coefficient alone, bit by bit from the 10th down.
  std::vector<jpeg_scan_info> scans{{1, {0}, 0, 0, 0, 0}};
  for (int k = 1; k < 64; ++k)
    for (int bit = 10; bit >= 0; --bit) scans.push_back({1, {0}, k, k, bit == 10 ? 0 : bit + 1, bit});
  const auto coded = [&](std::size_t n) {
    const auto image = smooth(8, 8, 1);
    return jpeg(8, 8, image.pixels, JCS_GRAYSCALE, false, 100, std::span(scans).first(n));
  };
  REQUIRE(scans.size() > d2v::max_jpeg_scans);
  CHECK(failure(coded(1 + 11 * 45))[0].empty());  // 496: all bits of 45 coefficients
  const auto error = failure(coded(scans.size()));
  CHECK(error[0] == "unsupported");
  CHECK(has(error[1], "more scans than a decoder is willing to read"));
}

TEST_CASE("decode: the header alone tells size and kind, behind long comments too") {
  const Folder folder("info");
  for (const Bytes& file : {png(pattern(31, 40, 3)), jpeg(31, 40, pattern(31, 40, 3).pixels, JCS_RGB)}) {
    const auto info = d2v::image_info(folder.write("whole", file));
    CHECK(info.height == 31);
    CHECK(info.width == 40);
    CHECK(info.channels == 3);
  }
  Bytes file = jpeg(8, 9, Bytes(72, 1), JCS_GRAYSCALE), comments;
  for (int i = 0; i < 3; ++i) {
    comments.insert(comments.end(), {0xff, 0xfe, 0xff, 0xff});
    comments.resize(comments.size() + 0xffff - 2, 'x');
  }
  file.insert(file.begin() + 2, comments.begin(), comments.end());
  CHECK(d2v::image_info(folder.write("comments", file)).width == 9);
}
