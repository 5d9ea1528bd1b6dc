// SPDX-License-Identifier: MIT
// The contrastive loss on the GPU: a block per prediction for its cosines, loss and gradient; targets gather theirs
// from the pairs they are part of, sorted by target, so nothing is atomic.
#pragma once

#include <data2vec/device/contrast.hpp>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/reduce.cuh>
#include <data2vec/device/cuda/sorted.cuh>
#include <data2vec/device/cuda/tiles.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// Pair k of prediction i is that with target i for k = 0, else with its (k - 1)th negative; K negatives each.
struct Pairs {
  const int* negatives;
  int K;
  D2V_HD constexpr int target(int i, int k) const {
    return k == 0 ? i : negatives[static_cast<std::size_t>(i) * K + k - 1];
  }
  D2V_HD constexpr int operator()(int pair) const { return target(pair / (K + 1), pair % (K + 1)); }
};

struct LeaveOutEqual {
  int K, groups;
  const int *codes, *negatives;
  int* candidates;
  __device__ void operator()(std::size_t i) const {
    const int other = negatives[i];
    bool same = true;
    if (other >= 0) {
      const int* const own = codes + divide(i, K).quotient * static_cast<std::size_t>(groups);
      for (int g = 0; g < groups; ++g) same &= own[g] == codes[static_cast<std::size_t>(other) * groups + g];
    }
    candidates[i] = same ? -1 : other;
  }
};

/// 1 / |x|, at most 1e8: a warp per row.
template <int C, class T>
__global__ void __launch_bounds__(128) inverse_norm_rows(int rows, const T* x, float* inverse) {
  const int row = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32;
  if (row >= rows) return;
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x) % 32; c < C; c += 32) {
    const float v = to_float(x[static_cast<std::size_t>(row) * C + c]);
    sum = fmaf(v, v, sum);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) inverse[row] = 1 / fmaxf(sqrtf(sum), 1e-8f);
}

/// What a pair adds to gradients: `across` times the one to the other, less `along` / |x|^2 times itself.
struct PairSlope {
  float across, along;
};

/// A block per prediction; partial (rows, 2): loss, and whether its target is the closest. Shared: K + 1 logits and
/// slopes.
template <int C, class T>
__global__ void __launch_bounds__(256)
    contrast_rows(Pairs pairs, const T* prediction, const T* targets, const float* of_prediction,
                  const float* of_target, double temperature, double weight, T* logits, T* dprediction,
                  PairSlope* slopes, double* partial) {
  extern __shared__ float4 shared[];
  float* const logit = reinterpret_cast<float*>(shared);
  float* const across = logit + pairs.K + 1;
  const int row = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int count = pairs.K + 1;
  const T* const x = prediction + static_cast<std::size_t>(row) * C;
  const std::size_t at = static_cast<std::size_t>(row) * count;
  for (int k = thread / 32; k < count; k += 8) {
    const int t = pairs.target(row, k);
    float dot = 0;
    if (t >= 0)
      for (int c = lane; c < C; c += 32)
        dot = fmaf(to_float(x[c]), to_float(targets[static_cast<std::size_t>(t) * C + c]), dot);
    dot = warp_sum(dot);
    if (lane > 0) continue;
    logit[k] = t < 0 ? -INFINITY : dot * of_prediction[row] * of_target[t] * static_cast<float>(1 / temperature);
    put(logits[at + k], logit[k]);
  }
  __syncthreads();
  float most = -INFINITY, least = INFINITY;
  for (int k = lane; k < count; k += 32) most = fmaxf(most, logit[k]), least = fminf(least, logit[k]);
  most = warp_max(most);
  least = -warp_max(-least);
  double sum = 0;
  for (int k = lane; k < count; k += 32) sum += exp(static_cast<double>(logit[k] - most));
  sum = warp_sum(sum);
  if (thread == 0) {
    partial[2 * row] = log(sum) + static_cast<double>(most - logit[0]);
    partial[2 * row + 1] = logit[0] == most && least != most;
  }
  double own = 0;  // slope times cosine over all pairs, the same in every warp
  for (int k = lane; k < count; k += 32) {
    const int t = pairs.target(row, k);
    PairSlope slope{0, 0};
    if (t >= 0) {
      const double p = exp(static_cast<double>(logit[k] - most)) / sum;
      const double s = weight * (p - (k == 0 ? 1 : 0)) / temperature;
      const double along = s * temperature * static_cast<double>(logit[k]);
      slope.across = static_cast<float>(s * of_target[t] * of_prediction[row]);
      slope.along = static_cast<float>(along);
      own += along;
    }
    if (thread < 32) slopes[at + k] = slope, across[k] = slope.across;
  }
  own = warp_sum(own);
  __syncthreads();
  const auto self = static_cast<float>(-own * of_prediction[row] * of_prediction[row]);
  for (int c = thread; c < C; c += 256) {
    float dx = 0;
    for (int k = 0; k < count; ++k)
      if (const int t = pairs.target(row, k); t >= 0)
        dx = fmaf(across[k], to_float(targets[static_cast<std::size_t>(t) * C + c]), dx);
    put(dprediction[static_cast<std::size_t>(row) * C + c], fmaf(self, to_float(x[c]), dx));
  }
}

