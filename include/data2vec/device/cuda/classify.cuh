// SPDX-License-Identifier: MIT
// Pooling and cross entropy on the GPU, in double as on the CPU: heads cost little beside the encoder.
#pragma once

#include <data2vec/device/classify.hpp>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/elementwise.cuh>
#include <data2vec/device/cuda/math.hpp>
#include <data2vec/device/cuda/reduce.cuh>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// One thread per channel of a row.
template <Pooling P, int C, class T>
struct Pool {
  int tokens, first;
  const T* x;
  T* pooled;
  __device__ void operator()(std::size_t i) const {
    const Divided at = divide(i, C);
    const T* const column = x + at.quotient * tokens * C + at.rest;
    double value = 0;
    if constexpr (P == Pooling::cls_token) {
      value = static_cast<double>(to_float(column[0]));
    } else if constexpr (P == Pooling::mean_pooling) {
      for (int t = first; t < tokens; ++t) value += static_cast<double>(to_float(column[t * C]));
      value /= tokens - first;
    } else {
      SoftMaximum most;
      for (int t = first; t < tokens; ++t) most.add(static_cast<double>(to_float(column[t * C])));
      value = most.pooled();
      if (!isfinite(value)) value = 0;
    }
    put(pooled[i], static_cast<float>(value));
  }
};

template <Pooling P, int C, class T>
struct PoolBackward {
  int tokens, first;
  const T *dpooled, *x;
  T* dx;
  __device__ void operator()(std::size_t i) const {
    const Divided at = divide(i, C);
    const std::size_t start = at.quotient * tokens * C + at.rest;
    const T* const column = x + start;
    const auto dy = static_cast<double>(to_float(dpooled[i]));
    SoftMaximum most;
    double dz = 0;
    if constexpr (P == Pooling::lin_softmax) {
      for (int t = first; t < tokens; ++t) most.add(static_cast<double>(to_float(column[t * C])));
      if (!most.capped() && isfinite(most.pooled())) dz = dy / -expm1(most.z());
    }
    for (int t = 0; t < tokens; ++t) {
      double value = 0;
      if constexpr (P == Pooling::cls_token)
        value = t == 0 ? dy : 0;
      else if (t < first)
        value = 0;
      else if constexpr (P == Pooling::mean_pooling)
        value = dy / (tokens - first);
      else if (dz != 0)
        value = dz * most.derivative(static_cast<double>(to_float(column[t * C])));
      put(dx[start + static_cast<std::size_t>(t) * C], static_cast<float>(value));
    }
  }
};

/// A warp per row; partial (rows, 2): loss, and 1 if the largest logit is the label's.
template <int classes, bool soft, class T>
__global__ void __launch_bounds__(128)
    cross_entropy_rows(int rows, const T* logits, const std::int32_t* labels, const T* soft_labels, double smoothing,
                       double weight, T* losses, T* dlogits, double* partial) {
  const int row = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32;
  if (row >= rows) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::size_t at = static_cast<std::size_t>(row) * classes;
  const T* const x = logits + at;
  const int label = soft ? 0 : labels[row];
  const auto values = [=](int k) { return to_float(x[k]); };
  const double lse = row_log_sum(classes, values);
  const auto q_of = [&](int k) {
    if constexpr (soft)
      return static_cast<double>(to_float(soft_labels[at + k]));
    else
      return label < 0 ? 0.0 : smoothing / classes + (k == label ? 1 - smoothing : 0.0);
  };
  const int best = first_largest(classes, values),
            wanted = soft ? first_largest(classes, [=](int k) { return to_float(soft_labels[at + k]); }) : label;
  double total = label < 0 ? 0 : 1, loss = 0;
  if constexpr (soft) {
    total = 0;
    for (int k = lane; k < classes; k += 32) total += q_of(k);
    total = warp_sum(total);
  }
  for (int k = lane; k < classes; k += 32) {
    const double q = q_of(k), log_p = static_cast<double>(to_float(x[k])) - lse, term = -q * log_p;
    loss += term;
    if (soft && losses) put(losses[at + k], static_cast<float>(term));
    if (dlogits) put(dlogits[at + k], static_cast<float>(label < 0 ? 0 : weight * (total * exp(log_p) - q)));
  }
  loss = warp_sum(loss);
  if (lane > 0) return;
  if (!soft && losses) put(losses[row], static_cast<float>(loss));
  partial[2 * row] = loss;
  partial[2 * row + 1] = label >= 0 && best == wanted ? 1 : 0;
}

