// SPDX-License-Identifier: MIT
// Sums in double with a fixed order, and the regression losses, on the processor.
#pragma once

#include <algorithm>
#include <cmath>

#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/device/reduce.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Reduce<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <class T>
  static double sum_of_squares(Cpu&, std::size_t count, const T* x) {
    constexpr std::size_t block = 4096;
    double total = 0;
    for (std::size_t start = 0; start < count; start += block) {
      const std::size_t n = std::min(block, count - start);
      double lane[16] = {};
      for (std::size_t i = 0; i < n; ++i) {
        const double value = static_cast<double>(x[start + i]);
        lane[i % 16] += value * value;
      }
      double sum = 0;
      for (const double part : lane) sum += part;
      total += sum;
    }
    return total;
  }

  template <int C, class T>
  static double regression_loss(Cpu&, int rows, const T* prediction, const T* targets, const int* index, double beta,
                                double weight, T* dprediction) {
    double total = 0;
    for (int r = 0; r < rows; ++r) {
      const T *p = prediction + Index{r} * C, *t = targets + Index{index[r]} * C;
      T* d = dprediction + Index{r} * C;
      double row = 0;
      for (int c = 0; c < C; ++c) {
        const double u = static_cast<double>(p[c]) - static_cast<double>(t[c]), size = std::abs(u);
        if (beta == 0) {
          row += u * u;
          d[c] = static_cast<T>(weight * 2 * u);
        } else if (size < beta) {
          row += u * u / (2 * beta);
          d[c] = static_cast<T>(weight * u / beta);
        } else {
          row += size - beta / 2;
          d[c] = static_cast<T>(u != u ? u : std::copysign(weight, u * weight));
        }
      }
      total += row;
    }
    return total;
  }

  template <int C, class T>
  static void channel_moments(Cpu&, int rows, const T* x, const int* index, double* sum, double* squares) {
    for (int r = 0; r < rows; ++r) {
      const T* row = x + Index{index ? index[r] : r} * C;
      for (int c = 0; c < C; ++c) {
        const double value = static_cast<double>(row[c]);
        sum[c] += value;
        squares[c] += value * value;
      }
    }
  }
};

}  // namespace data2vec::inline v0
