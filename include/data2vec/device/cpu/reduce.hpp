// SPDX-License-Identifier: MIT
// Sums in double with a fixed order, and the regression losses, on the processor.
#pragma once

#include <algorithm>

#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/device/reduce.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Reduce<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;
  using L = Lanes<double, Isa>;
  using V = typename L::V;

  template <class T>
  static double sum_of_squares(Cpu&, std::size_t count, const T* x) {
    constexpr std::size_t block = 4096;
    double total = 0;
    for (std::size_t start = 0; start < count; start += block) {
      const int n = static_cast<int>(std::min(block, count - start));
      const T* p = x + start;
      V sum[4] = {};
      int i = 0;
      for (; i + 4 * L::size <= n; i += 4 * L::size)
        for (int j = 0; j < 4; ++j) {
          const V v = L::load_as(p + i + j * L::size);
          sum[j] = L::fma(v, v, sum[j]);
        }
      for (int j = 0; i < n; i += L::size, ++j) {
        const V v = n - i >= L::size ? L::load_as(p + i) : L::load_as(p + i, n - i);
        sum[j] = L::fma(v, v, sum[j]);
      }
      total += L::sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
    }
    return total;
  }

  template <int C, class T>
  static double regression_loss(Cpu&, int rows, const T* prediction, const T* targets, const int* index, double beta,
                                double weight, T* dprediction) {
    double total = 0;
    const auto sweep = [&](auto f) {  // f(u, loss) adds the loss and returns its derivative
      for (int r = 0; r < rows; ++r) {
        const T *p = prediction + Index{r} * C, *t = targets + Index{index[r]} * C;
        T* d = dprediction + Index{r} * C;
        if (index[r] < 0) {
          std::fill_n(d, C, T{});
          continue;
        }
        V loss{};
        constexpr int whole = C / L::size * L::size, rest = C - whole;
        for (int c = 0; c < whole; c += L::size) L::store_as(d + c, f(L::load_as(p + c) - L::load_as(t + c), loss));
        if constexpr (rest > 0)
          L::store_as(d + whole, f(L::load_as(p + whole, rest) - L::load_as(t + whole, rest), loss), rest);
        total += L::sum(loss);
      }
    };
    if (beta == 0) {
      sweep([slope = 2 * weight](V u, V& loss) {
        loss = L::fma(u, u, loss);
        return u * slope;
      });
    } else {
      sweep([=](V u, V& loss) {
        const V size = L::max(u, -u);
        const auto is_small = size < L::all(beta);
        loss += is_small ? u * u * (0.5 / beta) : size - 0.5 * beta;
        return is_small ? u * (weight / beta) : u > V{} ? L::all(weight) : u < V{} ? L::all(-weight) : u;
      });
    }
    return total;
  }

  template <int C, class T>
  static void channel_moments(Cpu&, int rows, const T* x, const int* index, double* sum, double* squares) {
    for (int r = 0; r < rows; ++r) {
      const int from = index ? index[r] : r;
      if (from < 0) continue;
      const T* row = x + Index{from} * C;
      for (int c = 0; c < C; ++c) {
        const double value = static_cast<double>(row[c]);
        sum[c] += value;
        squares[c] += value * value;
      }
    }
  }
};

}  // namespace data2vec::inline v0
