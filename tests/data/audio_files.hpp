// SPDX-License-Identifier: MIT
// Sound files for the tests of data/: written through libsndfile into a folder that goes away.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <sndfile.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <data2vec/core/random.hpp>

namespace audio_files {

struct Folder {
  std::filesystem::path path;
  explicit Folder(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("d2v_" + name + "_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string text() const { return path.string(); }
  std::string file(const std::string& name) const {
    std::filesystem::create_directories((path / name).parent_path());
    return (path / name).string();
  }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }
};

inline std::string read(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Noise of the given amplitude: no two stretches are alike.
inline std::vector<float> noise(std::size_t count, std::uint32_t stream, float amplitude = 0.5f) {
  data2vec::Rng rng({.seed = 5, .sample = stream});
  std::vector<float> samples(count);
  for (float& x : samples) x = amplitude * (2 * rng.uniform() - 1);
  return samples;
}

inline std::vector<float> sine(std::size_t count, double hz, int rate, double amplitude = 0.5) {
  std::vector<float> samples(count);
  for (std::size_t i = 0; i < count; ++i)
    samples[i] = static_cast<float>(amplitude * std::sin(6.283185307179586 * hz * static_cast<double>(i) / rate));
  return samples;
}

/// `samples` (frames, channels) in a format of libsndfile.
inline std::string sound(const std::string& file, std::span<const float> samples, int rate = 16'000, int channels = 1,
                         int format = SF_FORMAT_WAV | SF_FORMAT_PCM_16) {
  SF_INFO info{};
  info.samplerate = rate, info.channels = channels, info.format = format;
  SNDFILE* out = sf_open(file.c_str(), SFM_WRITE, &info);
  REQUIRE_MESSAGE(out != nullptr, sf_strerror(nullptr));
  // In pieces: some encoders of libsndfile overflow their stack on long writes.
  for (std::size_t at = 0; at < samples.size(); at += 1024 * static_cast<std::size_t>(channels)) {
    const auto piece = samples.subspan(at, std::min(samples.size() - at, 1024 * static_cast<std::size_t>(channels)));
    const auto frames = static_cast<sf_count_t>(piece.size()) / channels;
    REQUIRE(sf_writef_float(out, piece.data(), frames) == frames);
  }
  REQUIRE(sf_close(out) == 0);
  return file;
}

template <class E>
std::string error_of(auto&& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}
inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace audio_files
