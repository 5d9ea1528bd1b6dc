// SPDX-License-Identifier: MIT
// The contrastive loss: gradients, values by the definition, distractors that are left out, what counts as correct.
#include <data2vec/device/contrast.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int C = 5, rows = 4, pool = 6, K = 3;
constexpr double temperature = 0.7;
constexpr int negatives[rows * K] = {1, 4, 2, 0, 0, 5, -1, 3, 0, -1, 4, 4};

/// From predictions to the loss; the targets are parameters.
struct ContrastLayer {
  static constexpr int input_size = rows * C, output_size = 1;
  template <class T>
  struct Parameters {
    View<T, pool, C> targets;
    static constexpr void visit(auto&& f, auto&... p) { f("targets", p.targets...); }
  };
  template <class T>
  struct Tape {
    View<T, rows, K + 1> logits;
    View<T, rows, C> dprediction;
    View<T, pool, C> dtargets;
    View<T, rows + pool> scratch;
    static constexpr void visit(auto&& f, auto&... t) {
      f("logits", t.logits...);
      f("dprediction", t.dprediction...);
      f("dtargets", t.dtargets...);
      f("scratch", t.scratch...);
    }
  };
  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y, const Tape<double>& t) {
    *y = device::contrast<C>(d, rows, pool, K, x, p.targets.data, negatives, temperature, 1, t.logits.data,
                             t.dprediction.data, t.dtargets.data, t.scratch.data)
             .loss;
  }
  static void backward(Cpu& d, const Parameters<const double>&, const double*, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& t) {
    device::scale(d, input_size, *dy, t.dprediction.data);
    device::copy(d, input_size, t.dprediction.data, dx);
    device::add_scaled(d, t.dtargets.size, *dy, t.dtargets.data, gradient.targets.data);
  }
};

struct Result {
  ContrastSums sums;
  std::vector<double> logits;
};
Result run(const std::vector<double>& x, const std::vector<double>& y) {
  Cpu d;
  Result r{{}, std::vector<double>(rows * (K + 1))};
  std::vector<double> dx(rows * C), dy(pool * C), scratch(rows + pool);
  r.sums = device::contrast<C>(d, rows, pool, K, x.data(), y.data(), negatives, temperature, 1, r.logits.data(),
                               dx.data(), dy.data(), scratch.data());
  return r;
}

std::vector<double> normal_numbers(std::size_t n, std::uint64_t seed) {
  Rng rng({.seed = seed});
  std::vector<double> v(n);
  for (double& x : v) x = static_cast<double>(rng.normal());
  return v;
}

}  // namespace

TEST_CASE("contrast: gradients of predictions and of all targets") { expect_gradients<ContrastLayer>(); }

TEST_CASE("contrast: cosines over the temperature, -infinity for what is left out, the sum of cross entropies") {
  const auto x = normal_numbers(rows * C, 1), y = normal_numbers(pool * C, 2);
  const Result r = run(x, y);
  double loss = 0;
  for (int i = 0; i < rows; ++i) {
    double sum = 0;
    for (int k = 0; k <= K; ++k) {
      const double found = r.logits[static_cast<std::size_t>(i * (K + 1) + k)];
      const int t = k == 0 ? i : negatives[i * K + k - 1];
      if (t < 0) {
        CHECK(found == -std::numeric_limits<double>::infinity());
        continue;
      }
      double xy = 0, xx = 0, yy = 0;
      for (int c = 0; c < C; ++c) {
        const double a = x[static_cast<std::size_t>(i * C + c)], b = y[static_cast<std::size_t>(t * C + c)];
        xy += a * b, xx += a * a, yy += b * b;
      }
      CHECK(std::fabs(found - xy / std::sqrt(xx * yy) / temperature) < 8 * std::numeric_limits<double>::epsilon() * C);
      sum += std::exp(found);
    }
    loss += std::log(sum) - r.logits[static_cast<std::size_t>(i * (K + 1))];
  }
  CHECK(std::fabs(r.sums.loss - loss) < 8 * std::numeric_limits<double>::epsilon() * rows * loss);
}

TEST_CASE("contrast: correct is what is closest to its own target, unless all are equally close") {
  std::vector<double> y(pool * C), x(rows * C);
  for (std::size_t t = 0; t < pool; ++t) y[t * C + t % C] = 1;      // target 5 is target 0
  for (std::size_t i = 0; i < rows; ++i) x[i * C + i] = 3;          // each its own
  CHECK(run(x, y).sums.correct == rows);
  x.assign(x.size(), 1);                                            // equally close to all
  CHECK(run(x, y).sums.correct == 2);                               // rows 2 and 3: what is left out is less close
}
