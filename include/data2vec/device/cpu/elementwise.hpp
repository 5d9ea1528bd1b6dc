// SPDX-License-Identifier: MIT
// Moving rows and arithmetic on whole arrays, on the processor.
#pragma once

#include <algorithm>
#include <cstring>

#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/device/elementwise.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Elementwise<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <int C, class T>
  static void gather_rows(Cpu& d, int count, const T* x, const int* index, T* y) {
    detail::share(d, count, std::max<Index>(1, grain / C), [=](Index first, Index end) {
      for (Index i = first; i < end; ++i) {
        if (index[i] < 0) std::memset(y + i * C, 0, sizeof(T) * C);
        else std::memcpy(y + i * C, x + Index{index[i]} * C, sizeof(T) * C);
      }
    });
  }

  // Rows of y may be named more than once: threads share its columns.
  template <int C, class T>
  static void scatter_add_rows(Cpu& d, int count, const T* x, const int* index, T* y) {
    detail::share(d, C, Index{count} * C < grain ? C : 64, [=](Index first, Index end) {
      for (Index i = 0; i < count; ++i) {
        if (index[i] < 0) continue;
        T* target = y + Index{index[i]} * C + first;
        sum(static_cast<std::size_t>(end - first), target, x + i * C + first, target);
      }
    });
  }

  template <class T>
  static void add(Cpu& d, std::size_t count, const T* a, const T* b, T* y) {
    pieces(d, count, [=](Index first, std::size_t n) { sum(n, a + first, b + first, y + first); });
  }

  template <class T>
  static void add_repeated(Cpu& d, int rows, int width, const T* x, const T* repeated, T* y) {
    const auto n = static_cast<std::size_t>(width);
    detail::share(d, rows, std::max<Index>(1, grain / std::max(1, width)), [=](Index first, Index end) {
      for (Index i = first; i < end; ++i) sum(n, x + i * width, repeated, y + i * width);
    });
  }

  template <int C, class T>
  static void mean_rows(Cpu& d, int groups, int rows, const T* x, T* y) {
    const T factor = static_cast<T>(1.0 / rows);
    detail::share(d, groups, std::max<Index>(1, grain / (Index{C} * std::max(1, rows))), [=](Index first, Index end) {
      using V = Vec<T, Isa>;
      for (Index g = first; g < end; ++g) {
        T* const mean = y + g * C;
        std::fill_n(mean, C, T{0});
        for (Index r = 0; r < rows; ++r) sum(C, mean, x + (g * rows + r) * C, mean);
        Lanes<T, Isa>::map(C, mean, [=](V u) { return u * factor; }, mean);
      }
    });
  }

  template <int C, class T>
  static void scale_channels(Cpu& d, int rows, const T* x, const T* scales, T* y) {
    using V = Vec<T, Isa>;
    detail::share(d, rows, std::max<Index>(1, grain / C), [=](Index first, Index end) {
      for (Index i = first; i < end; ++i)
        Lanes<T, Isa>::map(C, y + i * C, [=](V u, V v) { return u * v; }, x + i * C, scales);
    });
  }

  // Threads share the channels, so that every sum has the order of the rows.
  template <int C, class T>
  static void channel_dots(Cpu& d, int rows, const T* x, const T* y, T* dots) {
    using L = Lanes<T, Isa>;
    detail::share(d, C, Index{rows} * C < grain ? C : 64, [=](Index first, Index end) {
      for (Index i = 0; i < rows; ++i)
        L::map(static_cast<std::size_t>(end - first), dots + first,
               [=](typename L::V u, typename L::V v, typename L::V sum) { return L::fma(u, v, sum); },
               x + i * C + first, y + i * C + first, dots + first);
    });
  }

  template <class T>
  static void add_scaled(Cpu& d, std::size_t count, double alpha, const T* x, T* y) {
    using L = Lanes<T, Isa>;
    const auto factor = L::all(static_cast<T>(alpha));
    pieces(d, count, [=](Index first, std::size_t n) {
      L::map(n, y + first, [=](typename L::V u, typename L::V v) { return L::fma(factor, u, v); }, x + first,
             y + first);
    });
  }

  template <class T>
  static void scale(Cpu& d, std::size_t count, double alpha, T* y) {
    using V = Vec<T, Isa>;
    const T factor = static_cast<T>(alpha);
    pieces(d, count, [=](Index first, std::size_t n) {
      Lanes<T, Isa>::map(n, y + first, [=](V u) { return u * factor; }, y + first);
    });
  }

  template <class T>
  static void fill(Cpu& d, std::size_t count, double value, T* y) {
    const T element = static_cast<T>(value);
    pieces(d, count, [=](Index first, std::size_t n) { std::fill_n(y + first, n, element); });
  }

  template <class T>
  static void copy(Cpu& d, std::size_t count, const T* x, T* y) {
    pieces(d, count, [=](Index first, std::size_t n) { std::memcpy(y + first, x + first, n * sizeof(T)); });
  }

  template <class T>
  static void copy_strided(Cpu&, int rows, int width, const T* x, Index x_stride, T* y, Index y_stride) {
    for (int i = 0; i < rows; ++i, x += x_stride, y += y_stride)
      std::memcpy(y, x, sizeof(T) * static_cast<std::size_t>(width));
  }

 private:
  static constexpr Index grain = 16384;  // elements that are worth a thread's while

  template <class F>
  static void pieces(Cpu& d, std::size_t count, F f) {
    detail::share(d, static_cast<Index>(count), grain,
                  [=](Index first, Index end) { f(first, static_cast<std::size_t>(end - first)); });
  }
  template <class T>
  static void sum(std::size_t count, const T* a, const T* b, T* y) {
    using V = Vec<T, Isa>;
    Lanes<T, Isa>::map(count, y, [](V u, V v) { return u + v; }, a, b);
  }
};

}  // namespace data2vec::inline v0
