// SPDX-License-Identifier: MIT
// Moving rows and arithmetic on whole arrays, on the processor.
#pragma once

#include <cstring>

#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/device/elementwise.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Elementwise<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <int C, class T>
  static void gather_rows(Cpu&, int count, const T* x, const int* index, T* y) {
    for (int i = 0; i < count; ++i) {
      if (index[i] < 0) std::memset(y + Index{i} * C, 0, sizeof(T) * C);
      else std::memcpy(y + Index{i} * C, x + Index{index[i]} * C, sizeof(T) * C);
    }
  }

  template <int C, class T>
  static void scatter_add_rows(Cpu& d, int count, const T* x, const int* index, T* y) {
    for (int i = 0; i < count; ++i)
      if (index[i] >= 0) add<T>(d, C, y + Index{index[i]} * C, x + Index{i} * C, y + Index{index[i]} * C);
  }

  template <class T>
  static void add(Cpu&, std::size_t count, const T* a, const T* b, T* y) {
    using V = Vec<T, Isa>;
    Lanes<T, Isa>::map(count, y, [](V u, V v) { return u + v; }, a, b);
  }

  template <class T>
  static void add_scaled(Cpu&, std::size_t count, double alpha, const T* x, T* y) {
    using L = Lanes<T, Isa>;
    const auto factor = L::all(static_cast<T>(alpha));
    L::map(count, y, [=](typename L::V u, typename L::V v) { return L::fma(factor, u, v); }, x, y);
  }

  template <class T>
  static void scale(Cpu&, std::size_t count, double alpha, T* y) {
    using V = Vec<T, Isa>;
    const T factor = static_cast<T>(alpha);
    Lanes<T, Isa>::map(count, y, [=](V u) { return u * factor; }, y);
  }

  template <class T>
  static void fill(Cpu&, std::size_t count, double value, T* y) {
    const T element = static_cast<T>(value);
    for (std::size_t i = 0; i < count; ++i) y[i] = element;
  }

  template <class T>
  static void copy(Cpu&, std::size_t count, const T* x, T* y) {
    if (count > 0) std::memcpy(y, x, count * sizeof(T));
  }

  template <class T>
  static void copy_strided(Cpu&, int rows, int width, const T* x, Index x_stride, T* y, Index y_stride) {
    for (int i = 0; i < rows; ++i, x += x_stride, y += y_stride)
      std::memcpy(y, x, sizeof(T) * static_cast<std::size_t>(width));
  }
};

}  // namespace data2vec::inline v0
