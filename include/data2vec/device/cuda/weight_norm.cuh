// SPDX-License-Identifier: MIT
// Weight normalisation on the GPU: sums in double, then a pass over the elements.
#pragma once

#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/weight_norm.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// Adds the products of two arrays (rows, columns).
template <int columns, class T>
struct ProductsOf {
  const T *a, *b;
  __device__ void operator()(int, int row, int column, double* sum) const {
    const std::size_t at = static_cast<std::size_t>(row) * columns + column;
    sum[0] += static_cast<double>(to_float(a[at])) * static_cast<double>(to_float(b[at]));
  }
};

struct RootOf {
  const double* squares;
  float* norms;
  __device__ void operator()(std::size_t j) const { norms[j] = static_cast<float>(sqrt(squares[j])); }
};

template <int taps, class T>
struct NormedWeight {
  const T *v, *g;
  const float* norms;
  T* weight;
  __device__ void operator()(std::size_t i) const {
    const int j = divide(i, taps).rest;
    put(weight[i], to_float(g[j]) / norms[j] * to_float(v[i]));
  }
};

/// dg from dweight . v.
template <class T>
struct AlongNorm {
  const double* along;
  const float* norms;
  T* dg;
  __device__ void operator()(std::size_t j) const {
    put(dg[j], to_float(dg[j]) + static_cast<float>(along[j] / static_cast<double>(norms[j])));
  }
};

template <int taps, class T>
struct AcrossNorm {
  const T *dweight, *v, *g;
  const float* norms;
  const double* along;
  T* dv;
  __device__ void operator()(std::size_t i) const {
    const int j = divide(i, taps).rest;
    const float across = to_float(g[j]) / norms[j];
    const float back = across * static_cast<float>(along[j]) / (norms[j] * norms[j]);
    put(dv[i], to_float(dv[i]) + (across * to_float(dweight[i]) - back * to_float(v[i])));
  }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::WeightNorm<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <int rows, int taps, class T>
  static void forward(D& d, const T* v, const T* g, T* weight, T* norms) {
    constexpr const char* name = "weight_norm";
    const double* const squares = products<rows, taps>(d, name, v, v);
    float* const roots = detail::gpu::numbers(norms);
    d.for_each(name, taps, detail::gpu::RootOf{squares, roots});
    d.for_each(name, std::size_t{rows} * taps, detail::gpu::NormedWeight<taps, T>{v, g, roots, weight});
  }

  template <int rows, int taps, class T>
  static void backward(D& d, const T* dweight, const T* v, const T* g, const T* norms, T* dv, T* dg) {
    constexpr const char* name = "weight_norm_backward";
    const double* const along = products<rows, taps>(d, name, dweight, v);
    const float* const roots = detail::gpu::numbers(norms);
    d.for_each(name, taps, detail::gpu::AlongNorm<T>{along, roots, dg});
    d.for_each(name, std::size_t{rows} * taps,
               detail::gpu::AcrossNorm<taps, T>{dweight, v, g, roots, along, dv});
  }

 private:
  /// The products of a and b, summed over the rows, in scratch.
  template <int rows, int taps, class T>
  static const double* products(D& d, const char* name, const T* a, const T* b) {
    const detail::gpu::GroupSums<1, double> sums(1, rows, taps);
    double* const memory = d.template scratch<double>(name, sums.size());
    sums.run(d, name, detail::gpu::ProductsOf<taps, T>{a, b}, memory);
    return memory;
  }
};

}  // namespace data2vec::inline v0
