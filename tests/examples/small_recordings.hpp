// SPDX-License-Identifier: MIT
// Recordings for the example programs in their tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include <data2vec/core/random.hpp>

#include "tests/examples/processes.hpp"

namespace processes {

inline std::string little_endian(std::uint32_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 255);
  return text;
}

/// A tone with noise as 16-bit WAV.
inline std::string wav(int samples, double hz, std::uint32_t stream, std::uint32_t rate = 8000) {
  std::string data;
  data2vec::Rng rng({.seed = 4, .sample = stream});
  for (int i = 0; i < samples; ++i) {
    const double value = 9000 * std::sin(6.2831853 * hz * i / rate) + 900 * static_cast<double>(rng.normal());
    data += little_endian(static_cast<std::uint32_t>(static_cast<std::int32_t>(value)), 2);
  }
  const auto size = static_cast<std::uint32_t>(data.size());
  return "RIFF" + little_endian(36 + size, 4) + "WAVEfmt " + little_endian(16, 4) + little_endian(1, 2) +
         little_endian(1, 2) + little_endian(rate, 4) + little_endian(2 * rate, 4) + little_endian(2, 2) +
         little_endian(16, 2) + "data" + little_endian(size, 4) + data;
}

/// A scratch folder with recordings of two classes with transcripts in data/: short and long ones, 32 for training, 8
/// that are judged.
struct SmallRecordings : Folder {
  explicit SmallRecordings(const char* name) : Folder(name) {
    for (std::uint32_t i = 0; i < 40; ++i) {
      const bool low = i % 2 == 0;
      const std::string file = std::string("data/") + (i < 32 ? "train/" : "test/") + (low ? "low/" : "high/") +
                               std::to_string(100 + i);
      write(*this / (file + ".wav"), wav(i / 2 % 2 == 0 ? 1600 : 2400, low ? 300 : 1500, i));
      write(*this / (file + ".txt"), low ? "oh" : "He.");
    }
  }
};

}  // namespace processes
