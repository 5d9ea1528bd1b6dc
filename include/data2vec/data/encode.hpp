// SPDX-License-Identifier: MIT
// 8-bit grey or RGB images to PNG (libpng): the way back of data/decode.hpp, with the same pixels. Part of
// data2vec::images.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <png.h>

#include <data2vec/core/error.hpp>
#include <data2vec/data/decode.hpp>
#include <data2vec/data/pixels.hpp>
#include <data2vec/io/file.hpp>

namespace data2vec::inline v0 {

/// The image as the bytes of a PNG file, 8 bits a sample, sRGB; the same bytes for the same image and libpng. Throws
/// OptionError for other than 1 or 3 channels or a side that is not in 1 .. max_image_side (what decode_image reads),
/// MismatchError where the pixels are not as many as the sizes say.
inline std::vector<std::byte> png_bytes(const Image& image) {
  if (image.channels != 1 && image.channels != 3)
    throw OptionError("PNG: expected an image of 1 or 3 channels, found " + std::to_string(image.channels));
  for (const int side : {image.height, image.width})
    if (side < 1 || side > max_image_side)
      throw OptionError("PNG: expected sides from 1 to " + std::to_string(max_image_side) + ", found " +
                        std::to_string(image.height) + " x " + std::to_string(image.width));
  const std::size_t size = static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width) *
                           static_cast<std::size_t>(image.channels);
  if (image.pixels.size() != size)
    throw MismatchError("PNG: expected " + std::to_string(size) + " samples, found " +
                        std::to_string(image.pixels.size()));
  png_image png;
  std::memset(&png, 0, sizeof png);
  png.version = PNG_IMAGE_VERSION;
  png.height = static_cast<png_uint_32>(image.height);
  png.width = static_cast<png_uint_32>(image.width);
  png.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t count = PNG_IMAGE_PNG_SIZE_MAX(png);  // an upper bound: the image is compressed once
  std::vector<std::byte> bytes(count);
  if (!png_image_write_to_memory(&png, bytes.data(), &count, 0, image.pixels.data(), 0, nullptr))
    throw Error(std::string("PNG: cannot encode the image: ") + png.message);
  bytes.resize(count);
  return bytes;
}

/// Writes an image as a PNG file, whole or not at all (AtomicFile). Throws what png_bytes throws, or FileError.
inline void write_png(const std::string& path, const Image& image) {
  const std::vector<std::byte> bytes = png_bytes(image);
  AtomicFile file(path, bytes.size());
  file.write(bytes);
  file.commit();
}

}  // namespace data2vec::inline v0
