// SPDX-License-Identifier: MIT
// What the convolutions' tiles of registers have in common: vectors of channels beside rows of pixels or tiles.
#pragma once

#include <cstddef>

#include <data2vec/device/cpu/vec.hpp>

namespace data2vec::inline v0::detail {

template <class T, class Isa>
struct RegisterTiles {
  using L = Lanes<T, Isa>;
  using V = typename L::V;
  using Index = std::ptrdiff_t;
  static constexpr int width = L::size;
  static constexpr bool many_registers = Isa::vector_bytes == 64;
  static constexpr int vectors(int n) { return (n + width - 1) / width; }

  /// Rows of a tile of v vectors that cuts `rows` into parts of one height, for sums that fit the registers.
  template <int v, int rows>
  static constexpr int tall = [] {
    const int tallest = many_registers ? (v == 1 ? 14 : v == 2 ? 12 : 8) : (v == 1 ? 8 : 6);
    const int parts = (rows + tallest - 1) / tallest;
    return (rows + parts - 1) / parts;
  }();
};

}  // namespace data2vec::inline v0::detail
