// SPDX-License-Identifier: MIT
// GELU on the GPU: exact, for cuBLASLt's epilogue is not known to be.
#pragma once

#include <data2vec/device/cuda/elementwise.cuh>
#include <data2vec/device/cuda/gelu_half.cuh>
#include <data2vec/device/gelu.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

template <class T>
struct Gelu {
  __device__ float operator()(float x) const { return gelu_of<T>(x); }
};
template <class T>
struct GeluBackward {
  __device__ float operator()(float dy, float x) const { return dy * gelu_derivative_of<T>(x); }
};

/// dx and y at once: x is read before either is written.
template <int n, class T>
struct GeluBoth {
  const T *dy, *x;
  T *dx, *y;
  __device__ void operator()(std::size_t i) const {
    float g[n], v[n];
    load<n>(dy + n * i, g);
    load<n>(x + n * i, v);
    for (int k = 0; k < n; ++k) {
      g[k] *= gelu_derivative_of<T>(v[k]);
      v[k] = gelu_of<T>(v[k]);
    }
    store<n>(dx + n * i, g);
    store<n>(y + n * i, v);
  }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::Gelu<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <class T>
  static void forward(D& d, std::size_t count, const T* x, T* y) {
    detail::gpu::map(d, "gelu", count, detail::gpu::Gelu<T>{}, y, x);
  }
  template <class T>
  static void backward(D& d, std::size_t count, const T* dy, const T* x, T* dx) {
    detail::gpu::map(d, "gelu_backward", count, detail::gpu::GeluBackward<T>{}, dx, dy, x);
  }
  template <class T>
  static void backward(D& d, std::size_t count, const T* dy, const T* x, T* dx, T* y) {
    constexpr int n = detail::gpu::pack_size<T>;
    const std::size_t first = detail::gpu::aligned_to<n>(dy, x, dx, y) ? count / n * n : 0;
    d.for_each("gelu_backward", first / n, detail::gpu::GeluBoth<n, T>{dy, x, dx, y});
    d.for_each("gelu_backward", count - first,
               detail::gpu::GeluBoth<1, T>{dy + first, x + first, dx + first, y + first});
  }
};

}  // namespace data2vec::inline v0
