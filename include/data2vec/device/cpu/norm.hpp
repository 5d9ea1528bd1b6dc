// SPDX-License-Identifier: MIT
// Layer norm and standardisation of channels, on the processor.
#pragma once

#include <algorithm>
#include <cmath>

#include <data2vec/device/cpu/math.hpp>
#include <data2vec/device/norm.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Norm<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <int C, class T>
  static void layer_norm(Cpu& d, int rows, const T* x, const T* gamma, const T* beta, double eps, T* y, T* stats) {
    detail::share(d, rows, row_grain<C>, [=](Index first, Index end) {
      using V = Vec<T, Isa>;
      const auto rows_by = [=](auto f) { norm_rows<C, T>(first, end, x + first * C, eps, y + first * C, stats, f); };
      if (gamma)
        rows_by([=](V u, Index, int c, auto n) {
          return Lanes<T, Isa>::fma(u, get<T>(gamma + c, n), get<T>(beta + c, n));
        });
      else rows_by([](V u, Index, int, auto) { return u; });
    });
  }

  // Some rows at a time, so that their sum is normed before it leaves the cache.
  template <int C, class T>
  static void add_layer_norm(Cpu& d, int rows, const T* a, const T* b, const T* gamma, const T* beta, double eps,
                             T* sum, T* y, T* stats) {
    detail::share(d, rows, row_grain<C>, [=](Index first, Index end) {
      using V = Vec<T, Isa>;
      Cpu alone;
      for (Index r = first; r < end; r += row_grain<C>) {
        const int count = static_cast<int>(std::min<Index>(row_grain<C>, end - r));
        Lanes<T, Isa>::map(static_cast<std::size_t>(count) * C, sum + r * C, [](V u, V v) { return u + v; }, a + r * C,
                           b + r * C);
        layer_norm<C>(alone, count, sum + r * C, gamma, beta, eps, y + r * C, stats ? stats + 2 * r : nullptr);
      }
    });
  }

  // With u = (x - mean) s and g = dy gamma: dx = s (g - mean(g) - u mean(g u)).
  template <int C, class T>
  static void layer_norm_backward(Cpu& d, int rows, const T* dy, const T* x, const T* gamma, const T* stats, T* dx,
                                  T* dgamma, T* dbeta) {
    if (!d.team || rows <= row_grain<C>) return backward_rows<C, true>(0, rows, dy, x, gamma, stats, dx, dgamma, dbeta);
    // Sums over rows stay one thread's work, so they are shared by channels, before dx takes the place of dy.
    if (dgamma)
      detail::share(d, C, 64, [=](Index first, Index end) {
        for (Index c = first; c < end; c += Lanes<T, Isa>::size)
          sum_channels<C>(rows, static_cast<int>(std::min<Index>(Lanes<T, Isa>::size, end - c)), dy + c, x + c, stats,
                          dgamma + c, dbeta + c);
      });
    detail::share(d, rows, row_grain<C>, [=](Index first, Index end) {
      backward_rows<C, false>(first, end, dy + first * C, x + first * C, gamma, stats, dx + first * C, dgamma, dbeta);
    });
  }

  template <int C, class T>
  static void norm_gelu(Cpu& d, int rows, const T* x, double eps, const T* residual, T* y, T* stats) {
    using V = Vec<T, Isa>;
    detail::share(d, rows, row_grain<C>, [=](Index first, Index end) {
      norm_rows<C, T>(first, end, x + first * C, eps, y + first * C, stats,
                      [from = residual ? residual + first * C : nullptr, row = first](V u, Index r, int c, auto n) {
                        const V activated = VectorMath<T, Isa>::gelu(u);
                        return from ? activated + get<T>(from + (r - row) * C + c, n) : activated;
                      });
    });
  }

  // With u the norm's output and g = dy gelu'(u): dx = s (g - mean(g) - u mean(g u)).
  template <int C, class T>
  static void norm_gelu_backward(Cpu& d, int rows, const T* dy, const T* x, const T* stats, T* dx) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    detail::share(d, rows, row_grain<C>, [=](Index first, Index end) {
      for (Index r = first; r < end; ++r) {
        const T *row = x + r * C, *g_row = dy + r * C;
        T* to = dx + r * C;
        const V centre = L::all(stats[2 * r]), s = L::all(stats[2 * r + 1]);
        V sum{}, product{};
        each<C, T>([&](int c, auto n) {
          const V u = trim<T>((get<T>(row + c, n) - centre) * s, n);
          const V g = get<T>(g_row + c, n) * VectorMath<T, Isa>::gelu_derivative(u);
          sum += g;
          product = L::fma(g, u, product);
          put<T>(to + c, g, n);
        });
        const V mean = L::all(L::sum(sum) / T(C)), slope = L::all(-L::sum(product) / T(C));
        each<C, T>([&](int c, auto n) {
          const V u = (get<T>(row + c, n) - centre) * s;
          put<T>(to + c, L::fma(u, slope, get<T>(to + c, n) - mean) * s, n);
        });
      }
    });
  }

  template <int C, class T>
  static void standardise_channels(Cpu& d, int groups, int rows, double eps, T* x) {
    constexpr Index blocks = (C + channel_block - 1) / channel_block;
    const Index whole = Index{groups} * blocks;
    detail::share(d, whole, Index{rows} * C < 8192 ? whole : 1, [=](Index first, Index end) {
      for (Index i = first; i < end; ++i) {
        const int channel = static_cast<int>(i % blocks) * channel_block;
        standardise<C>(rows, std::min(channel_block, C - channel), eps, x + i / blocks * rows * C + channel);
      }
    });
  }

 private:
  template <int C>
  static constexpr Index row_grain = std::max(1, 8192 / C);
  static constexpr int channel_block = 64;

  // Rows [r, end): y = f(normed value, row, channel, number of channels).
  template <int C, class T, class F>
  static void norm_rows(Index r, Index end, const T* x, double eps, T* y, T* stats, F f) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    for (; r < end; ++r, x += C, y += C) {
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
      each<C, T>([&](int c, auto n) { put<T>(y + c, f((get<T>(x + c, n) - centre) * factor, r, c, n), n); });
      if (stats) {
        stats[2 * r] = mean;
        stats[2 * r + 1] = scale;
      }
    }
  }

  // Rows [r, end), and, if `sums`, the sums over them in blocks of 256.
  template <int C, bool sums, class T>
  static void backward_rows(Index r, Index end, const T* dy, const T* x, const T* gamma, const T* stats, T* dx,
                            T* dgamma, T* dbeta) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    constexpr int padded = (C + L::size - 1) / L::size * L::size;
    while (r < end) {
      alignas(64) T gamma_part[padded] = {}, beta_part[padded] = {};
      for (const Index stop = std::min(end, r + sum_block); r < stop; ++r, dy += C, x += C, dx += C) {
        const V centre = L::all(stats[2 * r]), s = L::all(stats[2 * r + 1]);
        V sum{}, product{};
        each<C, T>([&](int c, auto n) {
          const V d = get<T>(dy + c, n), u = (get<T>(x + c, n) - centre) * s;
          const V g = gamma ? d * get<T>(gamma + c, n) : d;
          sum += g;
          product = L::fma(g, u, product);
          if constexpr (sums) {
            L::store(gamma_part + c, L::fma(d, u, L::load(gamma_part + c)));
            L::store(beta_part + c, L::load(beta_part + c) + d);
          }
        });
        const V mean = L::all(L::sum(sum) / T(C)), slope = L::all(-L::sum(product) / T(C));
        each<C, T>([&](int c, auto n) {
          const V d = get<T>(dy + c, n), u = (get<T>(x + c, n) - centre) * s;
          const V g = gamma ? L::fma(d, get<T>(gamma + c, n), -mean) : d - mean;
          put<T>(dx + c, L::fma(u, slope, g) * s, n);
        });
      }
      if (sums && dgamma)
        for (int c = 0; c < C; ++c) {
          dgamma[c] += gamma_part[c];
          dbeta[c] += beta_part[c];
        }
    }
  }

  // The sums of `backward_rows` for n channels, at most a vector's, in the same order.
  template <int C, class T>
  static void sum_channels(Index rows, int n, const T* dy, const T* x, const T* stats, T* dgamma, T* dbeta) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    for (Index r = 0; r < rows;) {
      V gamma_part{}, beta_part{};
      for (const Index stop = std::min(rows, r + sum_block); r < stop; ++r, dy += C, x += C) {
        const V d = L::load(dy, n);
        gamma_part = L::fma(d, (L::load(x, n) - stats[2 * r]) * stats[2 * r + 1], gamma_part);
        beta_part = beta_part + d;
      }
      L::store(dgamma, L::load(dgamma, n) + gamma_part, n);
      L::store(dbeta, L::load(dbeta, n) + beta_part, n);
    }
  }
  static constexpr Index sum_block = 256;

  // n channels of the rows of one group.
  template <int C, class T>
  static void standardise(int rows, int n, double eps, T* x) {
    double mean[channel_block] = {}, squares[channel_block] = {};
    for (Index r = 0; r < rows; ++r)
      for (int c = 0; c < n; ++c) mean[c] += static_cast<double>(x[r * C + c]);
    for (int c = 0; c < n; ++c) mean[c] /= rows;
    for (Index r = 0; r < rows; ++r)
      for (int c = 0; c < n; ++c) {
        const double u = static_cast<double>(x[r * C + c]) - mean[c];
        squares[c] += u * u;
      }
    T centre[channel_block], scale[channel_block];
    for (int c = 0; c < n; ++c) {
      centre[c] = static_cast<T>(mean[c]);
      scale[c] = static_cast<T>(1 / std::sqrt(squares[c] / rows + eps));
    }
    for (Index r = 0; r < rows; ++r)
      for (int c = 0; c < n; ++c) x[r * C + c] = (x[r * C + c] - centre[c]) * scale[c];
  }

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
