// SPDX-License-Identifier: MIT
// Minimises a smooth function of many variables: L-BFGS (Liu and Nocedal, "On the limited memory BFGS method for large
// scale optimization", 1989; Nocedal and Wright, "Numerical optimization", algorithms 7.4 and 7.5).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

#include <data2vec/core/buffer.hpp>

namespace data2vec::inline v0 {

struct LbfgsOptions {
  int history = 10;          ///< pairs of steps and gradient differences that are kept
  int max_iterations = 200;
  double tolerance = 1e-4;   ///< stops once the gradient's Euclidean norm is not greater
};

struct LbfgsResult {
  double value = 0, gradient_norm = 0;  ///< at the result
  int iterations = 0, evaluations = 0;
  bool converged = false;               ///< the norm is within the tolerance
};

namespace detail {

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// Steps s and gradient differences y of the last iterations, newest last.
class LbfgsHistory {
 public:
  explicit LbfgsHistory(int length) : length_(static_cast<std::size_t>(std::max(length, 1))) {}

  bool empty() const { return pairs_.empty(); }
  void clear() { pairs_.clear(); }

  /// Pairs without positive curvature, which rounding can bring about, are left out.
  void add(std::vector<double> s, std::vector<double> y) {
    const double curvature = dot(s, y), squares = dot(y, y);
    if (!(curvature > 1e-12 * squares)) return;
    if (pairs_.size() == length_) pairs_.pop_front();
    pairs_.push_back({std::move(s), std::move(y), curvature, squares});
  }

  /// -H g by the two loops (algorithm 7.4).
  void direction(const std::vector<double>& gradient, std::vector<double>& out) const {
    std::vector<double> alpha(pairs_.size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = -gradient[i];
    for (std::size_t j = pairs_.size(); j-- > 0;) {
      alpha[j] = dot(pairs_[j].s, out) / pairs_[j].curvature;
      for (std::size_t i = 0; i < out.size(); ++i) out[i] -= alpha[j] * pairs_[j].y[i];
    }
    const double scale = pairs_.empty() ? 1 : pairs_.back().curvature / pairs_.back().squares;
    for (double& x : out) x *= scale;
    for (std::size_t j = 0; j < pairs_.size(); ++j) {
      const double beta = dot(pairs_[j].y, out) / pairs_[j].curvature;
      for (std::size_t i = 0; i < out.size(); ++i) out[i] += (alpha[j] - beta) * pairs_[j].s[i];
    }
  }

 private:
  struct Pair {
    std::vector<double> s, y;
    double curvature, squares;
  };
  std::size_t length_;
  std::deque<Pair> pairs_;
};

/// Where a search stands.
struct LbfgsPoint {
  std::vector<double> x, gradient;
  double value = 0;
};

/// A step along `direction` that fulfils the weak Wolfe conditions, by doubling and halving (Lewis and Overton,
/// "Nonsmooth optimization via quasi-Newton methods", 2013). The decrease has a slack for functions that are computed
/// in float. False if there is none within 30 trials.
template <class F>
bool wolfe_step(F& f, const LbfgsPoint& from, const std::vector<double>& direction, double slope, double step,
                LbfgsPoint& to, int& evaluations) {
  const double slack = 1e-9 * std::max(1.0, std::fabs(from.value));
  double low = 0, high = -1;
  for (int trial = 0; trial < 30; ++trial) {
    for (std::size_t i = 0; i < from.x.size(); ++i) to.x[i] = from.x[i] + step * direction[i];
    to.value = f(to.x, to.gradient);
    ++evaluations;
    if (!is_finite(to.value) || to.value > from.value + 1e-4 * step * slope + slack) high = step;
    else if (dot(to.gradient, direction) < 0.9 * slope) low = step;
    else return true;
    step = high < 0 ? 2 * step : 0.5 * (low + high);
  }
  return false;
}

}  // namespace detail

/// Minimises f from x, which ends at the best point found. `f(x, gradient)` returns the value and overwrites the
/// gradient. One sequence of operations: the same bits from the same function.
template <class F>
LbfgsResult minimise(F&& f, std::vector<double>& x, const LbfgsOptions& options = {}) {
  detail::LbfgsPoint now{x, std::vector<double>(x.size()), 0}, next = now;
  detail::LbfgsHistory history(options.history);
  std::vector<double> direction(x.size());
  LbfgsResult result;
  now.value = f(now.x, now.gradient);
  result.evaluations = 1;
  for (;;) {
    result.gradient_norm = std::sqrt(detail::dot(now.gradient, now.gradient));
    result.converged = result.gradient_norm <= options.tolerance;
    if (result.converged || result.iterations >= options.max_iterations || !is_finite(result.gradient_norm)) break;
    history.direction(now.gradient, direction);
    double slope = detail::dot(now.gradient, direction);
    if (!(slope < 0)) {
      history.clear();
      continue;
    }
    const double first = history.empty() ? std::min(1.0, 1 / result.gradient_norm) : 1;
    if (!detail::wolfe_step(f, now, direction, slope, first, next, result.evaluations)) {
      if (history.empty()) break;
      history.clear();  // once more, straight down
      continue;
    }
    ++result.iterations;
    std::vector<double> s(x.size()), y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      s[i] = next.x[i] - now.x[i];
      y[i] = next.gradient[i] - now.gradient[i];
    }
    history.add(std::move(s), std::move(y));
    std::swap(now, next);
  }
  result.value = now.value;
  x = std::move(now.x);
  return result;
}

}  // namespace data2vec::inline v0
