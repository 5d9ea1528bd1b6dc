// SPDX-License-Identifier: MIT
// View: a pointer whose shape is its type. Arrays are row-major and never owned by a view.
//
// Axis letters used throughout the library (behind tensor lines as `// (B, T, D)`):
//   B  samples              M  masks per sample (clone_batch)     N  rows = B * M, row = b * M + m
//   T  tokens of a sample   V  visible tokens of a row            R  masked tokens of a row
//   E  extra tokens         S  tokens in a sequence (E + T, E + V) D  embed_dim
//   H  heads                F  hidden width of the MLP            C  channels
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include <data2vec/core/macros.hpp>
#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// A non-owning row-major array of `T` with static dimensions `S...`.
template <class T, int... S>
struct View {
  using value_type = T;
  static constexpr int rank = sizeof...(S);
  static constexpr std::array<int, sizeof...(S)> shape{S...};
  static constexpr std::size_t size = (std::size_t{1} * ... * static_cast<std::size_t>(S));

  T* data = nullptr;

  D2V_HD constexpr operator View<const T, S...>() const requires(!std::is_const_v<T>) { return {data}; }

  /// The same elements under another shape of the same size.
  template <int... R>
  D2V_HD constexpr View<T, R...> reshape() const {
    static_assert(View<T, R...>::size == size, "data2vec: reshape must keep the number of elements");
    return {data};
  }

  /// Element `i` of a vector, or sub-array `i` of the first axis.
  D2V_HD constexpr decltype(auto) operator[](std::ptrdiff_t i) const {
    return index(i, std::type_identity<View>{});
  }

 private:
  template <int First>
  D2V_HD constexpr T& index(std::ptrdiff_t i, std::type_identity<View<T, First>>) const { return data[i]; }
  template <int First, int Second, int... Rest>
  D2V_HD constexpr View<T, Second, Rest...> index(std::ptrdiff_t i,
                                                  std::type_identity<View<T, First, Second, Rest...>>) const {
    return {data + i * static_cast<std::ptrdiff_t>(View<T, Second, Rest...>::size)};
  }
};

template <class X>
inline constexpr bool is_view = false;
template <class T, int... S>
inline constexpr bool is_view<View<T, S...>> = true;

/// Height and width of an image, a patch or a grid. One int means a square: `.input_size = 224`.
struct Extent {
  int height = 1, width = 1;
  constexpr Extent(int side) : height(side), width(side) {}
  constexpr Extent(int h, int w) : height(h), width(w) {}
  constexpr int size() const { return height * width; }
  friend constexpr bool operator==(const Extent&, const Extent&) = default;
};

/// A grid of tokens: token index = row * width + column.
using Grid = Extent;

}  // namespace data2vec::inline v0
