// SPDX-License-Identifier: MIT
// Batches of small images from bytes in memory: order, normalisation and augmentation, all functions of
// (seed, epoch, index).
#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/core/view.hpp>

namespace data2vec::inline v0 {

/// Mean and standard deviation of pixels scaled to [0, 1].
struct PixelStatistics {
  float mean = 0, deviation = 1;
};

inline PixelStatistics pixel_statistics(std::span<const std::uint8_t> pixels) {
  double sum = 0, squares = 0;
  for (const std::uint8_t p : pixels) {
    sum += p / 255.0;
    squares += p / 255.0 * (p / 255.0);
  }
  const double n = pixels.empty() ? 1 : static_cast<double>(pixels.size()), mean = sum / n;
  const double variance = squares / n - mean * mean;
  return {static_cast<float>(mean), static_cast<float>(variance > 0 ? std::sqrt(variance) : 1)};
}

/// The order of `count` samples in an epoch: a random permutation, the same for the same seed and epoch.
class EpochOrder {
 public:
  EpochOrder(std::uint32_t count, std::uint64_t seed) : order_(count), seed_(seed) {}

  std::span<const std::uint32_t> of(std::uint32_t epoch) {
    if (epoch != epoch_) {
      std::iota(order_.begin(), order_.end(), 0u);
      Rng rng({.seed = seed_, .update = epoch, .site = Site::order});
      for (auto i = static_cast<std::uint32_t>(order_.size()); i > 1; --i)
        std::swap(order_[i - 1], order_[rng.below(i)]);
      epoch_ = epoch;
    }
    return order_;
  }

 private:
  std::vector<std::uint32_t> order_;
  std::uint64_t seed_;
  std::uint32_t epoch_ = ~0u;
};

/// Random shifts by up to `shift` pixels (what comes in is black) and horizontal flips.
struct ShiftAndFlip {
  int shift = 0;
  bool flip = false;
};

/// One grey image of bytes (height, width) -> normalised numbers. `sample` and `epoch` decide about the augmentation.
inline void grey_image(const std::uint8_t* pixels, Extent size, const PixelStatistics& statistics,
                       const ShiftAndFlip& augment, std::uint64_t seed, std::uint32_t epoch, std::uint32_t sample,
                       float* out) {
  int down = 0, right = 0;
  bool mirrored = false;
  if (augment.shift > 0 || augment.flip) {
    Rng rng({.seed = seed, .update = epoch, .sample = sample, .site = Site::augment});
    const auto range = static_cast<std::uint32_t>(2 * augment.shift + 1);
    down = static_cast<int>(rng.below(range)) - augment.shift;
    right = static_cast<int>(rng.below(range)) - augment.shift;
    mirrored = augment.flip && rng.below(2) == 1;
  }
  const float scale = 1 / (255 * statistics.deviation), black = -statistics.mean / statistics.deviation;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x) {
      const int from_y = y - down, from_x = (mirrored ? size.width - 1 - x : x) - right;
      const bool inside = from_y >= 0 && from_y < size.height && from_x >= 0 && from_x < size.width;
      *out++ = inside ? static_cast<float>(pixels[from_y * size.width + from_x]) * scale + black : black;
    }
}

}  // namespace data2vec::inline v0
