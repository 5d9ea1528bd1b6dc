// SPDX-License-Identifier: MIT
// CTC on the GPU, in log space and double: normalisers by a warp per frame, the lattice by a block per row that walks
// over the frames, gradients by a warp per frame.
#pragma once

#include <data2vec/device/ctc.hpp>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/math.hpp>
#include <data2vec/device/cuda/reduce.cuh>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// The sequences, and where in scratch a row's numbers lie: (frames, states) of alpha, two rows of beta, normalisers.
template <int classes, class T>
struct CtcRows {
  int rows, frames, most_labels;
  CtcOptions options;
  const T* logits;
  const std::int32_t *input_lengths, *targets, *target_lengths;
  double *memory, *losses;  // losses (rows): infinite where the target does not fit

  D2V_HD std::size_t size() const { return ctc_workspace_size(frames, most_labels); }
  D2V_HD int width() const { return ctc_states(most_labels); }
  D2V_HD double* alpha(int row, int t) const { return memory + row * size() + static_cast<std::size_t>(t) * width(); }
  D2V_HD double* beta(int row, int parity) const { return alpha(row, frames + parity); }
  D2V_HD double* normalisers(int row) const { return alpha(row, frames + 2); }
  D2V_HD const std::int32_t* target(int row) const { return targets + static_cast<std::size_t>(row) * most_labels; }
  D2V_HD std::size_t at(int row, int t) const { return (static_cast<std::size_t>(row) * frames + t) * classes; }
  /// Log of the probability of a symbol.
  D2V_HD double log_p(int row, int t, int symbol) const {
    return static_cast<double>(to_float(logits[at(row, t) + symbol])) - normalisers(row)[t];
  }
};

template <int classes, class T>
__global__ void __launch_bounds__(128) ctc_normalisers(CtcRows<classes, T> c) {
  const int i = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32, row = i / c.frames;
  if (row >= c.rows || i % c.frames >= c.input_lengths[row]) return;
  const T* const x = c.logits + c.at(row, i % c.frames);
  const double lse = row_log_sum(classes, [=](int k) { return to_float(x[k]); });
  if (threadIdx.x % 32 == 0) c.normalisers(row)[i % c.frames] = lse;
}

/// log(e^a + e^b + e^c); minus infinity where all are.
D2V_HD inline double log_of_three(double a, double b, double c) {
  const double pair = a < b ? b : a, most = pair < c ? c : pair;
  return most == -INFINITY ? most : most + std::log(std::exp(a - most) + std::exp(b - most) + std::exp(c - most));
}

/// The loss of a row; alpha becomes the share of the paths that are in a state at a frame (sections 4.1 and 4.2).
template <int classes, class T>
__global__ void __launch_bounds__(256) ctc_lattice(CtcRows<classes, T> c, bool with_shares) {
  const int row = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int frames = c.input_lengths[row], labels = c.target_lengths[row], n = ctc_states(labels);
  const std::int32_t* const target = c.target(row);
  const auto symbol = [=](int s) { return ctc_symbol(target, s, c.options.blank); };
  for (int t = 0; t < frames; ++t) {
    double* const to = c.alpha(row, t);
    const double* const from = c.alpha(row, t > 0 ? t - 1 : 0);
    for (int s = thread; s < n; s += 256)
      if (t == 0)
        to[s] = s < 2 ? c.log_p(row, 0, symbol(s)) : -INFINITY;
      else
        to[s] = c.log_p(row, t, symbol(s)) + log_of_three(from[s], s >= 1 ? from[s - 1] : -INFINITY,
                                                          ctc_skips(target, s) ? from[s - 2] : -INFINITY);
    __syncthreads();
  }
  double loss = labels == 0 ? 0 : INFINITY;
  if (frames > 0) {
    const double* const last = c.alpha(row, frames - 1);
    loss = -log_of_three(last[n - 1], n >= 2 ? last[n - 2] : -INFINITY, -INFINITY);
  }
  if (thread == 0) c.losses[row] = loss;
  if (!with_shares || loss == INFINITY) return;
  __syncthreads();
  for (int t = frames - 1; t >= 0; --t) {
    double *const now = c.beta(row, t % 2), *const share = c.alpha(row, t);
    const double* const after = c.beta(row, (t + 1) % 2);
    const auto step = [&](int s) { return after[s] + c.log_p(row, t + 1, symbol(s)); };
    for (int s = thread; s < n; s += 256) {
      if (t == frames - 1)
        now[s] = s >= n - 2 ? 0 : -INFINITY;
      else
        now[s] = log_of_three(step(s), s + 1 < n ? step(s + 1) : -INFINITY,
                              s + 2 < n && ctc_skips(target, s + 2) ? step(s + 2) : -INFINITY);
      share[s] = exp(share[s] + now[s] + loss);
    }
    __syncthreads();
  }
}

