// SPDX-License-Identifier: MIT
// Dropout, stochastic depth and normal noise, on the processor.
#pragma once

#include <algorithm>
#include <cstring>

#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/device/dropout.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Dropout<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <class T>
  static void elements(Cpu&, int rows, int width, const DropoutDraws& draws, const T* x, T* y) {
    for (int r = 0; r < rows; ++r) apply(draws.key(r), 0, width, draws.rate, x + Index{r} * width, y + Index{r} * width);
  }

  /// Elements [first, first + count) of the stream at `key`; x and y begin at `first`.
  template <class T>
  static void apply(const DrawKey& key, std::uint32_t first, int count, double rate, const T* x, T* y) {
    const T scale = static_cast<T>(1 / (1 - rate));
    for (int e = 0; e < count;) {
      const std::uint32_t place = first + static_cast<std::uint32_t>(e);
      const auto block = draw(key, place / 4);
      for (std::uint32_t i = place % 4; i < 4 && e < count; ++i, ++e) y[e] = kept(block, i, rate) ? x[e] * scale : T(0);
    }
  }

  template <class T>
  static void rows(Cpu&, int count, int width, const DropoutDraws& draws, const T* x, T* y) {
    const T scale = static_cast<T>(1 / (1 - draws.rate));
    for (int r = 0; r < count; ++r, x += width, y += width) {
      if (!kept(draw(draws.key(r), 0), 0, draws.rate)) {
        for (int i = 0; i < width; ++i) y[i] = T(0);
      } else {
        for (int i = 0; i < width; ++i) y[i] = x[i] * scale;
      }
    }
  }

  template <class T>
  static void noise(Cpu&, int rows, int width, const DropoutDraws& draws, T* y) {
    const T deviation = static_cast<T>(draws.rate);
    for (int r = 0; r < rows; ++r, y += width) {
      const DrawKey key = draws.key(r);
      for (int e = 0; e < width; e += 4) {
        const auto block = draw(key, static_cast<std::uint32_t>(e / 4));
        const auto low = normal_pair(block[0], block[1]), high = normal_pair(block[2], block[3]);
        const float values[4] = {low[0], low[1], high[0], high[1]};
        for (int i = 0; i < std::min(4, width - e); ++i) y[e + i] = deviation * static_cast<T>(values[i]);
      }
    }
  }
};

}  // namespace data2vec::inline v0
