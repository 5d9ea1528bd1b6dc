// SPDX-License-Identifier: MIT
// PNG encoding: what is written is what decode_image reads.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include <data2vec/data/encode.hpp>
#include <tests/data/image_files.hpp>

using namespace data2vec;

TEST_CASE("encode: the same pixels come back, grey and RGB, of any size") {
  for (const int channels : {1, 3})
    for (const int height : {1, 2, 7, 28, 130})
      for (const int width : {1, 3, 16, 257}) {
        const Image image = image_files::pattern(height, width, channels);
        const std::vector<std::byte> bytes = png_bytes(image);
        CHECK(decode_image(bytes, "png") == image);
        CHECK(bytes == png_bytes(image));
      }
}

TEST_CASE("encode: every byte value comes back") {
  Image image{16, 16, 1, {}};
  for (int i = 0; i < 256; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i));
  CHECK(decode_image(png_bytes(image), "png") == image);
  // What deflate cannot shrink fits too: noise of a full period.
  Image noise{64, 64, 3, {}};
  std::uint32_t state = 1;
  for (int i = 0; i < 64 * 64 * 3; ++i) {
    state = state * 1664525u + 1013904223u;  // Numerical Recipes
    noise.pixels.push_back(static_cast<std::uint8_t>(state >> 24));
  }
  CHECK(decode_image(png_bytes(noise), "png") == noise);
}

TEST_CASE("encode: images that are none") {
  CHECK_THROWS_WITH_AS(png_bytes({2, 2, 2, std::vector<std::uint8_t>(8)}),
                       "PNG: expected an image of 1 or 3 channels, found 2", OptionError);
  CHECK_THROWS_WITH_AS(png_bytes({0, 2, 1, {}}), "PNG: expected sides from 1 to 16384, found 0 x 2", OptionError);
  CHECK_THROWS_AS(png_bytes({1, max_image_side + 1, 1, std::vector<std::uint8_t>(max_image_side + 1)}), OptionError);
  CHECK_THROWS_WITH_AS(png_bytes({2, 2, 3, std::vector<std::uint8_t>(11)}), "PNG: expected 12 samples, found 11",
                       MismatchError);
}

TEST_CASE("encode: a file is written whole or not at all") {
  const image_files::Folder folder("encode");
  const std::string path = folder.text() + "/image.png";
  const Image first = image_files::pattern(5, 4, 3), second = image_files::pattern(9, 8, 1);
  write_png(path, first);
  CHECK(decode_image(path) == first);
  write_png(path, second);
  CHECK(decode_image(path) == second);
  CHECK_THROWS_AS(write_png(path, {2, 2, 2, {}}), OptionError);
  CHECK(decode_image(path) == second);
  CHECK_THROWS_AS(write_png(folder.text() + "/missing/image.png", first), FileError);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), std::filesystem::directory_iterator()) == 1);
}
