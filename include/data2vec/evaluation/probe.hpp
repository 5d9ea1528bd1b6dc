// SPDX-License-Identifier: MIT
// The linear probe: multinomial logistic regression on frozen features, the usual measure of what an encoder has learnt
// without labels (Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2017).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/evaluation/lbfgs.hpp>
#include <data2vec/evaluation/softmax.hpp>

namespace data2vec::inline v0 {

struct ProbeOptions {
  /// Candidates for lambda in mean cross entropy + lambda / 2 |W|^2, the bias free (scikit-learn's C is 1 / (lambda
  /// n)). Of several, the one with the best accuracy on a validation part of the training data is taken, the greatest
  /// of equal ones, and the probe is fitted again on all training data.
  std::vector<double> penalties = {1, 0.1, 0.01, 0.001, 0.0001};
  double validation = 0.2;   ///< fraction of the training rows that choose the penalty
  int max_iterations = 300;  ///< of the solver, for each fit
  double tolerance = 1e-3;   ///< on the gradient's norm in coordinates where the objective is round: half its square
                             ///< is about how far the objective is from its minimum, in nats
  std::uint64_t seed = 1;    ///< which rows are the validation part
  int threads = 0;           ///< 0: as many as the machine has; results do not depend on it
};

/// What a fit came to.
struct ProbeReport {
  int classes = 0;
  double penalty = 0;
  double validation_accuracy = 0;  ///< of the chosen penalty; 0 if there was no choice
  double loss = 0;                 ///< mean cross entropy of the training rows, in nats
  LbfgsResult solver = {};         ///< of the last fit
};

/// A linear classifier of feature vectors. Features are standardised with the training rows' means and deviations;
/// features that do not vary are left out. The fit is deterministic: L-BFGS on gradients of all rows, whose sums are
/// taken in one order for any number of threads.
template <class Isa>
class BasicLinearProbe {
 public:
  /// Fits to features (n, dim) of classes 0 .. max(labels). Throws OptionError or MismatchError.
  ProbeReport fit(std::span<const float> features, std::span<const int> labels, int dim,
                  const ProbeOptions& options = {}) {
    ThreadTeam team(options.threads);
    detail::SoftmaxSums<Isa> sums(team);
    return fit(sums, features, labels, dim, options);
  }

