// SPDX-License-Identifier: MIT
// Randomness as a function: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
// keyed by where a number is used. The same (seed, update, sample, mask, site) gives the same draws whatever the
// threads, the order of the batch or a restart.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include <data2vec/core/macros.hpp>
#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// Ten rounds of Philox: four random words for a 128-bit counter under a 64-bit key.
D2V_HD constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::uint64_t key) {
  auto key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0], b = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<std::uint32_t>(a)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// What a random number is for. Layers of a stack add their index: `site(Site::drop_path, block)`.
enum class Site : std::uint32_t {
  masks, noise, input_dropout, prenet_dropout, encoder_input_dropout, attention_dropout, encoder_dropout,
  activation_dropout, activation_dropout_2, post_mlp_dropout, drop_path_attention, drop_path_mlp, layerdrop,
  initialise, order, augment, head_dropout, user, embedding_dropout,
  feature_dropout, gumbel, negatives,
};

/// Where a draw happens. `mask` is the index of the mask within its sample, `layer` the index within a stack.
struct DrawKey {
  std::uint64_t seed = 0;
  std::uint32_t update = 0;
  std::uint32_t sample = 0;
  std::uint32_t mask = 0;    ///< below 4096
  Site site = Site::user;    ///< below 256
  std::uint32_t layer = 0;   ///< below 4096
  friend constexpr bool operator==(const DrawKey&, const DrawKey&) = default;
};

/// Four words of block `index` of the stream at `key`.
D2V_HD constexpr std::array<std::uint32_t, 4> draw(const DrawKey& key, std::uint32_t index) {
  const std::uint32_t where = (static_cast<std::uint32_t>(key.site) << 24) | (key.layer << 12) | key.mask;
  return philox({index, where, key.sample, key.update}, key.seed);
}

/// A word as a number in [0, 1): 24 bits, exact in float.
D2V_HD constexpr float unit_float(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

/// Two standard normal numbers from two words (Box and Muller, 1958).
D2V_HD inline std::array<float, 2> normal_pair(std::uint32_t a, std::uint32_t b) {
  const float radius =
      std::sqrt(-2.0f * std::log((static_cast<float>(a >> 8) + 1.0f) * 0x1p-24f));  // argument in (0, 1]
  const float angle = 6.283185307179586f * unit_float(b);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

/// The stream at a key, read one number after the other.
class Rng {
 public:
  D2V_HD constexpr explicit Rng(const DrawKey& key) : key_(key) {}

  /// 32 random bits.
  D2V_HD constexpr std::uint32_t next() {
    if (used_ == 4) {
      block_ = draw(key_, index_++);
      used_ = 0;
    }
    return block_[used_++];
  }

  /// A whole number in [0, n), n >= 1, without bias (Lemire, 2019).
  D2V_HD constexpr std::uint32_t below(std::uint32_t n) {
    std::uint64_t product = std::uint64_t{next()} * n;
    if (static_cast<std::uint32_t>(product) < n) {
      const std::uint32_t threshold = (0u - n) % n;
      while (static_cast<std::uint32_t>(product) < threshold) product = std::uint64_t{next()} * n;
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

  /// A number in [0, 1).
  D2V_HD constexpr float uniform() { return unit_float(next()); }

  /// A standard normal number.
  D2V_HD float normal() {
    const std::uint32_t a = next();
    return normal_pair(a, next())[0];
  }

 private:
  DrawKey key_;
  std::uint32_t index_ = 0;
  unsigned used_ = 4;
  std::array<std::uint32_t, 4> block_{};
};

}  // namespace data2vec::inline v0