/// The first place of sorted keys that is not less than `key`.
D2V_HD constexpr int first_place(const unsigned* keys, int count, unsigned key) {
  int first = 0;
  for (int size = count; size > 0;) {
    const int half = size / 2;
    if (keys[first + half] < key)
      first += half + 1, size -= half + 1;
    else
      size = half;
  }
  return first;
}

/// A block per target, which takes its pairs in the order of the predictions.
template <int C, class T>
__global__ void __launch_bounds__(256)
    contrast_targets(int count, Pairs pairs, Sorted sorted, const PairSlope* slopes, const T* prediction,
                     const T* targets, const float* of_target, T* dtargets) {
  const auto target = static_cast<unsigned>(blockIdx.x);
  const int first = first_place(sorted.keys, count, target);
  const float inverse = of_target[target];
  for (int c = static_cast<int>(threadIdx.x); c < C; c += 256) {
    float dy = 0;
    double own = 0;
    for (int p = first; p < count && sorted.keys[p] == target; ++p) {
      const int pair = sorted.places[p];
      const PairSlope slope = slopes[pair];
      dy = fmaf(slope.across, to_float(prediction[static_cast<std::size_t>(pair / (pairs.K + 1)) * C + c]), dy);
      own += static_cast<double>(slope.along);
    }
    const std::size_t at = static_cast<std::size_t>(target) * C + c;
    put(dtargets[at], fmaf(static_cast<float>(-own * inverse * inverse), to_float(targets[at]), dy));
  }
}

}  // namespace detail::gpu

/// Norms and slopes are fp32 in scratch of the device: the caller's is not used.
template <Precision P>
struct kernel::Contrast<BasicCuda<P>> {
  using D = BasicCuda<P>;

  static void leave_out_equal(D& d, int rows, int K, int groups, const int* codes, const int* negatives,
                              int* candidates) {
    d.for_each("leave_out_equal", static_cast<std::size_t>(rows) * K,
               detail::gpu::LeaveOutEqual{K, groups, codes, negatives, candidates});
  }

  template <int C, class T>
  static ContrastSums run(D& d, int rows, int pool, int K, const T* prediction, const T* targets, const int* negatives,
                          double temperature, double weight, T* logits, T* dprediction, T* dtargets, T*) {
    using detail::gpu::PairSlope;
    constexpr const char* name = "contrast";
    double* const sums = d.sum_slots(2);
    const int count = rows * (K + 1);
    const auto n = static_cast<std::size_t>(rows), m = static_cast<std::size_t>(pool);
    const auto all = static_cast<std::size_t>(count);
    auto* const memory = d.template scratch<std::byte>(
        name, 2 * n * sizeof(double) + all * sizeof(PairSlope) + (n + m) * sizeof(float) +
                  detail::gpu::sort_bytes(d, name, count));
    auto* const partial = reinterpret_cast<double*>(memory);
    auto* const slopes = reinterpret_cast<PairSlope*>(partial + 2 * n);
    auto *const of_prediction = reinterpret_cast<float*>(slopes + all), *const of_target = of_prediction + n;
    const detail::gpu::Pairs pairs{negatives, K};
    const auto norms = [&](int r, const T* x, float* inverse) {
      d.launch(name, static_cast<unsigned>((r + 3) / 4), 128, 0, &detail::gpu::inverse_norm_rows<C, T>, r, x, inverse);
    };
    norms(rows, prediction, of_prediction);
    norms(pool, targets, of_target);
    d.launch(name, static_cast<unsigned>(rows), 256, 2 * sizeof(float) * static_cast<std::size_t>(K + 1),
             &detail::gpu::contrast_rows<C, T>, pairs, prediction, targets, of_prediction, of_target, temperature,
             weight, logits, dprediction, slopes, partial);
    detail::gpu::Sorted sorted{nullptr, nullptr};
    if (count > 0)
      sorted = detail::gpu::sort_places(d, name, count, pairs, reinterpret_cast<std::byte*>(of_target + m));
    d.launch(name, static_cast<unsigned>(pool), 256, 0, &detail::gpu::contrast_targets<C, T>, count, pairs, sorted,
             slopes, prediction, targets, of_target, dtargets);
    d.launch(name, 1, 256, 0, &detail::gpu::add_partials<2>, rows, partial, d.adds_sums(), sums);
    const double* const found = d.returned_sums(name, sums, 2);
    return {found[0], found[1]};
  }
};

}  // namespace data2vec::inline v0
