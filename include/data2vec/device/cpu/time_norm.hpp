// SPDX-License-Identifier: MIT
// Normalisation over time on the processor: blocks of channels, whose sums over the frames are taken in double.
#pragma once

#include <algorithm>
#include <cmath>

#include <data2vec/device/cpu/cpu.hpp>
#include <data2vec/device/time_norm.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::TimeNorm<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;
  static constexpr int channel_block = 64;

  template <int C, class T>
  static void forward(Cpu& d, int rows, int frames, const int* valid, const T* x, const T* gamma, const T* beta,
                      double eps, T* y, T* stats) {
    detail::share(d, Index{rows} * blocks<C>, 1, [=](Index first, Index end) {
      for (Index i = first; i < end; ++i) {
        const Index row = i / blocks<C>;
        const int c = static_cast<int>(i % blocks<C>) * channel_block, n = std::min(channel_block, C - c);
        const int count = valid ? valid[row] : frames;
        const Index start = row * frames * C + c;
        T* const s = stats + row * 2 * C + c;
        moments<C>(count, n, eps, x + start, s);
        for (Index t = 0; t < count; ++t)
          for (int j = 0; j < n; ++j) {
            const Index at = start + t * C + j;
            y[at] = (x[at] - s[j]) * s[C + j] * gamma[c + j] + beta[c + j];
          }
        clear<C>(count, frames, n, y + start);
      }
    });
  }

  // With u = (x - mean) s and g = dy gamma: dx = s (g - mean(g) - u mean(g u)), means over time.
  template <int C, class T>
  static void backward(Cpu& d, int rows, int frames, const int* valid, const T* dy, const T* x, const T* gamma,
                       const T* stats, T* dx, T* dgamma, T* dbeta) {
    // A block of channels is one thread's, for all rows: their sums are added in the order of the rows.
    detail::share(d, blocks<C>, 1, [=](Index first, Index end) {
      for (Index i = first; i < end; ++i)
        for (Index row = 0; row < rows; ++row) {
          const int c = static_cast<int>(i) * channel_block, n = std::min(channel_block, C - c);
          const int count = valid ? valid[row] : frames;
          const Index start = row * frames * C + c;
          const T* const s = stats + row * 2 * C + c;
          double sum[channel_block] = {}, product[channel_block] = {};
          for (Index t = 0; t < count; ++t)
            for (int j = 0; j < n; ++j) {
              const Index at = start + t * C + j;
              sum[j] += static_cast<double>(dy[at]);
              product[j] += static_cast<double>(dy[at]) * static_cast<double>((x[at] - s[j]) * s[C + j]);
            }
          T mean[channel_block], slope[channel_block], factor[channel_block];
          for (int j = 0; j < n; ++j) {
            dgamma[c + j] += static_cast<T>(product[j]);
            dbeta[c + j] += static_cast<T>(sum[j]);
            mean[j] = static_cast<T>(sum[j] / std::max(count, 1));
            slope[j] = static_cast<T>(product[j] / std::max(count, 1));
            factor[j] = gamma[c + j] * s[C + j];
          }
          for (Index t = 0; t < count; ++t)
            for (int j = 0; j < n; ++j) {
              const Index at = start + t * C + j;
              const T u = (x[at] - s[j]) * s[C + j];
              dx[at] = factor[j] * (dy[at] - mean[j] - u * slope[j]);
            }
          clear<C>(count, frames, n, dx + start);
        }
    });
  }

 private:
  template <int C>
  static constexpr Index blocks = (C + channel_block - 1) / channel_block;

  // Means of n channels to stats[j], 1 / sqrt(variance + eps) to stats[C + j].
  template <int C, class T>
  static void moments(int count, int n, double eps, const T* x, T* stats) {
    double mean[channel_block] = {}, squares[channel_block] = {};
    const int divisor = std::max(count, 1);
    for (Index t = 0; t < count; ++t)
      for (int j = 0; j < n; ++j) mean[j] += static_cast<double>(x[t * C + j]);
    for (int j = 0; j < n; ++j) mean[j] /= divisor;
    for (Index t = 0; t < count; ++t)
      for (int j = 0; j < n; ++j) {
        const double u = static_cast<double>(x[t * C + j]) - mean[j];
        squares[j] += u * u;
      }
    for (int j = 0; j < n; ++j) {
      stats[j] = static_cast<T>(mean[j]);
      stats[C + j] = static_cast<T>(1 / std::sqrt(squares[j] / divisor + eps));
    }
  }

  template <int C, class T>
  static void clear(int from, int frames, int n, T* y) {
    for (Index t = from; t < frames; ++t) std::fill(y + t * C, y + t * C + n, T(0));
  }
};

}  // namespace data2vec::inline v0
