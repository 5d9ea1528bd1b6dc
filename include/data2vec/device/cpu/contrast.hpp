// SPDX-License-Identifier: MIT
// The contrastive loss on the processor: little beside an encoder, one row after the other.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <data2vec/device/contrast.hpp>
#include <data2vec/device/cpu/vec.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Contrast<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  static void leave_out_equal(Cpu&, int rows, int K, int groups, const int* codes, const int* negatives,
                              int* candidates) {
    for (Index i = 0; i < rows; ++i)
      for (Index k = 0; k < K; ++k) {
        const int other = negatives[i * K + k];
        const int* const own = codes + i * groups;
        const bool same = other < 0 || std::equal(own, own + groups, codes + Index{other} * groups);
        candidates[i * K + k] = same ? -1 : other;
      }
  }

  template <int C, class T>
  static ContrastSums run(Cpu&, int rows, int pool, int K, const T* prediction, const T* targets, const int* negatives,
                          double temperature, double weight, T* logits, T* dprediction, T* dtargets, T* scratch) {
    using L = Lanes<T, Isa>;
    T *const of_prediction = scratch, *const of_target = scratch + rows;
    inverse_norms<C>(rows, prediction, of_prediction);
    inverse_norms<C>(pool, targets, of_target);
    std::fill(dprediction, dprediction + Index{rows} * C, T(0));
    std::fill(dtargets, dtargets + Index{pool} * C, T(0));
    ContrastSums sums;
    for (Index i = 0; i < rows; ++i, logits += K + 1, negatives += K) {
      const T* const x = prediction + i * C;
      const auto target = [&](int k) { return k == 0 ? i : Index{negatives[k - 1]}; };
      for (int k = 0; k <= K; ++k) {
        const Index t = target(k);
        logits[k] = t < 0 ? -std::numeric_limits<T>::infinity()
                          : L::dot(C, x, targets + t * C) * of_prediction[i] * of_target[t] *
                                static_cast<T>(1 / temperature);
      }
      const auto [least, most] = std::pair(std::min_element(logits, logits + K + 1),
                                           std::max_element(logits, logits + K + 1));
      sums.correct += most == logits && least != logits;
      double sum = 0;
      for (int k = 0; k <= K; ++k) sum += std::exp(static_cast<double>(logits[k] - *most));
      sums.loss += std::log(sum) + static_cast<double>(*most - logits[0]);
      // d cosine / d x = (target / |target| - cosine x / |x|) / |x|, and the other way round.
      double along = 0;
      T* const dx = dprediction + i * C;
      for (int k = 0; k <= K; ++k) {
        const Index t = target(k);
        if (t < 0) continue;
        const double p = std::exp(static_cast<double>(logits[k] - *most)) / sum;
        const double slope = weight * (p - (k == 0 ? 1 : 0)) / temperature;
        const double cosine = temperature * static_cast<double>(logits[k]);
        const double across = slope * static_cast<double>(of_target[t]) * static_cast<double>(of_prediction[i]);
        along += slope * cosine;
        const T* const y = targets + t * C;
        T* const dy = dtargets + t * C;
        add_scaled<C>(across, y, dx);
        add_scaled<C>(across, x, dy);
        add_scaled<C>(-slope * cosine * square(of_target[t]), y, dy);
      }
      add_scaled<C>(-along * square(of_prediction[i]), x, dx);
    }
    return sums;
  }

 private:
  template <class T>
  static double square(T x) { return static_cast<double>(x) * static_cast<double>(x); }

  template <int C, class T>
  static void inverse_norms(int rows, const T* x, T* inverse) {
    for (int r = 0; r < rows; ++r, x += C)
      inverse[r] = T(1) / std::max(std::sqrt(Lanes<T, Isa>::dot(C, x, x)), T(1e-8));
  }
  template <int C, class T>
  static void add_scaled(double factor, const T* x, T* y) {
    using L = Lanes<T, Isa>;
    const auto a = L::all(static_cast<T>(factor));
    L::map(C, y, [=](auto u, auto v) { return L::fma(a, u, v); }, x, static_cast<const T*>(y));
  }
};

}  // namespace data2vec::inline v0
