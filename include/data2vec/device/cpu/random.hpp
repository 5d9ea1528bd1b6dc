// SPDX-License-Identifier: MIT
// The draws of core/random.hpp, a vector of blocks at a time: the same words, and the same normal numbers within 1e-6.
#pragma once

#include <array>
#include <cstdint>

#include <data2vec/core/random.hpp>
#include <data2vec/device/cpu/math.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct VectorRandom {
  using L = Lanes<float, Isa>;
  using Words = Vec<std::uint32_t, Isa>;
  using Wide = Vec<std::uint64_t, Isa>;
  static constexpr std::uint32_t blocks = L::size;   ///< blocks per call
  static constexpr std::uint32_t words = 4 * blocks;  ///< words per call

  /// out[4 i + w] is word w of block `first + i` of the stream at `key`.
  static void draw(const DrawKey& key, std::uint32_t first, std::uint32_t* out) {
    const std::uint32_t where = (static_cast<std::uint32_t>(key.site) << 24) | (key.layer << 12) | key.mask;
    Words c0 = reinterpret_cast<Words>(L::index()) + first, c1 = Words{} + where, c2 = Words{} + key.sample,
          c3 = Words{} + key.update;
    auto key0 = static_cast<std::uint32_t>(key.seed), key1 = static_cast<std::uint32_t>(key.seed >> 32);
    for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
      const auto a = multiply(c0, 0xD2511F53u), b = multiply(c2, 0xCD9E8D57u);
      c0 = b[1] ^ c1 ^ key0;
      c1 = b[0];
      c2 = a[1] ^ c3 ^ key1;
      c3 = a[0];
    }
    using V = typename L::V;
    const V x0 = reinterpret_cast<V>(c0), x1 = reinterpret_cast<V>(c1), x2 = reinterpret_cast<V>(c2),
            x3 = reinterpret_cast<V>(c3);
    const V even[2] = {L::interleave_low(x0, x2), L::interleave_high(x0, x2)};
    const V odd[2] = {L::interleave_low(x1, x3), L::interleave_high(x1, x3)};
    for (int i = 0; i < 2; ++i) {
      const V low = L::interleave_low(even[i], odd[i]), high = L::interleave_high(even[i], odd[i]);
      __builtin_memcpy(out + 2 * i * L::size, &low, sizeof low);
      __builtin_memcpy(out + (2 * i + 1) * L::size, &high, sizeof high);
    }
  }

  /// out[i] is the normal number of word i: `normal_pair` of words 2i and 2i + 1. Reads and writes `words` elements.
  static void normal(const std::uint32_t* in, float* out) {
    using V = typename L::V;
    for (std::uint32_t i = 0; i < words; i += 2 * L::size) {
      float u[2][L::size];
      for (int j = 0; j < L::size; ++j) {
        u[0][j] = static_cast<float>(static_cast<std::int32_t>(in[i + 2 * static_cast<std::uint32_t>(j)] >> 8) + 1);
        u[1][j] = static_cast<float>(static_cast<std::int32_t>(in[i + 2 * static_cast<std::uint32_t>(j) + 1] >> 8));
      }
      const V radius = L::sqrt(VectorMath<float, Isa>::log(L::load(u[0]) * 0x1p-24f) * -2.0f);
      const V angle = L::load(u[1]) * 0x1p-24f * 6.283185307179586f;
      const auto [cosine, sine] = VectorMath<float, Isa>::cos_sin(angle);
      L::store(out + i, L::interleave_low(radius * cosine, radius * sine));
      L::store(out + i + L::size, L::interleave_high(radius * cosine, radius * sine));
    }
  }

 private:
  // Low and high words of the products.
  [[gnu::always_inline]] static inline std::array<Words, 2> multiply(Words x, std::uint32_t factor) {
    const Wide even = multiply_even(x, Words{} + factor);
    const Wide odd = multiply_even(reinterpret_cast<Words>(reinterpret_cast<Wide>(x) >> 32), Words{} + factor);
    constexpr std::uint64_t low = 0xFFFFFFFFu;
    return {reinterpret_cast<Words>((even & low) | (odd << 32)), reinterpret_cast<Words>((even >> 32) | (odd & ~low))};
  }

  // Products of the words of even index (low words come first). Written as a multiplication of 64-bit words, compilers
  // miss that the upper halves are zero.
  [[gnu::always_inline]] static inline Wide multiply_even(Words a, Words b) {
    [[maybe_unused]] const auto x = reinterpret_cast<Vec<int, Isa>>(a), y = reinterpret_cast<Vec<int, Isa>>(b);
#if defined(__AVX512F__) && defined(__clang__)
    if constexpr (Isa::vector_bytes == 64) return reinterpret_cast<Wide>(__builtin_ia32_pmuludq512(x, y));
#elif defined(__AVX512F__)
    if constexpr (Isa::vector_bytes == 64)
      return reinterpret_cast<Wide>(
          __builtin_ia32_pmuludq512_mask(x, y, Vec<long long, Isa>{}, static_cast<unsigned char>(-1)));
#endif
#if defined(__AVX2__)
    if constexpr (Isa::vector_bytes == 32) return reinterpret_cast<Wide>(__builtin_ia32_pmuludq256(x, y));
#endif
#if defined(__SSE2__)
    if constexpr (Isa::vector_bytes == 16) return reinterpret_cast<Wide>(__builtin_ia32_pmuludq128(x, y));
#endif
    constexpr std::uint64_t low = 0xFFFFFFFFu;
    return (reinterpret_cast<Wide>(a) & low) * (reinterpret_cast<Wide>(b) & low);
  }
};

}  // namespace data2vec::inline v0
