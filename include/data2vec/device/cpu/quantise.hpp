// SPDX-License-Identifier: MIT
// Product quantisation on the processor: rows of some hundred logits, sums in double.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/device/quantise.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Quantise<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <class T>
  static void noise(Cpu&, int rows, int elements_per_row, const DropoutDraws& draws, T* y) {
    for (int r = 0; r < rows; ++r) {
      const DrawKey key = draws.key(r);
      std::array<std::uint32_t, 4> words{};
      for (std::uint32_t e = 0; e < static_cast<std::uint32_t>(elements_per_row); ++e) {
        if (e % 4 == 0) words = draw(key, e / 4);
        const double u = (static_cast<double>(words[e % 4] >> 8) + 0.5) * 0x1p-24;
        *y++ = static_cast<T>(-std::log(-std::log(u)));
      }
    }
  }

  template <CodebookShape S, class T>
  static void choose(Cpu&, int rows, const T* logits, const T* noise, const double* temperature, T* soft,
                     int* codes) {
    constexpr int V = S.entries;
    T x[V];
    for (Index r = 0; r < Index{rows} * S.groups; ++r, logits += V) {
      for (int v = 0; v < V; ++v) x[v] = logits[v] + (noise ? noise[r * V + v] : T(0));
      codes[r] = static_cast<int>(std::max_element(x, x + V) - x);
      if (soft) softmax<V>(x, 1 / *temperature, soft + r * V);
    }
  }

  template <CodebookShape S, class T>
  static void look_up(Cpu&, int rows, const int* codes, const T* entries, T* q) {
    for (Index r = 0; r < Index{rows} * S.groups; ++r)
      std::copy_n(entry<S>(entries, r, codes[r]), S.width, q + r * S.width);
  }

  template <CodebookShape S, class T>
  static void look_up_backward(Cpu&, int rows, const int* codes, const T* dq, T* dentries) {
    for (Index r = 0; r < Index{rows} * S.groups; ++r) {
      T* const to = entry<S>(dentries, r, codes[r]);
      for (int i = 0; i < S.width; ++i) to[i] += dq[r * S.width + i];
    }
  }

  template <CodebookShape S, class T>
  static void choose_backward(Cpu&, int rows, const T* dq, const T* entries, const T* soft, const double* temperature,
                              T* dlogits) {
    constexpr int V = S.entries;
    for (Index r = 0; r < Index{rows} * S.groups; ++r, soft += V, dlogits += V) {
      for (int v = 0; v < V; ++v)
        dlogits[v] = Lanes<T, Isa>::dot(S.width, dq + r * S.width, entry<S>(entries, r, v));
      softmax_backward<V>(soft, 1 / *temperature, dlogits);
    }
  }

  template <CodebookShape S, class T>
  static CodebookPerplexities perplexities(Cpu&, int rows, const T* logits, double* usage) {
    constexpr int V = S.entries;
    double counts[S.codes()] = {};
    std::fill(usage, usage + S.codes(), 0.0);
    for (Index r = 0; r < Index{rows} * S.groups; ++r, logits += V) {
      const Index group = r % S.groups * V;
      double p[V];
      softmax<V>(logits, 1, p);
      for (int v = 0; v < V; ++v) usage[group + v] += p[v];
      ++counts[group + (std::max_element(logits, logits + V) - logits)];
    }
    CodebookPerplexities found;
    for (int g = 0; g < S.groups; ++g) {
      for (int v = 0; v < V; ++v) usage[g * V + v] /= rows, counts[g * V + v] /= rows;
      found.prob += perplexity<V>(usage + g * V);
      found.code += perplexity<V>(counts + g * V);
    }
    return found;
  }

  // d exp(H) / d u_v = -exp(H) (log(u_v + e) + u_v / (u_v + e)), u the mean of the rows' softmax.
  template <CodebookShape S, class T>
  static void perplexity_backward(Cpu&, int rows, const T* logits, const double* usage, double weight, T* dlogits) {
    constexpr int V = S.entries;
    double slopes[S.codes()];
    for (int g = 0; g < S.groups; ++g) {
      const double factor = -weight * perplexity<V>(usage + g * V) / rows;
      for (int v = 0; v < V; ++v) {
        const double u = usage[g * V + v];
        slopes[g * V + v] = factor * (std::log(u + epsilon) + u / (u + epsilon));
      }
    }
    for (Index r = 0; r < Index{rows} * S.groups; ++r, logits += V, dlogits += V) {
      double p[V], slope[V];
      softmax<V>(logits, 1, p);
      std::copy_n(slopes + r % S.groups * V, V, slope);
      softmax_backward<V>(p, 1, slope);
      for (int v = 0; v < V; ++v) dlogits[v] += static_cast<T>(slope[v]);
    }
  }

 private:
  static constexpr double epsilon = 1e-7;

  /// Entry `code` of the group of row r of (rows, G).
  template <CodebookShape S, class T>
  static T* entry(T* entries, Index r, int code) {
    return entries + (r % S.groups * S.entries + code) * S.width;
  }
  template <int V, class T, class U>
  static void softmax(const T* x, double factor, U* p) {
    const T most = *std::max_element(x, x + V);
    double sum = 0, e[V];
    for (int v = 0; v < V; ++v) sum += e[v] = std::exp(factor * static_cast<double>(x[v] - most));
    for (int v = 0; v < V; ++v) p[v] = static_cast<U>(e[v] / sum);
  }
  /// In dy (V), the gradient of p = softmax(factor x), that of x.
  template <int V, class T>
  static void softmax_backward(const T* p, double factor, T* dy) {
    double mean = 0;
    for (int v = 0; v < V; ++v) mean += static_cast<double>(p[v]) * static_cast<double>(dy[v]);
    for (int v = 0; v < V; ++v)
      dy[v] = static_cast<T>(factor * static_cast<double>(p[v]) * (static_cast<double>(dy[v]) - mean));
  }
  template <int V>
  static double perplexity(const double* usage) {
    double entropy = 0;
    for (int v = 0; v < V; ++v) entropy -= usage[v] * std::log(usage[v] + epsilon);
    return std::exp(entropy);
  }
};

}  // namespace data2vec::inline v0
