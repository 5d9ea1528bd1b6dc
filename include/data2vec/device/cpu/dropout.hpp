// SPDX-License-Identifier: MIT
// Dropout, stochastic depth and normal noise, on the processor.
#pragma once

#include <algorithm>
#include <cmath>

#include <data2vec/device/cpu/random.hpp>
#include <data2vec/device/dropout.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Dropout<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;
  using Random = VectorRandom<Isa>;

  template <class T>
  static void elements(Cpu& d, int rows, int width, const DropoutDraws& draws, const T* x, T* y) {
    detail::share(d, rows, grain(width), [&](Index first, Index end) {
      for (Index r = first; r < end; ++r)
        apply(draws.key(static_cast<int>(r)), 0, width, draws.rate, x + r * width, y + r * width);
    });
  }

  /// Elements [first, first + count) of the stream at `key`; x and y begin at `first`; y may be x.
  template <class T>
  static void apply(const DrawKey& key, std::uint32_t first, int count, double rate, const T* x, T* y) {
    const T scale = static_cast<T>(1 / (1 - rate));
    // unit_float(w) >= rate, in whole numbers: both sides times 2^24 are exact.
    const auto threshold = static_cast<std::int32_t>(std::min(std::ceil(std::max(rate, 0.0) * 0x1p24), 0x1p24));
    alignas(64) std::uint32_t words[Random::words];
    for (int e = 0; e < count;) {
      const std::uint32_t place = first + static_cast<std::uint32_t>(e), skip = place % 4;
      Random::draw(key, place / 4, words);
      const int n = std::min(count - e, static_cast<int>(Random::words - skip));
      select(n, words + skip, threshold, scale, x + e, y + e);
      e += n;
    }
  }

  template <class T>
  static void rows(Cpu&, int count, int width, const DropoutDraws& draws, const T* x, T* y) {
    using V = Vec<T, Isa>;
    const T scale = static_cast<T>(1 / (1 - draws.rate));
    for (int r = 0; r < count; ++r, x += width, y += width) {
      if (kept(draw(draws.key(r), 0), 0, draws.rate))
        Lanes<T, Isa>::map(static_cast<std::size_t>(width), y, [=](V a) { return a * scale; }, x);
      else std::fill(y, y + width, T(0));
    }
  }

  template <class T>
  static void noise(Cpu& d, int rows, int width, const DropoutDraws& draws, T* y) {
    detail::share(d, rows, grain(width),
                  [&](Index first, Index end) { noise_rows(first, end, width, draws, y + first * width); });
  }

 private:
  static constexpr Index grain(int width) { return std::max(1, 4096 / std::max(width, 1)); }

  template <class T>
  static void noise_rows(Index r, Index end, int width, const DropoutDraws& draws, T* y) {
    const T deviation = static_cast<T>(draws.rate);
    alignas(64) std::uint32_t words[Random::words];
    alignas(64) float values[Random::words];
    for (; r < end; ++r, y += width) {
      const DrawKey key = draws.key(static_cast<int>(r));
      for (int e = 0; e < width; e += static_cast<int>(Random::words)) {
        Random::draw(key, static_cast<std::uint32_t>(e) / 4, words);
        Random::normal(words, values);
        const int n = std::min(width - e, static_cast<int>(Random::words));
        for (int i = 0; i < n; ++i) y[e + i] = deviation * static_cast<T>(values[i]);
      }
    }
  }

  template <class T>
  static void select(int n, const std::uint32_t* words, std::int32_t threshold, T scale, const T* x, T* y) {
    int i = 0;
    if constexpr (sizeof(T) == 4) {
      using L = Lanes<T, Isa>;
      for (; i + L::size <= n; i += L::size) {
        Vec<std::uint32_t, Isa> w;
        __builtin_memcpy(&w, words + i, sizeof w);
        const auto keep = reinterpret_cast<typename L::I>(w >> 8) >= threshold;
        L::store(y + i, keep ? L::load(x + i) * scale : typename L::V{});
      }
    }
    for (; i < n; ++i) y[i] = static_cast<std::int32_t>(words[i] >> 8) >= threshold ? x[i] * scale : T(0);
  }
};

}  // namespace data2vec::inline v0