  /// The same where passes over all rows are `sums`' work: CudaSoftmaxSums (cuda_probe.cuh), or what has its functions.
  template <class Sums>
  ProbeReport fit(Sums& sums, std::span<const float> features, std::span<const int> labels, int dim,
                  const ProbeOptions& options = {}) {
    check(features, labels, dim, options);
    dim_ = dim;
    ProbeReport report;
    report.classes = *std::max_element(labels.begin(), labels.end()) + 1;
    layout_ = Softmax::layout(dim, report.classes);
    measure(features);
    // The validation part comes last.
    const std::size_t n = labels.size(), width = static_cast<std::size_t>(dim);
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    Rng rng({.seed = options.seed, .site = Site::order});
    for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.below(static_cast<std::uint32_t>(i))]);
    std::vector<float> rows(n * width);
    std::vector<int> row_labels(n);
    for (std::size_t i = 0; i < n; ++i) {
      standardise(&features[order[i] * width], &rows[i * width]);
      row_labels[i] = labels[order[i]];
    }
    const std::span<const float> all(rows);
    const std::span<const int> all_labels(row_labels);
    detail::SoftmaxCoordinates coordinates(layout_, sums.covariance(dim, all));
    std::vector<double> theta(layout_.size());
    std::vector<double> penalties = options.penalties;
    report.penalty = penalties.front();
    if (penalties.size() > 1) {
      std::sort(penalties.begin(), penalties.end(), std::greater<>());
      const std::size_t fitted = n - held_out(n, options);
      detail::SoftmaxObjective part(sums, layout_, all.first(fitted * width), all_labels.first(fitted));
      std::vector<double> path = theta;  // each fit begins where the one before ended
      ProbeOptions rough = options;  // an accuracy needs less than a result
      rough.tolerance *= 10;
      report.validation_accuracy = -1;
      for (const double penalty : penalties) {
        solve(part, coordinates, path, penalty, rough);
        const double accuracy = accuracy_of(path, all.subspan(fitted * width), all_labels.subspan(fitted));
        if (accuracy <= report.validation_accuracy) continue;
        report.validation_accuracy = accuracy;
        report.penalty = penalty;
        theta = path;
      }
    }
    detail::SoftmaxObjective whole(sums, layout_, all, all_labels);
    report.solver = solve(whole, coordinates, theta, report.penalty, options);
    report.loss = whole.cross_entropy();
    theta_.assign(theta.begin(), theta.end());
    return report;
  }

  int dim() const { return dim_; }
  int classes() const { return layout_.classes; }

  /// The weight of a class for a standardised feature; feature dim() is the bias.
  float weight(int label, int feature) const { return theta_[layout_.at(feature, label)]; }

  /// One row of features (dim) -> (dim), as the classifier sees it.
  void standardise(const float* in, float* out) const {
    for (std::size_t d = 0; d < mean_.size(); ++d)
      out[d] = static_cast<float>((static_cast<double>(in[d]) - mean_[d]) * scale_[d]);
  }

  /// Logits (n, classes) of features (n, dim). A row's bits depend on that row alone. Throws OptionError before fit and
  /// for features that are not finite, MismatchError for a size that is no multiple of dim.
  std::vector<float> logits(std::span<const float> features) const {
    if (theta_.empty()) throw OptionError("probe: expected a fitted probe, found one without weights");
    const auto width = static_cast<std::size_t>(dim_), classes = static_cast<std::size_t>(layout_.classes);
    if (features.size() % width != 0)
      throw MismatchError("probe: expected a multiple of " + std::to_string(dim_) + " features, found " +
                          std::to_string(features.size()));
    expect_finite(features, dim_, "test");
    std::vector<float> row(width), padded(static_cast<std::size_t>(layout_.width())), out;
    out.reserve(features.size() / width * classes);
    for (std::size_t i = 0; i < features.size(); i += width) {
      standardise(&features[i], row.data());
      Softmax::logits(layout_, row.data(), 1, theta_.data(), padded.data());
      out.insert(out.end(), padded.begin(), padded.begin() + layout_.classes);
    }
    return out;
  }

  /// The most likely class of each row, the smallest of equal ones.
  std::vector<int> predict(std::span<const float> features) const {
    const std::vector<float> scores = logits(features);
    const auto classes = static_cast<std::size_t>(layout_.classes);
    std::vector<int> labels;
    for (std::size_t i = 0; i < scores.size(); i += classes) labels.push_back(largest(&scores[i]));
    return labels;
  }

 private:
  using Softmax = detail::SoftmaxKernel<Isa>;

  static void check(std::span<const float> features, std::span<const int> labels, int dim,
                    const ProbeOptions& options) {
    if (dim < 1) throw OptionError("probe: expected dim of at least 1, found " + std::to_string(dim));
    if (labels.empty() || labels.size() > std::numeric_limits<std::uint32_t>::max())
      throw OptionError("probe: expected 1 to 2^32 - 1 training rows, found " + std::to_string(labels.size()));
    if (features.size() != labels.size() * static_cast<std::size_t>(dim))
      throw MismatchError("probe: expected " + std::to_string(labels.size() * static_cast<std::size_t>(dim)) +
                          " training features (labels x dim), found " + std::to_string(features.size()));
    if (const int least = *std::min_element(labels.begin(), labels.end()); least < 0)
      throw OptionError("probe: expected labels of 0 or more, found " + std::to_string(least));
    if (options.penalties.empty()) throw OptionError("ProbeOptions::penalties: expected at least one, found none");
    for (const double penalty : options.penalties)
      if (!(penalty > 0) || !is_finite(penalty))
        throw OptionError("ProbeOptions::penalties: expected numbers above 0, found " + std::to_string(penalty));
    if (options.penalties.size() > 1 &&
        (held_out(labels.size(), options) < 1 || held_out(labels.size(), options) >= labels.size()))
      throw OptionError("ProbeOptions::validation: expected a fraction that leaves rows on both sides of " +
                        std::to_string(labels.size()) + ", found " + std::to_string(options.validation));
    expect_finite(features, dim, "training");
  }

  static void expect_finite(std::span<const float> features, int dim, const char* what) {
    for (std::size_t i = 0; i < features.size(); ++i)
      if (!is_finite(features[i]))
        throw OptionError(std::string("probe: expected finite ") + what + " features, found others in row " +
                          std::to_string(i / static_cast<std::size_t>(dim)));
  }

  static std::size_t held_out(std::size_t rows, const ProbeOptions& options) {
    const double count = options.validation * static_cast<double>(rows);
    return count > 0 ? static_cast<std::size_t>(std::min(count, static_cast<double>(rows))) : 0;
  }

  /// Means and inverse deviations of the columns, in double, row after row. A column whose deviation is within the
  /// rounding of its values counts as constant.
  void measure(std::span<const float> features) {
    const auto width = static_cast<std::size_t>(dim_);
    const auto rows = static_cast<double>(features.size() / width);
    std::vector<double> squares(width);
    mean_.assign(width, 0.0);
    scale_.assign(width, 0.0);
    for (std::size_t i = 0; i < features.size(); i += width)
      for (std::size_t d = 0; d < width; ++d) mean_[d] += static_cast<double>(features[i + d]);
    for (double& mean : mean_) mean /= rows;
    for (std::size_t i = 0; i < features.size(); i += width)
      for (std::size_t d = 0; d < width; ++d) {
        const double centred = static_cast<double>(features[i + d]) - mean_[d];
        squares[d] += centred * centred;
      }
    for (std::size_t d = 0; d < width; ++d) {
      const double deviation = std::sqrt(squares[d] / rows);
      const bool constant =
          deviation <= static_cast<double>(std::numeric_limits<float>::epsilon()) * std::fabs(mean_[d]);
      if (!constant) scale_[d] = 1 / deviation;
    }
  }

  template <class Sums>
  static LbfgsResult solve(detail::SoftmaxObjective<Sums>& objective, detail::SoftmaxCoordinates& coordinates,
                           std::vector<double>& theta, double penalty, const ProbeOptions& options) {
    coordinates.set_penalty(penalty);
    coordinates.into(theta);
    std::vector<double> weights(theta.size());
    const auto result = minimise(
        [&](const std::vector<double>& u, std::vector<double>& gradient) {
          weights = u;
          coordinates.from(weights);
          const double value = objective(weights, penalty, gradient);
          coordinates.gradient(gradient);
          return value;
        },
        theta, {.max_iterations = options.max_iterations, .tolerance = options.tolerance});
    coordinates.from(theta);
    return result;
  }

  /// Of standardised rows.
  double accuracy_of(const std::vector<double>& theta, std::span<const float> rows, std::span<const int> labels) const {
    const std::vector<float> weights(theta.begin(), theta.end());
    std::vector<float> padded(static_cast<std::size_t>(layout_.width()));
    std::size_t right = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      Softmax::logits(layout_, &rows[i * static_cast<std::size_t>(dim_)], 1, weights.data(), padded.data());
      right += largest(padded.data()) == labels[i];
    }
    return static_cast<double>(right) / static_cast<double>(labels.size());
  }

  int largest(const float* scores) const {
    return static_cast<int>(std::max_element(scores, scores + layout_.classes) - scores);
  }

  int dim_ = 0;
  SoftmaxLayout layout_;
  std::vector<double> mean_, scale_;  // (dim)
  std::vector<float> theta_;
};

using LinearProbe = BasicLinearProbe<isa::Native>;

/// The fraction of test rows that a probe fitted to the training rows classifies rightly, 0 to 1.
inline double probe_accuracy(std::span<const float> train, std::span<const int> train_labels,
                             std::span<const float> test, std::span<const int> test_labels, int dim,
                             const ProbeOptions& options = {}) {
  if (dim < 1 || test.size() != test_labels.size() * static_cast<std::size_t>(dim) || test_labels.empty())
    throw MismatchError("probe: expected test features of as many rows as labels, at least one, found " +
                        std::to_string(test.size()) + " features and " + std::to_string(test_labels.size()) +
                        " labels of dim " + std::to_string(dim));
  LinearProbe probe;
  probe.fit(train, train_labels, dim, options);
  const std::vector<int> found = probe.predict(test);
  std::size_t right = 0;
  for (std::size_t i = 0; i < found.size(); ++i) right += found[i] == test_labels[i];
  return static_cast<double>(right) / static_cast<double>(found.size());
}

}  // namespace data2vec::inline v0
