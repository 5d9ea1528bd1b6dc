// SPDX-License-Identifier: MIT
// Pooling and cross entropy on the CPU. Heads cost little beside the encoder: plain loops in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <data2vec/core/buffer.hpp>
#include <data2vec/device/classify.hpp>
#include <data2vec/device/cpu/cpu.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Classify<BasicCpu<Isa>> {
  using Device = BasicCpu<Isa>;

  template <Pooling P, int C, class T>
  static void pool(Device&, int rows, int tokens, int first, const T* x, T* pooled) {
    for (int row = 0; row < rows; ++row, x += static_cast<std::ptrdiff_t>(tokens) * C)
      for (int c = 0; c < C; ++c) {
        double value = 0;
        if constexpr (P == Pooling::mean_pooling) {
          for (int t = first; t < tokens; ++t) value += static_cast<double>(x[t * C + c]);
          value /= tokens - first;
        } else if constexpr (P == Pooling::cls_token) {
          value = static_cast<double>(x[c]);
        } else {
          const double z = soft_maximum<C>(tokens, first, x + c).value;
          value = z - std::log(-std::expm1(z));
          if (!is_finite(value)) value = 0;
        }
        *pooled++ = static_cast<T>(value);
      }
  }

  template <Pooling P, int C, class T>
  static void pool_backward(Device&, int rows, int tokens, int first, const T* dpooled, const T* x, T* dx) {
    std::fill(dx, dx + static_cast<std::ptrdiff_t>(rows) * tokens * C, T(0));
    for (int row = 0; row < rows; ++row) {
      for (int c = 0; c < C; ++c) {
        const auto dy = static_cast<double>(*dpooled++);
        if constexpr (P == Pooling::mean_pooling) {
          for (int t = first; t < tokens; ++t) dx[t * C + c] = static_cast<T>(dy / (tokens - first));
        } else if constexpr (P == Pooling::cls_token) {
          dx[c] = static_cast<T>(dy);
        } else {
          const auto [z, twice, once, capped] = soft_maximum<C>(tokens, first, x + c);
          const double dz = capped ? 0 : dy / -std::expm1(z);
          if (!is_finite(z - std::log(-std::expm1(z)))) continue;
          for (int t = first; t < tokens; ++t) {
            const auto value = static_cast<double>(x[t * C + c]);
            const double g = log_sigmoid(value);
            const double dg = dz * (2 * std::exp(2 * g - twice) - std::exp(g + 1e-6 - once));
            dx[t * C + c] = static_cast<T>(dg * std::exp(log_sigmoid(-value)));
          }
        }
      }
      x += static_cast<std::ptrdiff_t>(tokens) * C;
      dx += static_cast<std::ptrdiff_t>(tokens) * C;
    }
  }

  template <int classes, class T>
  static ClassificationSums cross_entropy(Device&, int rows, const T* logits, const std::int32_t* labels,
                                          double smoothing, double weight, T* losses, T* dlogits) {
    ClassificationSums sums;
    for (int row = 0; row < rows; ++row, logits += classes) {
      const int label = labels[row];
      const double lse = log_sum_exp<classes>(logits);
      sums.correct += label >= 0 && std::max_element(logits, logits + classes) - logits == label;
      double loss = 0;
      for (int k = 0; k < classes; ++k) {
        const double q = label < 0 ? 0 : smoothing / classes + (k == label ? 1 - smoothing : 0);
        const double log_p = static_cast<double>(logits[k]) - lse;
        loss -= q * log_p;
        if (dlogits) dlogits[row * classes + k] = static_cast<T>(label < 0 ? 0 : weight * (std::exp(log_p) - q));
      }
      if (losses) losses[row] = static_cast<T>(loss);
      sums.loss += loss;
    }
    return sums;
  }

  template <class T>
  static double squared_error(Device&, int rows, const T* x, const T* values, double weight, T* losses, T* dx) {
    double sum = 0;
    for (int row = 0; row < rows; ++row) {
      const double value = static_cast<double>(values[row]);
      const double u = value != value ? 0 : static_cast<double>(x[row]) - value;
      if (losses) losses[row] = static_cast<T>(u * u);
      if (dx) dx[row] = static_cast<T>(weight * 2 * u);
      sum += u * u;
    }
    return sum;
  }

  template <class T>
  static void tanh(Device&, std::size_t count, const T* x, T* y) {
    for (std::size_t i = 0; i < count; ++i) y[i] = static_cast<T>(std::tanh(static_cast<double>(x[i])));
  }

  template <class T>
  static void tanh_backward(Device&, std::size_t count, const T* dy, const T* y, T* dx) {
    for (std::size_t i = 0; i < count; ++i) dx[i] = dy[i] * (1 - y[i] * y[i]);
  }

  template <int classes, class T>
  static ClassificationSums soft_cross_entropy(Device&, int rows, const T* logits, const T* q, double weight, T* losses,
                                               T* dlogits) {
    ClassificationSums sums;
    for (int row = 0; row < rows; ++row, logits += classes, q += classes) {
      const double lse = log_sum_exp<classes>(logits);
      double total = 0;
      for (int k = 0; k < classes; ++k) total += static_cast<double>(q[k]);
      for (int k = 0; k < classes; ++k) {
        const double log_p = static_cast<double>(logits[k]) - lse, loss = -static_cast<double>(q[k]) * log_p;
        sums.loss += loss;
        if (losses) losses[row * classes + k] = static_cast<T>(loss);
        if (dlogits)
          dlogits[row * classes + k] = static_cast<T>(weight * (total * std::exp(log_p) - static_cast<double>(q[k])));
      }
      sums.correct += std::max_element(logits, logits + classes) - logits == std::max_element(q, q + classes) - q;
    }
    return sums;
  }

 private:
  struct SoftMaximum {
    double value, twice, once;  // min(0, twice - once), lse(2 g), lse(g + 1e-6)
    bool capped;
  };
  static double log_sigmoid(double x) { return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x)); }

  /// Over tokens `first` .. `tokens - 1` of one channel; g is never positive, so its exponentials cannot overflow, and
  /// the largest is taken out so that they do not vanish.
  template <int stride, class T>
  static SoftMaximum soft_maximum(int tokens, int first, const T* x) {
    double most = -std::numeric_limits<double>::infinity();
    for (int t = first; t < tokens; ++t) most = std::max(most, log_sigmoid(static_cast<double>(x[t * stride])));
    double twice = 0, once = 0;
    for (int t = first; t < tokens; ++t) {
      const double g = log_sigmoid(static_cast<double>(x[t * stride])) - most;
      twice += std::exp(2 * g);
      once += std::exp(g);
    }
    twice = std::log(twice) + 2 * most;
    once = std::log(once) + most + 1e-6;
    return {std::min(0.0, twice - once), twice, once, twice > once};
  }

  template <int classes, class T>
  static double log_sum_exp(const T* x) {
    const auto most = static_cast<double>(*std::max_element(x, x + classes));
    double sum = 0;
    for (int k = 0; k < classes; ++k) sum += std::exp(static_cast<double>(x[k]) - most);
    return most + std::log(sum);
  }
};

}  // namespace data2vec::inline v0
