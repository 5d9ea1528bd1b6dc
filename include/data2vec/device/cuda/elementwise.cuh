// SPDX-License-Identifier: MIT
// Moving rows and arithmetic on whole arrays, on the GPU.
#pragma once

#include <tuple>
#include <type_traits>

#include <data2vec/device/cuda/cuda.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/sorted.cuh>
#include <data2vec/device/cuda/tiles.hpp>
#include <data2vec/device/elementwise.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// y[i] = f(x[i]...), `n` elements at a time.
template <int n, class F, class T, class... X>
struct MapPacks {
  F f;
  T* y;
  std::tuple<const X*...> x;
  __device__ void operator()(std::size_t i) const {
    std::apply([&](const X*... p) { run(i, p...); }, x);
  }
  __device__ void run(std::size_t i, const X*... p) const {
    if constexpr (sizeof...(X) == 0) {
      float out[n];
      for (int k = 0; k < n; ++k) out[k] = f();
      store<n>(y + n * i, out);
    } else if constexpr (sizeof...(X) == 1) {
      float a[n];
      (load<n>(p + n * i, a), ...);
      for (int k = 0; k < n; ++k) a[k] = f(a[k]);
      store<n>(y + n * i, a);
    } else {
      float a[2][n];
      int which = 0;
      (load<n>(p + n * i, a[which++]), ...);
      for (int k = 0; k < n; ++k) a[0][k] = f(a[0][k], a[1][k]);
      store<n>(y + n * i, a[0]);
    }
  }
};

/// y[i] = f(x[i]...) for `count` elements of at most two arrays; y may be one of them. f works on floats.
template <class F, class T, class... X>
void map(CudaContext& d, const char* operation, std::size_t count, F f, T* y, const X*... x) {
  constexpr int n = pack_size<T>;
  if (aligned_to<n>(y, x...)) {
    d.for_each(operation, count / n, MapPacks<n, F, T, X...>{f, y, {x...}});
    const std::size_t first = count / n * n;
    if (first < count) d.for_each(operation, count - first, MapPacks<1, F, T, X...>{f, y + first, {(x + first)...}});
  } else {
    d.for_each(operation, count, MapPacks<1, F, T, X...>{f, y, {x...}});
  }
}

struct Identity {
  D2V_HD float operator()(float x) const { return x; }
};
/// to = from, as numbers of its type.
template <class From, class To>
void cast(CudaContext& d, const From* from, std::size_t count, To* to) {
  map(d, "cast", count, Identity{}, to, from);
}

struct Sum {
  D2V_HD float operator()(float a, float b) const { return a + b; }
};
struct AddScaled {
  float alpha;
  D2V_HD float operator()(float x, float y) const { return std::fma(alpha, x, y); }
};
struct Times {
  float alpha;
  D2V_HD float operator()(float x) const { return x * alpha; }
};
struct Constant {
  float value;
  D2V_HD float operator()() const { return value; }
};

/// Rows of `packs` packs: pack i of all of them.
template <class P>
struct GatherPacks {
  const P* x;
  const int* index;
  P* y;
  int packs;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, packs);
    const int from = index[place.quotient];
    y[i] = from < 0 ? P{} : x[static_cast<std::size_t>(from) * packs + place.rest];
  }
};

template <class T>
struct CopyStrided {
  const T* x;
  T* y;
  std::ptrdiff_t x_stride, y_stride;
  int width;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, width);
    const auto row = static_cast<std::ptrdiff_t>(place.quotient);
    y[row * y_stride + place.rest] = x[row * x_stride + place.rest];
  }
};

template <int n, class T>
struct AddRepeated {
  const T *x, *repeated;
  T* y;
  int packs;  // of a row
  __device__ void operator()(std::size_t i) const {
    float a[n], b[n];
    load<n>(x + n * i, a);
    load<n>(repeated + n * divide(i, packs).rest, b);
#pragma unroll
    for (int k = 0; k < n; ++k) a[k] += b[k];
    store<n>(y + n * i, a);
  }
};

template <int C, class T>
struct ScaleChannels {
  const T *x, *scales;
  T* y;
  __device__ void operator()(std::size_t i) const { put(y[i], to_float(x[i]) * to_float(scales[i % C])); }
};

template <int C, class T>
struct ChannelDots {
  const T *x, *y;
  T* dots;
  int rows;
  __device__ void operator()(std::size_t c) const {
    float sum = to_float(dots[c]);
    for (std::size_t i = c; i < std::size_t{C} * rows; i += C) sum = fmaf(to_float(x[i]), to_float(y[i]), sum);
    put(dots[c], sum);
  }
};

