// SPDX-License-Identifier: MIT
// Batches of small images from bytes in memory: order, normalisation and augmentation, all functions of
// (seed, epoch, index).
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/data/pixels.hpp>

namespace data2vec::inline v0 {

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

/// One image of bytes (height, width, channels) -> normalised numbers (channels, height, width). `sample` and `epoch`
/// decide about the augmentation.
inline void shifted_image(const std::uint8_t* pixels, Extent size, int channels, const ChannelStatistics& statistics,
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
  for (int c = 0; c < channels; ++c) {
    const float mean = statistics.mean[static_cast<std::size_t>(c)];
    const float deviation = statistics.deviation[static_cast<std::size_t>(c)];
    const float scale = 1 / (255 * deviation), black = -mean / deviation;
    for (int y = 0; y < size.height; ++y)
      for (int x = 0; x < size.width; ++x) {
        const int from_y = y - down, from_x = (mirrored ? size.width - 1 - x : x) - right;
        const bool inside = from_y >= 0 && from_y < size.height && from_x >= 0 && from_x < size.width;
        const std::ptrdiff_t from = std::ptrdiff_t{from_y * size.width + from_x} * channels + c;
        *out++ = inside ? static_cast<float>(pixels[from]) * scale + black : black;
      }
  }
}

}  // namespace data2vec::inline v0
