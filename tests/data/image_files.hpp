// SPDX-License-Identifier: MIT
// Image files for the tests of data/: a folder that goes away, and what libpng and libjpeg write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <jpeglib.h>
#include <png.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <data2vec/data/pixels.hpp>

namespace image_files {

using Bytes = std::vector<std::uint8_t>;

struct Folder {
  std::filesystem::path path;
  explicit Folder(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("d2v_" + name + "_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string text() const { return path.string(); }
  std::string write(const std::string& name, const Bytes& bytes) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return (path / name).string();
  }
};

/// Pixels without symmetry: a mistaken axis, channel or stride changes them.
inline data2vec::Image pattern(int height, int width, int channels) {
  data2vec::Image image{height, width, channels, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.pixels.push_back(static_cast<std::uint8_t>(y * 37 + x * 101 + c * 59 + x * y * 13));
  return image;
}

struct PngOptions {
  int colour = PNG_COLOR_TYPE_RGB, depth = 8;
  bool interlaced = false;
  std::vector<png_color> palette = {};
  Bytes palette_alpha = {};
};

/// A PNG of rows of `line` bytes each, as they are stored.
inline Bytes png(int height, int width, const Bytes& rows, std::size_t line, PngOptions options = {}) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &out, [](png_structp p, png_bytep data, std::size_t count) {
    auto& to = *static_cast<Bytes*>(png_get_io_ptr(p));
    to.insert(to.end(), data, data + count);
  }, nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), options.depth,
               options.colour, options.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE,
               PNG_FILTER_TYPE_BASE);
  if (!options.palette.empty())
    png_set_PLTE(png, info, options.palette.data(), static_cast<int>(options.palette.size()));
  if (!options.palette_alpha.empty())
    png_set_tRNS(png, info, options.palette_alpha.data(), static_cast<int>(options.palette_alpha.size()), nullptr);
  png_write_info(png, info);
  for (int passes = png_set_interlace_handling(png); passes > 0; --passes)
    for (int y = 0; y < height; ++y) png_write_row(png, rows.data() + static_cast<std::size_t>(y) * line);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

inline Bytes png(const data2vec::Image& image, bool interlaced = false) {
  return png(image.height, image.width, image.pixels, static_cast<std::size_t>(image.width * image.channels),
             {.colour = image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, .interlaced = interlaced});
}

/// A JPEG of interleaved samples. CMYK is stored as it is, with Adobe's marker. `scans`: in which parts, unless empty.
inline Bytes jpeg(int height, int width, const Bytes& samples, J_COLOR_SPACE space, bool progressive = false,
                  int quality = 95, std::span<const jpeg_scan_info> scans = {}) {
  jpeg_compress_struct state{};
  jpeg_error_mgr errors{};
  state.err = jpeg_std_error(&errors);
  jpeg_create_compress(&state);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&state, &memory, &size);
  state.image_width = static_cast<JDIMENSION>(width);
  state.image_height = static_cast<JDIMENSION>(height);
  state.input_components = space == JCS_GRAYSCALE ? 1 : space == JCS_CMYK ? 4 : 3;
  state.in_color_space = space;
  jpeg_set_defaults(&state);
  jpeg_set_quality(&state, quality, TRUE);
  if (progressive) jpeg_simple_progression(&state);
  if (!scans.empty()) state.scan_info = scans.data(), state.num_scans = static_cast<int>(scans.size());
  jpeg_start_compress(&state, TRUE);
  Bytes copy = samples;
  const std::size_t line = static_cast<std::size_t>(width * state.input_components);
  for (int y = 0; y < height; ++y) {
    JSAMPROW row = copy.data() + static_cast<std::size_t>(y) * line;
    jpeg_write_scanlines(&state, &row, 1);
  }
  jpeg_finish_compress(&state);
  Bytes out(memory, memory + size);
  jpeg_destroy_compress(&state);
  std::free(memory);
  return out;
}

inline std::span<const std::byte> bytes_of(const Bytes& bytes) { return std::as_bytes(std::span(bytes)); }

/// What an Error of type E says that `run` throws, or an empty string.
template <class E, class Run>
std::string error_of(Run run) {
  try {
    run();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace image_files