template <int C, int n, class T>
struct MeanRows {
  const T* x;
  T* y;
  int rows;
  float factor;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(n * i, C);
    const T* from = x + place.quotient * rows * C + place.rest;
    float sum[n] = {}, term[n];
    for (int r = 0; r < rows; ++r, from += C) {
      load<n>(from, term);
#pragma unroll
      for (int k = 0; k < n; ++k) sum[k] += term[k];
    }
#pragma unroll
    for (int k = 0; k < n; ++k) sum[k] *= factor;
    store<n>(y + n * i, sum);
  }
};

/// The rows that an array of places names.
struct Listed {
  const int* index;
  __device__ int operator()(int i) const { return index[i]; }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::Elementwise<BasicCuda<P>> {
  using D = BasicCuda<P>;
  using Index = std::ptrdiff_t;

  template <int C, class T>
  static void gather_rows(D& d, int count, const T* x, const int* index, T* y) {
    constexpr int n = detail::gpu::row_pack<C, T>;
    const auto run = [&]<int k>(std::integral_constant<int, k>) {
      using Packed = detail::gpu::Pack<T, k>;
      d.for_each("gather_rows", static_cast<std::size_t>(count) * (C / k),
                 detail::gpu::GatherPacks<Packed>{reinterpret_cast<const Packed*>(x), index,
                                                  reinterpret_cast<Packed*>(y), C / k});
    };
    if (detail::gpu::aligned_to<n>(x, y))
      run(std::integral_constant<int, n>());
    else
      run(std::integral_constant<int, 1>());
  }

  template <int C, class T>
  static void scatter_add_rows(D& d, int count, const T* x, const int* index, T* y) {
    detail::gpu::add_rows<C>(d, "scatter_add_rows", count, detail::gpu::Listed{index}, 1, x, y);
  }

  template <class T>
  static void add(D& d, std::size_t count, const T* a, const T* b, T* y) {
    detail::gpu::map(d, "add", count, detail::gpu::Sum{}, y, a, b);
  }
  template <class T>
  static void add_repeated(D& d, int rows, int width, const T* x, const T* repeated, T* y) {
    const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(width);
    constexpr int n = detail::gpu::pack_size<T>;
    if (width % n == 0 && detail::gpu::aligned_to<n>(x, repeated, y))
      d.for_each("add_repeated", count / n, detail::gpu::AddRepeated<n, T>{x, repeated, y, width / n});
    else
      d.for_each("add_repeated", count, detail::gpu::AddRepeated<1, T>{x, repeated, y, width});
  }
  template <int C, class T>
  static void scale_channels(D& d, int rows, const T* x, const T* scales, T* y) {
    d.for_each("scale_channels", static_cast<std::size_t>(rows) * C, detail::gpu::ScaleChannels<C, T>{x, scales, y});
  }
  template <int C, class T>
  static void channel_dots(D& d, int rows, const T* x, const T* y, T* dots) {
    d.for_each("channel_dots", C, detail::gpu::ChannelDots<C, T>{x, y, dots, rows});
  }
  template <int C, class T>
  static void mean_rows(D& d, int groups, int rows, const T* x, T* y) {
    constexpr int n = C % 4 == 0 ? 4 : 1;  // few threads that walk far: many of them
    const auto count = static_cast<std::size_t>(groups) * C;
    const auto factor = static_cast<float>(1.0 / rows);
    if (detail::gpu::aligned_to<n>(x, y))
      d.for_each("mean_rows", count / n, detail::gpu::MeanRows<C, n, T>{x, y, rows, factor});
    else
      d.for_each("mean_rows", count, detail::gpu::MeanRows<C, 1, T>{x, y, rows, factor});
  }
  template <class T>
  static void add_scaled(D& d, std::size_t count, double alpha, const T* x, T* y) {
    detail::gpu::map(d, "add_scaled", count, detail::gpu::AddScaled{static_cast<float>(alpha)}, y, x,
                     static_cast<const T*>(y));
  }
  template <class T>
  static void scale(D& d, std::size_t count, double alpha, T* y) {
    detail::gpu::map(d, "scale", count, detail::gpu::Times{static_cast<float>(alpha)}, y, static_cast<const T*>(y));
  }
  template <class T>
  static void fill(D& d, std::size_t count, double value, T* y) {
    if (value == 0)
      d.zero("fill", y, count * sizeof(T));
    else
      detail::gpu::map(d, "fill", count, detail::gpu::Constant{static_cast<float>(value)}, y);
  }
  template <class T>
  static void copy(D& d, std::size_t count, const T* x, T* y) {
    d.copy("copy", y, x, count * sizeof(T));
  }
  template <class T>
  static void copy_strided(D& d, int rows, int width, const T* x, Index x_stride, T* y, Index y_stride) {
    d.for_each("copy_strided", static_cast<std::size_t>(rows) * width,
               detail::gpu::CopyStrided<T>{x, y, x_stride, y_stride, width});
  }
};

}  // namespace data2vec::inline v0
