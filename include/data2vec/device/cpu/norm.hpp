// SPDX-License-Identifier: MIT
// Layer norm and standardisation of channels, on the processor.
#pragma once

#include <algorithm>
#include <cmath>

#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/device/norm.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Norm<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <int C, class T>
  static void layer_norm(Cpu&, int rows, const T* x, const T* gamma, const T* beta, double eps, T* y, T* stats) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    for (int r = 0; r < rows; ++r, x += C, y += C) {
      V sum{};
      each<C, T>([&](int c, auto n) { sum += get<T>(x + c, n); });
      const T mean = L::sum(sum) / T(C);
      const V centre = L::all(mean);
      V squares{};
      each<C, T>([&](int c, auto n) {
        const V u = trim<T>(get<T>(x + c, n) - centre, n);
        squares = L::fma(u, u, squares);
      });
      const T scale = T(1) / std::sqrt(L::sum(squares) / T(C) + static_cast<T>(eps));
      const V factor = L::all(scale);
      if (gamma) {
        each<C, T>([&](int c, auto n) {
          const V u = (get<T>(x + c, n) - centre) * factor;
          put<T>(y + c, L::fma(u, get<T>(gamma + c, n), get<T>(beta + c, n)), n);
        });
      } else {
        each<C, T>([&](int c, auto n) { put<T>(y + c, (get<T>(x + c, n) - centre) * factor, n); });
      }
      if (stats) {
        stats[2 * Index{r}] = mean;
        stats[2 * Index{r} + 1] = scale;
      }
    }
  }

  // With u = (x - mean) s and g = dy gamma: dx = s (g - mean(g) - u mean(g u)).
  template <int C, class T>
  static void layer_norm_backward(Cpu&, int rows, const T* dy, const T* x, const T* gamma, const T* stats, T* dx,
                                  T* dgamma, T* dbeta) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    constexpr int padded = (C + L::size - 1) / L::size * L::size;
    for (int r0 = 0; r0 < rows; r0 += 256) {  // sums of blocks of rows
      alignas(64) T gamma_part[padded] = {}, beta_part[padded] = {};
      for (int r = r0; r < std::min(rows, r0 + 256); ++r, dy += C, x += C, dx += C) {
        const V centre = L::all(stats[2 * Index{r}]), s = L::all(stats[2 * Index{r} + 1]);
        V sum{}, product{};
        each<C, T>([&](int c, auto n) {
          const V d = get<T>(dy + c, n), u = (get<T>(x + c, n) - centre) * s;
          const V g = gamma ? d * get<T>(gamma + c, n) : d;
          sum += g;
          product = L::fma(g, u, product);
          L::store(gamma_part + c, L::fma(d, u, L::load(gamma_part + c)));
          L::store(beta_part + c, L::load(beta_part + c) + d);
        });
        const V mean = L::all(L::sum(sum) / T(C)), slope = L::all(-L::sum(product) / T(C));
        each<C, T>([&](int c, auto n) {
          const V d = get<T>(dy + c, n), u = (get<T>(x + c, n) - centre) * s;
          const V g = gamma ? L::fma(d, get<T>(gamma + c, n), -mean) : d - mean;
          put<T>(dx + c, L::fma(u, slope, g) * s, n);
        });
      }
      if (dgamma) {
        for (int c = 0; c < C; ++c) {
          dgamma[c] += gamma_part[c];
          dbeta[c] += beta_part[c];
        }
      }
    }
  }

  template <int C, class T>
  static void standardise_channels(Cpu&, int groups, int rows, double eps, T* x) {
    for (int g = 0; g < groups; ++g, x += Index{rows} * C) {
      double mean[C] = {}, squares[C] = {};
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < C; ++c) mean[c] += static_cast<double>(x[Index{r} * C + c]);
      for (int c = 0; c < C; ++c) mean[c] /= rows;
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < C; ++c) {
          const double u = static_cast<double>(x[Index{r} * C + c]) - mean[c];
          squares[c] += u * u;
        }
      T centre[C], scale[C];
      for (int c = 0; c < C; ++c) {
        centre[c] = static_cast<T>(mean[c]);
        scale[c] = static_cast<T>(1 / std::sqrt(squares[c] / rows + eps));
      }
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < C; ++c) x[Index{r} * C + c] = (x[Index{r} * C + c] - centre[c]) * scale[c];
    }
  }

 private:
  // The channels of a row by vectors: f(first channel, number of channels), the number a constant of its type.
  template <int C, class T, class F>
  [[gnu::always_inline]] static inline void each(F f) {
    constexpr int size = Lanes<T, Isa>::size, whole = C / size * size;
    for (int c = 0; c < whole; c += size) f(c, std::integral_constant<int, size>());
    if constexpr (whole < C) f(whole, std::integral_constant<int, C - whole>());
  }
  template <class T, int n>
  [[gnu::always_inline]] static inline Vec<T, Isa> get(const T* p, std::integral_constant<int, n>) {
    if constexpr (n == Lanes<T, Isa>::size) return Lanes<T, Isa>::load(p);
    else return Lanes<T, Isa>::load(p, n);
  }
  template <class T, int n>
  [[gnu::always_inline]] static inline void put(T* p, Vec<T, Isa> v, std::integral_constant<int, n>) {
    if constexpr (n == Lanes<T, Isa>::size) Lanes<T, Isa>::store(p, v);
    else Lanes<T, Isa>::store(p, v, n);
  }
  template <class T, int n>
  [[gnu::always_inline]] static inline Vec<T, Isa> trim(Vec<T, Isa> v, std::integral_constant<int, n>) {
    if constexpr (n == Lanes<T, Isa>::size) return v;
    else return Lanes<T, Isa>::first(v, n);
  }
};

}  // namespace data2vec::inline v0