/// A thread per row; partial (rows): the row's error, 0 where its value is NaN.
template <class T>
struct SquaredErrors {
  const T *x, *values;
  double weight;
  T *losses, *dx;
  double* partial;
  __device__ void operator()(std::size_t i) const {
    const double value = static_cast<double>(to_float(values[i]));
    const double u = value != value ? 0 : static_cast<double>(to_float(x[i])) - value;
    if (losses) put(losses[i], static_cast<float>(u * u));
    if (dx) put(dx[i], static_cast<float>(weight * 2 * u));
    partial[i] = u * u;
  }
};

struct Tanh {
  D2V_HD float operator()(float x) const { return static_cast<float>(std::tanh(static_cast<double>(x))); }
};
struct TanhBackward {
  D2V_HD float operator()(float dy, float y) const { return dy * (1 - y * y); }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::Classify<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <Pooling pooling, int C, class T>
  static void pool(D& d, int rows, int tokens, int first, const T* x, T* pooled) {
    d.for_each("pool", static_cast<std::size_t>(rows) * C, detail::gpu::Pool<pooling, C, T>{tokens, first, x, pooled});
  }

  template <Pooling pooling, int C, class T>
  static void pool_backward(D& d, int rows, int tokens, int first, const T* dpooled, const T* x, T* dx) {
    d.for_each("pool_backward", static_cast<std::size_t>(rows) * C,
               detail::gpu::PoolBackward<pooling, C, T>{tokens, first, dpooled, x, dx});
  }

  template <int classes, class T>
  static ClassificationSums cross_entropy(D& d, int rows, const T* logits, const std::int32_t* labels, double smoothing,
                                          double weight, T* losses, T* dlogits) {
    return run<classes, false>(d, "cross_entropy", rows, logits, labels, static_cast<const T*>(nullptr), smoothing,
                               weight, losses, dlogits);
  }

  template <int classes, class T>
  static ClassificationSums soft_cross_entropy(D& d, int rows, const T* logits, const T* q, double weight, T* losses,
                                               T* dlogits) {
    return run<classes, true>(d, "soft_cross_entropy", rows, logits, nullptr, q, 0, weight, losses, dlogits);
  }

  template <class T>
  static double squared_error(D& d, int rows, const T* x, const T* values, double weight, T* losses, T* dx) {
    constexpr const char* name = "squared_error";
    double* const sum = d.sum_slots(1);
    auto* const partial = d.template scratch<double>(name, static_cast<std::size_t>(rows));
    d.for_each(name, static_cast<std::size_t>(rows),
               detail::gpu::SquaredErrors<T>{x, values, weight, losses, dx, partial});
    d.launch(name, 1, 256, 0, &detail::gpu::add_partials<1>, rows, partial, d.adds_sums(), sum);
    return *d.returned_sums(name, sum, 1);
  }

  template <class T>
  static void tanh(D& d, std::size_t count, const T* x, T* y) {
    detail::gpu::map(d, "tanh", count, detail::gpu::Tanh{}, y, x);
  }
  template <class T>
  static void tanh_backward(D& d, std::size_t count, const T* dy, const T* y, T* dx) {
    detail::gpu::map(d, "tanh_backward", count, detail::gpu::TanhBackward{}, dx, dy, y);
  }

 private:
  template <int classes, bool soft, class T>
  static ClassificationSums run(D& d, const char* name, int rows, const T* logits, const std::int32_t* labels,
                                const T* q, double smoothing, double weight, T* losses, T* dlogits) {
    double* const sums = d.sum_slots(2);
    auto* const partial = d.template scratch<double>(name, 2 * static_cast<std::size_t>(rows));
    d.launch(name, static_cast<unsigned>((rows + 3) / 4), 128, 0, &detail::gpu::cross_entropy_rows<classes, soft, T>,
             rows, logits, labels, q, smoothing, weight, losses, dlogits, partial);
    d.launch(name, 1, 256, 0, &detail::gpu::add_partials<2>, rows, partial, d.adds_sums(), sums);
    const double* const found = d.returned_sums(name, sums, 2);
    return {found[0], found[1]};
  }
};

}  // namespace data2vec::inline v0
