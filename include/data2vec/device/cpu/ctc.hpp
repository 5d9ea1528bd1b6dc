// SPDX-License-Identifier: MIT
// CTC on the CPU: forward and backward over the lattice of (frame, state), in log space.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <data2vec/device/cpu/cpu.hpp>
#include <data2vec/device/ctc.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Ctc<BasicCpu<Isa>> {
  using Device = BasicCpu<Isa>;

  template <int classes, class T>
  static CtcSums run(Device&, int rows, int frames, const T* logits, const std::int32_t* input_lengths, int most_labels,
                     const std::int32_t* targets, const std::int32_t* target_lengths, const CtcOptions& options,
                     double weight, double* losses, T* dlogits, double* workspace) {
    CtcSums sums;
    for (int row = 0; row < rows; ++row) {
      const Lattice<classes, T> lattice{input_lengths[row], target_lengths[row], options.blank, logits, targets,
                                        workspace};
      const double loss = lattice.forward();
      const bool possible = loss != infinity;  // NaN is not hidden
      if (!possible && sums.impossible++ == 0) sums.first_impossible = row;
      const double counted = possible || !options.zero_infinity ? loss : 0;
      if (losses) losses[row] = counted;
      sums.loss += counted;
      if (dlogits) {
        const std::ptrdiff_t valid = possible ? static_cast<std::ptrdiff_t>(input_lengths[row]) * classes : 0;
        if (possible) lattice.backward(loss, weight, dlogits);
        std::fill(dlogits + valid, dlogits + static_cast<std::ptrdiff_t>(frames) * classes, T(0));
        dlogits += static_cast<std::ptrdiff_t>(frames) * classes;
      }
      logits += static_cast<std::ptrdiff_t>(frames) * classes;
      targets += most_labels;
    }
    return sums;
  }

 private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  /// log(e^a + e^b + e^c); minus infinity where all are.
  static double log_sum(double a, double b, double c) {
    const double most = std::max(a, std::max(b, c));
    if (most == -infinity) return most;
    return most + std::log(std::exp(a - most) + std::exp(b - most) + std::exp(c - most));
  }

  /// One sequence.
  template <int classes, class T>
  struct Lattice {
    int frames, labels, blank;
    const T* logits;              // (frames, classes)
    const std::int32_t* targets;  // (labels)
    double* workspace;

    int states() const { return ctc_states(labels); }
    int symbol(int s) const { return ctc_symbol(targets, s, blank); }
    bool skips(int s) const { return ctc_skips(targets, s); }
    double* alpha(int t) const { return workspace + static_cast<std::ptrdiff_t>(t) * states(); }
    double* beta(int parity) const { return alpha(frames) + static_cast<std::ptrdiff_t>(parity) * states(); }
    double* normaliser() const { return beta(2); }  // (frames): log of the sum of e^logit
    const T* frame(int t) const { return logits + static_cast<std::ptrdiff_t>(t) * classes; }
    double log_p(int t, int symbol) const { return static_cast<double>(frame(t)[symbol]) - normaliser()[t]; }

    /// Minus the log of the sum over all paths; infinite where there is none. alpha(t)[s]: log of the sum over the
    /// paths that are in state s at frame t, that frame included.
    double forward() const {
      for (int t = 0; t < frames; ++t) {
        const T* x = frame(t);
        const auto most = static_cast<double>(*std::max_element(x, x + classes));
        double sum = 0;
        for (int k = 0; k < classes; ++k) sum += std::exp(static_cast<double>(x[k]) - most);
        normaliser()[t] = most + std::log(sum);
      }
      if (frames == 0) return labels == 0 ? 0 : infinity;
      const int n = states();
      for (int s = 0; s < n; ++s) alpha(0)[s] = s < 2 ? log_p(0, symbol(s)) : -infinity;
      for (int t = 1; t < frames; ++t) {
        const double* from = alpha(t - 1);
        double* to = alpha(t);
        for (int s = 0; s < n; ++s)
          to[s] = log_p(t, symbol(s)) +
                  log_sum(from[s], s >= 1 ? from[s - 1] : -infinity, skips(s) ? from[s - 2] : -infinity);
      }
      const double* last = alpha(frames - 1);
      return -log_sum(last[n - 1], n >= 2 ? last[n - 2] : -infinity, -infinity);
    }

    /// d loss / d logit(t, k) = p(t, k) - the share of the paths that are in a state of symbol k at frame t (section
    /// 4.2). beta[s]: log of the sum over the rest of the paths from state s on, that frame excluded.
    void backward(double loss, double weight, T* dlogits) const {
      const int n = states();
      for (int t = frames - 1; t >= 0; --t) {
        double* now = beta(t % 2);
        const double* after = beta((t + 1) % 2);
        for (int s = 0; s < n; ++s) {
          if (t == frames - 1) {
            now[s] = s >= n - 2 ? 0 : -infinity;
            continue;
          }
          const auto step = [&](int to) { return after[to] + log_p(t + 1, symbol(to)); };
          now[s] = log_sum(step(s), s + 1 < n ? step(s + 1) : -infinity,
                           s + 2 < n && skips(s + 2) ? step(s + 2) : -infinity);
        }
        T* d = dlogits + static_cast<std::ptrdiff_t>(t) * classes;
        std::array<double, classes> share{};
        for (int s = 0; s < n; ++s) share[static_cast<std::size_t>(symbol(s))] += std::exp(alpha(t)[s] + now[s] + loss);
        for (int k = 0; k < classes; ++k)
          d[k] = static_cast<T>(weight * (std::exp(log_p(t, k)) - share[static_cast<std::size_t>(k)]));
      }
    }
  };
};

}  // namespace data2vec::inline v0