/// dlogits of a frame: the probability of a class less the share of the paths that are in one of its states.
template <int classes, class T>
__global__ void __launch_bounds__(128) ctc_gradients(CtcRows<classes, T> c, double weight, T* dlogits) {
  const int i = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32, row = i / c.frames;
  if (row >= c.rows) return;
  const int t = i % c.frames, labels = c.target_lengths[row];
  const bool counts = t < c.input_lengths[row] && c.losses[row] != INFINITY;
  const std::int32_t* const target = c.target(row);
  const double* const share = c.alpha(row, t);
  for (int k = static_cast<int>(threadIdx.x) % 32; k < classes; k += 32) {
    double value = 0;
    if (counts) {
      double own = 0;
      for (int s = 1; s < ctc_states(labels); s += 2)
        if (target[s / 2] == k) own += share[s];
      if (k == c.options.blank)
        for (int s = 0; s < ctc_states(labels); s += 2) own += share[s];
      value = weight * (exp(c.log_p(row, t, k)) - own);
    }
    put(dlogits[c.at(row, t) + k], static_cast<float>(value));
  }
}

/// One thread: losses as they count, and the sums: loss, impossible rows and, unless added, the first of these.
template <class Losses>
__global__ void ctc_sums(int rows, bool zero_infinity, const Losses* found, Losses* losses, bool add, double* sums) {
  double loss = 0;
  int impossible = 0, first = -1;
  for (int row = 0; row < rows; ++row) {
    const bool possible = found[row] != INFINITY;  // NaN is not hidden
    if (!possible && impossible++ == 0) first = row;
    const double counted = possible || !zero_infinity ? found[row] : 0;
    if (losses) losses[row] = counted;
    loss += counted;
  }
  sums[0] = add ? sums[0] + loss : loss;
  sums[1] = add ? sums[1] + impossible : impossible;
  if (!add) sums[2] = first;
}

}  // namespace detail::gpu

/// All rows at once, in scratch of the device: `workspace` is not used. Of deferred sums there are two, the loss and
/// the impossible rows.
template <Precision P>
struct kernel::Ctc<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <int classes, class T>
  static CtcSums run(D& d, int rows, int frames, const T* logits, const std::int32_t* input_lengths, int most_labels,
                     const std::int32_t* targets, const std::int32_t* target_lengths, const CtcOptions& options,
                     double weight, double* losses, T* dlogits, double*) {
    constexpr const char* name = "ctc";
    const bool add = d.adds_sums();
    const int count = add ? 2 : 3;
    double* const sums = d.sum_slots(count);
    const auto n = static_cast<std::size_t>(rows);
    double* const memory = d.template scratch<double>(name, n * (ctc_workspace_size(frames, most_labels) + 1));
    double* const found = memory + n * ctc_workspace_size(frames, most_labels);
    const detail::gpu::CtcRows<classes, T> all{rows,    frames,         most_labels, options, logits, input_lengths,
                                               targets, target_lengths, memory,      found};
    const auto warps = static_cast<unsigned>((rows * frames + 3) / 4);
    d.launch(name, warps, 128, 0, &detail::gpu::ctc_normalisers<classes, T>, all);
    d.launch(name, static_cast<unsigned>(rows), 256, 0, &detail::gpu::ctc_lattice<classes, T>, all, dlogits != nullptr);
    if (dlogits) d.launch(name, warps, 128, 0, &detail::gpu::ctc_gradients<classes, T>, all, weight, dlogits);
    d.launch(name, 1, 1, 0, &detail::gpu::ctc_sums<double>, rows, options.zero_infinity, found, losses, add, sums);
    const double* const returned = d.returned_sums(name, sums, count);
    CtcSums result;
    result.loss = returned[0];
    result.impossible = static_cast<int>(returned[1]);
    if (!add) result.first_impossible = static_cast<int>(returned[2]);
    return result;
  }
};

}  // namespace data2vec::inline v0
