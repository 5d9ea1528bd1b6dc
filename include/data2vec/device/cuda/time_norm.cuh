// SPDX-License-Identifier: MIT
// Normalisation over time on the GPU: sums of every row and channel in double, then a pass over the elements.
#pragma once

#include <type_traits>

#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/math.hpp>
#include <data2vec/device/time_norm.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// Which frames of a row count.
struct ValidFrames {
  const int* valid;
  int frames;
  __device__ int operator()(std::size_t row) const { return valid ? valid[row] : frames; }
};

template <int C, class T>
struct TimeMoments {
  ValidFrames count;
  const T* x;
  __device__ void operator()(int row, int t, int c, double* sum) const {
    if (t >= count(row)) return;
    const auto v = static_cast<double>(to_float(x[(static_cast<std::size_t>(row) * count.frames + t) * C + c]));
    sum[0] += v;
    sum[1] += v * v;
  }
};

/// stats (rows, 2, C) of sums (rows, 2, C).
template <int C>
struct TimeStats {
  ValidFrames count;
  double eps;
  const double* sums;
  float* stats;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, C);
    const std::size_t at = place.quotient * 2 * C + place.rest;
    const int n = greater(count(place.quotient), 1);
    const double mean = sums[at] / n, variance = sums[at + C] / n - mean * mean;
    stats[at] = static_cast<float>(mean);
    stats[at + C] = static_cast<float>(1 / sqrt((variance < 0 ? 0 : variance) + eps));
  }
};

template <int C, int n, class T>
struct TimeNormed {
  ValidFrames count;
  const T *x, *gamma, *beta;
  const float* stats;
  T* y;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, C / n), frame = divide(place.quotient, count.frames);
    float v[n] = {};
    if (frame.rest < count(frame.quotient)) {
      const int c = n * place.rest;
      const float* const s = stats + frame.quotient * 2 * C + c;
      load<n>(x + n * i, v);
#pragma unroll
      for (int k = 0; k < n; ++k)
        v[k] = fmaf((v[k] - s[k]) * s[C + k], to_float(gamma[c + k]), to_float(beta[c + k]));
    }
    store<n>(y + n * i, v);
  }
};

/// Sums of dy and dy u over the frames.
template <int C, class T>
struct TimeSlopes {
  ValidFrames count;
  const T *dy, *x;
  const float* stats;
  __device__ void operator()(int row, int t, int c, double* sum) const {
    if (t >= count(row)) return;
    const std::size_t at = (static_cast<std::size_t>(row) * count.frames + t) * C + c;
    const float* const s = stats + static_cast<std::size_t>(row) * 2 * C + c;
    const auto g = static_cast<double>(to_float(dy[at]));
    sum[0] += g;
    sum[1] += g * static_cast<double>((to_float(x[at]) - s[0]) * s[C]);
  }
};

/// dbeta and dgamma from the sums (rows, 2, C), row by row.
template <int C, class T>
struct TimeParameters {
  int rows;
  const double* sums;
  T *dgamma, *dbeta;
  __device__ void operator()(std::size_t c) const {
    double sum = 0, product = 0;
    for (int row = 0; row < rows; ++row) {
      sum += sums[static_cast<std::size_t>(row) * 2 * C + c];
      product += sums[(static_cast<std::size_t>(row) * 2 + 1) * C + c];
    }
    put(dbeta[c], to_float(dbeta[c]) + static_cast<float>(sum));
    put(dgamma[c], to_float(dgamma[c]) + static_cast<float>(product));
  }
};

template <int C, int n, class T>
struct TimeGradient {
  ValidFrames count;
  const T *dy, *x, *gamma;
  const float* stats;
  const double* sums;
  T* dx;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, C / n), frame = divide(place.quotient, count.frames);
    const int c = n * place.rest, valid = count(frame.quotient);
    float g[n] = {}, u[n];
    if (frame.rest < valid) {
      const std::size_t at = frame.quotient * 2 * C + c;
      load<n>(dy + n * i, g);
      load<n>(x + n * i, u);
#pragma unroll
      for (int k = 0; k < n; ++k) {
        const float scale = stats[at + C + k];
        g[k] = norm_gradient(g[k], (u[k] - stats[at + k]) * scale, to_float(gamma[c + k]) * scale,
                             static_cast<float>(sums[at + k] / valid), static_cast<float>(sums[at + C + k] / valid));
      }
    }
    store<n>(dx + n * i, g);
  }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::TimeNorm<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <int C, class T>
  static void forward(D& d, int rows, int frames, const int* valid, const T* x, const T* gamma, const T* beta,
                      double eps, T* y, T* stats) {
    constexpr const char* name = "time_norm";
    const detail::gpu::ValidFrames count{valid, frames};
    const detail::gpu::GroupSums<2, double> moments(rows, frames, C);
    double* const sums = d.template scratch<double>(name, moments.size());
    moments.run(d, name, detail::gpu::TimeMoments<C, T>{count, x}, sums);
    d.for_each(name, static_cast<std::size_t>(rows) * C,
               detail::gpu::TimeStats<C>{count, eps, sums, detail::gpu::numbers(stats)});
    each_pack<C>(d, name, rows, frames, [&]<int n>(std::integral_constant<int, n>) {
      return detail::gpu::TimeNormed<C, n, T>{count, x, gamma, beta, detail::gpu::numbers(stats), y};
    }, x, y);
  }

  template <int C, class T>
  static void backward(D& d, int rows, int frames, const int* valid, const T* dy, const T* x, const T* gamma,
                       const T* stats, T* dx, T* dgamma, T* dbeta) {
    constexpr const char* name = "time_norm_backward";
    const detail::gpu::ValidFrames count{valid, frames};
    const detail::gpu::GroupSums<2, double> slopes(rows, frames, C);
    double* const sums = d.template scratch<double>(name, slopes.size());
    slopes.run(d, name, detail::gpu::TimeSlopes<C, T>{count, dy, x, detail::gpu::numbers(stats)}, sums);
    d.for_each(name, C, detail::gpu::TimeParameters<C, T>{rows, sums, dgamma, dbeta});
    each_pack<C>(d, name, rows, frames, [&]<int n>(std::integral_constant<int, n>) {
      return detail::gpu::TimeGradient<C, n, T>{count, dy, x, gamma, detail::gpu::numbers(stats), sums, dx};
    }, dy, x, dx);
  }

 private:
  template <int C, class F, class T, class... More>
  static void each_pack(D& d, const char* name, int rows, int frames, F&& make, const T* p, const More*... more) {
    constexpr int n = detail::gpu::row_pack<C, T>;
    const auto elements = static_cast<std::size_t>(rows) * static_cast<std::size_t>(frames) * C;
    if (detail::gpu::aligned_to<n>(p, more...))
      d.for_each(name, elements / n, make(std::integral_constant<int, n>()));
    else
      d.for_each(name, elements, make(std::integral_constant<int, 1>()));
  }
};

}  // namespace data2vec::inline v0
