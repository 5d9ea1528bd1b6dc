// SPDX-License-Identifier: MIT
// The data that the programs on images are tested with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <data2vec/core/random.hpp>

#include "tests/examples/processes.hpp"

namespace processes {

/// A scratch folder with a small data set: 3 classes of ramps with noise, 96 and 30 images of 8 x 8.
struct SmallImages : Folder {
  explicit SmallImages(const char* name = "programs") : Folder(name) { write_data("data"); }

  void write_data(const std::string& folder) const {
    std::filesystem::create_directories(path / folder);
    write_part(folder, "train", 96);
    write_part(folder, "t10k", 30);
  }

 private:
  static std::string big_endian(std::uint32_t value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 255);
    return bytes;
  }
  void write_part(const std::string& folder, const std::string& part, std::uint32_t n) const {
    std::string images = big_endian(0x803) + big_endian(n) + big_endian(8) + big_endian(8);
    std::string labels = big_endian(0x801) + big_endian(n);
    for (std::uint32_t i = 0; i < n; ++i) {
      data2vec::Rng rng({.seed = 3, .sample = i});
      labels += static_cast<char>(i % 3);
      for (std::uint32_t y = 0; y < 8; ++y)
        for (std::uint32_t x = 0; x < 8; ++x) {
          const std::uint32_t ramp = i % 3 == 0 ? x : i % 3 == 1 ? y : (x + y) / 2;
          images += static_cast<char>(28 * ramp + rng.below(30));
        }
    }
    write(path / folder / (part + "-images-idx3-ubyte"), images);
    write(path / folder / (part + "-labels-idx1-ubyte"), labels);
  }
};

}  // namespace processes
