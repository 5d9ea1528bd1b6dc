// SPDX-License-Identifier: MIT
// Weight normalisation on the processor: sums in double, taps side by side.
#pragma once

#include <cmath>

#include <data2vec/device/cpu/cpu.hpp>
#include <data2vec/device/weight_norm.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::WeightNorm<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <int rows, int taps, class T>
  static void forward(Cpu& d, const T* v, const T* g, T* weight, T* norms) {
    double squares[taps] = {};
    for (Index r = 0; r < rows; ++r)
      for (int j = 0; j < taps; ++j) {
        const auto x = static_cast<double>(v[r * taps + j]);
        squares[j] += x * x;
      }
    T factor[taps];
    for (int j = 0; j < taps; ++j) {
      const double norm = std::sqrt(squares[j]);
      norms[j] = static_cast<T>(norm);
      factor[j] = static_cast<T>(static_cast<double>(g[j]) / norm);
    }
    detail::share(d, rows, 256, [&](Index first, Index end) {
      for (Index r = first; r < end; ++r)
        for (int j = 0; j < taps; ++j) weight[r * taps + j] = factor[j] * v[r * taps + j];
    });
  }

  // d|v| = v / |v|: what changes v along itself changes nothing.
  template <int rows, int taps, class T>
  static void backward(Cpu& d, const T* dweight, const T* v, const T* g, const T* norms, T* dv, T* dg) {
    double along[taps] = {};  // dweight . v
    for (Index r = 0; r < rows; ++r)
      for (int j = 0; j < taps; ++j)
        along[j] += static_cast<double>(dweight[r * taps + j]) * static_cast<double>(v[r * taps + j]);
    T across[taps], back[taps];
    for (int j = 0; j < taps; ++j) {
      const auto norm = static_cast<double>(norms[j]);
      const double factor = static_cast<double>(g[j]) / norm;
      dg[j] += static_cast<T>(along[j] / norm);
      across[j] = static_cast<T>(factor);
      back[j] = static_cast<T>(factor * along[j] / (norm * norm));
    }
    detail::share(d, rows, 256, [&](Index first, Index end) {
      for (Index r = first; r < end; ++r)
        for (int j = 0; j < taps; ++j)
          dv[r * taps + j] += across[j] * dweight[r * taps + j] - back[j] * v[r * taps + j];
    });
  }
};

}  // namespace data2vec::inline v0
