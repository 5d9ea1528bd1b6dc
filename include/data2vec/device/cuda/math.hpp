// SPDX-License-Identifier: MIT
// The arithmetic of the device's kernels on single elements and rows, for both sides: tests run it on the host.
#pragma once

#include <cmath>
#include <cstdint>

#include <data2vec/core/macros.hpp>
#include <data2vec/version.hpp>

namespace data2vec::inline v0::detail::gpu {

/// x (1 + erf(x / sqrt 2)) / 2 as max(x, 0) - |x / 2| erfc(|x| / sqrt 2): no cancellation for negative x.
D2V_HD inline float gelu(float x) {
  const float size = std::fabs(x);
  return std::fmax(x, 0.0f) - 0.5f * size * std::erfc(size * 0.70710678118654752f);
}

/// (1 + erf(x / sqrt 2)) / 2 + x exp(-x^2 / 2) / sqrt(2 pi).
D2V_HD inline float gelu_derivative(float x) {
  const float density = 0.39894228040143268f * std::exp(-0.5f * x * x);
  return std::fma(x, density, 0.5f * std::erfc(-0.70710678118654752f * x));
}

/// dx of one element of a layer norm: s (g - mean(g) - u mean(g u)), u the normed value, g = dy gamma.
D2V_HD inline float norm_gradient(float g, float u, float scale, float mean_g, float mean_gu) {
  return scale * (g - mean_g - u * mean_gu);
}

/// unit_float(word) >= rate in whole numbers: both sides times 2^24 are exact.
inline std::uint32_t keep_threshold(double rate) {
  const double scaled = std::ceil((rate > 0 ? rate : 0) * 0x1p24);
  return static_cast<std::uint32_t>(scaled < 0x1p24 ? scaled : 0x1p24);
}
D2V_HD inline bool kept_word(std::uint32_t word, std::uint32_t threshold) { return (word >> 8) >= threshold; }

/// Loss and slope of a difference u (device/reduce.hpp): u^2, or smooth L1 of width beta.
struct Loss {
  double loss, slope;
};
D2V_HD inline Loss regression(double u, double beta) {
  if (beta == 0) return {u * u, 2 * u};
  const double size = u < 0 ? -u : u;
  if (size < beta) return {u * u * (0.5 / beta), u / beta};
  return {size - 0.5 * beta, u > 0 ? 1.0 : u < 0 ? -1.0 : u};
}

/// The factors of device/adam.hpp in fp32. `step` and `decay` are subtracted.
struct AdamFactors {
  float scale, beta1, rest1, beta2, rest2, eps, step, decay;
};
D2V_HD inline void adam_element(const AdamFactors& f, float gradient, float& m, float& v, float& p) {
  const float g = gradient * f.scale;
  m = std::fma(f.beta1, m, f.rest1 * g);
  v = std::fma(f.beta2, v, f.rest2 * g * g);
  p = std::fma(-f.decay, p, p);
  p = std::fma(-f.step, m / (std::sqrt(v) + f.eps), p);
}
D2V_HD inline float moving_average_element(float keep, float take, float student, float teacher) {
  return std::fma(keep, teacher, take * student);
}

/// Largest of some numbers and the sum of exp(x - largest); a set of no numbers, or of -infinity alone, sums to 0.
struct LogSum {
  double most = -INFINITY, sum = 0;
  D2V_HD void add(double x) {
    if (x <= most) {
      if (most > -INFINITY) sum += std::exp(x - most);
    } else {
      sum = sum * (most > -INFINITY ? std::exp(most - x) : 0) + 1;
      most = x;
    }
    if (x != x) sum = x;
  }
  D2V_HD void merge(const LogSum& o) {
    const double top = o.most > most ? o.most : most;
    if (top > -INFINITY)
      sum = (most > -INFINITY ? sum * std::exp(most - top) : sum) +
            (o.most > -INFINITY ? o.sum * std::exp(o.most - top) : o.sum);
    else
      sum += o.sum;
    most = top;
  }
  D2V_HD double value() const { return most + std::log(sum); }
};

D2V_HD inline double log_sigmoid(double x) { return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x)); }

/// The reference's soft maximum over tokens (device/classify.hpp): of g = log sigmoid(x), min(0, lse(2 g) - lse(g +
/// 1e-6)), and the two sums.
struct SoftMaximum {
  LogSum twice, once;
  D2V_HD void add(double x) {
    const double g = log_sigmoid(x);
    twice.add(2 * g);
    once.add(g);
  }
  D2V_HD double difference() const { return twice.value() - once.value() - 1e-6; }
  D2V_HD bool capped() const { return difference() > 0; }
  D2V_HD double z() const { return capped() ? 0 : difference(); }
  D2V_HD double pooled() const { return z() - std::log(-std::expm1(z())); }
  /// d z / d x of one of the tokens.
  D2V_HD double derivative(double x) const {
    if (capped()) return 0;
    const double g = log_sigmoid(x);
    return (2 * std::exp(2 * g - twice.value()) - std::exp(g - once.value())) * std::exp(log_sigmoid(-x));
  }
};

}  // namespace data2vec::inline v0::detail::gpu
