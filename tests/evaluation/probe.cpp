// SPDX-License-Identifier: MIT
// The linear probe: what the optimum of a convex objective must fulfil, and what may not change the result.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/evaluation/probe.hpp>

using namespace data2vec;

namespace {

struct Problem {
  int dim, classes;
  std::vector<float> features;
  std::vector<int> labels;
};

/// Rows around a centre for each class, `spread` apart from it in every feature; features of unlike scales.
Problem clusters(int rows, int dim, int classes, float spread, std::uint64_t seed = 7) {
  Problem p{dim, classes, {}, {}};
  Rng rng({.seed = seed});
  std::vector<float> centres(static_cast<std::size_t>(classes * dim));
  for (float& x : centres) x = rng.normal();
  for (int i = 0; i < rows; ++i) {
    p.labels.push_back(i % classes);
    for (int d = 0; d < dim; ++d)
      p.features.push_back((centres[static_cast<std::size_t>(i % classes * dim + d)] + spread * rng.normal()) *
                               static_cast<float>(1 + d % 5) + static_cast<float>(d));
  }
  return p;
}

/// The penalised objective's gradient at the probe's weights, in double, from the definition: its Euclidean norm, and
/// the mean cross entropy.
struct Optimum {
  double gradient_norm = 0, loss = 0, weight_norm = 0;
  double objective(double penalty) const { return loss + 0.5 * penalty * weight_norm * weight_norm; }
};
Optimum by_definition(const Problem& p, const LinearProbe& probe, double penalty) {
  const auto dim = static_cast<std::size_t>(p.dim), classes = static_cast<std::size_t>(p.classes);
  std::vector<double> gradient(classes * (dim + 1)), z(classes);
  std::vector<float> x(dim);
  Optimum result;
  const double n = static_cast<double>(p.labels.size());
  for (std::size_t i = 0; i < p.labels.size(); ++i) {
    probe.standardise(&p.features[i * dim], x.data());
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      z[c] = static_cast<double>(probe.weight(static_cast<int>(c), p.dim));
      for (std::size_t d = 0; d < dim; ++d)
        z[c] += static_cast<double>(probe.weight(static_cast<int>(c), static_cast<int>(d))) * static_cast<double>(x[d]);
      sum += std::exp(z[c]);
    }
    for (std::size_t c = 0; c < classes; ++c) {
      const bool own = static_cast<int>(c) == p.labels[i];
      if (own) result.loss += (std::log(sum) - z[c]) / n;
      const double residual = (std::exp(z[c]) / sum - (own ? 1 : 0)) / n;
      for (std::size_t d = 0; d < dim; ++d) gradient[c * (dim + 1) + d] += residual * static_cast<double>(x[d]);
      gradient[c * (dim + 1) + dim] += residual;
    }
  }
  double squares = 0;
  for (std::size_t c = 0; c < classes; ++c)
    for (std::size_t d = 0; d <= dim; ++d) {
      const auto w = static_cast<double>(probe.weight(static_cast<int>(c), static_cast<int>(d)));
      const double g = gradient[c * (dim + 1) + d] + (d < dim ? penalty * w : 0);
      squares += g * g;
      if (d < dim) result.weight_norm += w * w;
    }
  result.gradient_norm = std::sqrt(squares);
  result.weight_norm = std::sqrt(result.weight_norm);
  return result;
}

double accuracy(const Problem& p, const LinearProbe& probe) {
  const auto found = probe.predict(p.features);
  double right = 0;
  for (std::size_t i = 0; i < found.size(); ++i) right += found[i] == p.labels[i];
  return right / static_cast<double>(found.size());
}

}  // namespace

TEST_CASE("probe: separable classes are all found") {
  const Problem train = clusters(400, 20, 4, 0.1f);
  LinearProbe probe;
  const auto report = probe.fit(train.features, train.labels, train.dim, {.threads = 1});
  CHECK(report.classes == 4);
  CHECK(report.validation_accuracy == 1);
  CHECK(report.penalty == 1);  // the greatest of equal ones
  CHECK(accuracy(train, probe) == 1);
}

TEST_CASE("probe: at the optimum the gradient is zero, for any number of classes") {
  for (const int classes : {2, 3, 17, 40}) {  // one panel of classes, part of one, several
    CAPTURE(classes);
    const Problem p = clusters(400, 9, classes, 1.5f);
    LinearProbe probe;
    constexpr double penalty = 0.01, tolerance = 1e-4;
    const auto report =
        probe.fit(p.features, p.labels, p.dim, {.penalties = {penalty}, .tolerance = tolerance, .threads = 1});
    CHECK(report.solver.converged);
    // |g| <= |L| |L^-1 g|, and |L|^2 <= 0.1 trace C + penalty = 0.1 dim + penalty; the rest is rounding: sums of float
    // products, of some logits |z| < 20, give residuals off by a few epsilon |z|.
    const double rounding = 20 * 8 * static_cast<double>(std::numeric_limits<float>::epsilon()) * std::sqrt(9.0);
    const Optimum at = by_definition(p, probe, penalty);
    CHECK(at.gradient_norm <= tolerance * std::sqrt(0.1 * 9 + penalty) + rounding);
    CHECK(report.loss == doctest::Approx(at.loss).epsilon(1e-5));
  }
}

TEST_CASE("probe: a greater penalty gives smaller weights and a greater loss") {
  const Problem p = clusters(300, 12, 3, 2);
  double loss = 0, norm = std::numeric_limits<double>::infinity();
  for (const double penalty : {1e-4, 1e-3, 1e-2, 1e-1, 1.0}) {
    LinearProbe probe;
    probe.fit(p.features, p.labels, p.dim, {.penalties = {penalty}, .threads = 1});
    const Optimum at = by_definition(p, probe, penalty);
    CHECK(at.loss > loss);
    CHECK(at.weight_norm < norm);
    loss = at.loss;
    norm = at.weight_norm;
  }
}

TEST_CASE("probe: the validation part chooses the penalty") {
  const Problem p = clusters(500, 10, 5, 1);
  LinearProbe probe;
  constexpr double tolerance = 1e-4;
  const auto report =
      probe.fit(p.features, p.labels, p.dim, {.penalties = {1e-3, 1e4}, .tolerance = tolerance, .threads = 1});
  CHECK(report.penalty == 1e-3);  // under 1e4 all weights are next to nothing
  CHECK(report.validation_accuracy > 0.8);
  LinearProbe direct;  // then all rows are fitted
  direct.fit(p.features, p.labels, p.dim, {.penalties = {1e-3}, .tolerance = tolerance, .threads = 1});
  // Strong convexity: each objective is within |g|^2 / (2 penalty) of the minimum; |g| as in the case above.
  const double gap = tolerance * tolerance * (0.1 * 10 + 1e-3) / 2e-3;
  CHECK(std::fabs(by_definition(p, probe, 1e-3).objective(1e-3) - by_definition(p, direct, 1e-3).objective(1e-3)) <=
        gap);
}

TEST_CASE("probe: threads, place in the batch and units of a feature change no bit") {
  const Problem p = clusters(1001, 33, 6, 1.5f);
  const auto fit = [&](const std::vector<float>& features, int threads) {
    LinearProbe probe;
    probe.fit(features, p.labels, p.dim, {.penalties = {0.1, 0.001}, .max_iterations = 20, .threads = threads});
    return probe;
  };
  const LinearProbe one = fit(p.features, 1);
  const auto logits = one.logits(p.features);
  for (const int threads : {2, 3, 5}) CHECK(fit(p.features, threads).logits(p.features) == logits);
  const std::vector<float> last(p.features.end() - p.dim, p.features.end());
  CHECK(one.logits(last) == std::vector<float>(logits.end() - p.classes, logits.end()));
  std::vector<float> scaled = p.features;
  for (std::size_t i = 0; i < scaled.size(); i += static_cast<std::size_t>(p.dim)) scaled[i + 3] *= 1024;
  CHECK(fit(scaled, 1).logits(scaled) == logits);
}

TEST_CASE("probe: a feature that does not vary is left out") {
  Problem p = clusters(200, 5, 2, 1);
  for (std::size_t i = 0; i < p.features.size(); i += 5) p.features[i + 2] = 0.1f;
  LinearProbe probe;
  probe.fit(p.features, p.labels, p.dim, {.threads = 1});
  CHECK(probe.weight(0, 2) == 0);
  std::vector<float> row(p.features.begin(), p.features.begin() + 5), other = row;
  other[2] = 1e9f;
  CHECK(probe.logits(row) == probe.logits(other));
}

TEST_CASE("probe: accuracy on other rows, and what is refused") {
  const Problem all = clusters(600, 8, 3, 0.5f);
  const std::span<const float> x(all.features);
  const std::span<const int> y(all.labels);
  CHECK(probe_accuracy(x.first(400 * 8), y.first(400), x.subspan(400 * 8), y.subspan(400), 8, {.threads = 1}) > 0.9);
  LinearProbe probe;
  CHECK_THROWS_WITH_AS(probe.logits(x), "probe: expected a fitted probe, found one without weights", OptionError);
  CHECK_THROWS_AS(probe.fit(x, y, 0), OptionError);
  CHECK_THROWS_AS(probe.fit(x, y, 7), MismatchError);
  CHECK_THROWS_AS(probe.fit(x, y, 8, {.penalties = {}}), OptionError);
  CHECK_THROWS_AS(probe.fit(x, y, 8, {.penalties = {0.0}}), OptionError);
  CHECK_THROWS_AS(probe.fit(x, y, 8, {.validation = 0}), OptionError);
  CHECK_THROWS_AS(probe.fit(x, y, 8, {.validation = 1}), OptionError);
  CHECK_THROWS_AS(probe_accuracy(x, y, x, y.first(1), 8), MismatchError);
  const std::vector<int> negative(600, -1);
  CHECK_THROWS_AS(probe.fit(x, negative, 8), OptionError);
  std::vector<float> broken = all.features;
  broken[17] = std::nanf("");
  CHECK_THROWS_WITH_AS(probe.fit(broken, y, 8), "probe: expected finite training features, found others in row 2",
                       OptionError);
}
