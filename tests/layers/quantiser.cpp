// SPDX-License-Identifier: MIT
// The product quantiser: gradients as of the softmax, values by the definition, perplexities, Gumbel noise.
#include <data2vec/layers/quantiser.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr CodebookShape shape{.groups = 2, .entries = 3, .width = 4};
constexpr int inputs = 5, rows = 4, V = shape.entries, codes = shape.codes(), dim = shape.dim();
constexpr double temperature = 0.6;
using Quantiser = ProductQuantiser<inputs, shape>;

std::vector<double> normal_numbers(std::size_t n, std::uint64_t seed) {
  Rng rng({.seed = seed});
  std::vector<double> v(n);
  for (double& x : v) x = static_cast<double>(rng.normal());
  return v;
}
const std::vector<double> noise = normal_numbers(rows * codes, 11);

/// The quantiser with the mean of the entries under the softmax, which its gradient stands for, and the perplexity of
/// the softmax of the logits behind it.
struct SoftQuantiser {
  static constexpr int input_size = rows * inputs, output_size = rows * dim + 1;
  template <class T>
  using Parameters = Quantiser::Parameters<T>;
  template <class T>
  struct Tape {
    typename Quantiser::Tape<T, rows> layer;
    static constexpr void visit(auto&& f, auto&... t) { f("layer", t.layer...); }
  };
  static void mix(double* q, const double* soft, auto&& f) {
    for (int r = 0; r < rows * shape.groups; ++r)
      for (int v = 0; v < V; ++v)
        for (int i = 0; i < shape.width; ++i)
          f(q[r * shape.width + i], soft[r * V + v], (r % shape.groups * V + v) * shape.width + i);
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y, const Tape<double>& t) {
    int chosen[rows * shape.groups];
    Quantiser::forward(d, p, rows, x, noise.data(), &temperature, chosen, y, t.layer);
    device::fill(d, rows * dim, 0, y);
    mix(y, t.layer.soft.data, [&](double& q, double s, int at) { q += s * p.vars.data[at]; });
    y[output_size - 1] = Quantiser::perplexities(d, rows, t.layer).prob;
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& t) {
    mix(dy, t.layer.soft.data, [&](double& q, double s, int at) { gradient.vars.data[at] += s * q; });
    device::choose_codes_backward<shape>(d, rows, dy, p.vars.data, t.layer.soft.data, &temperature,
                                         t.layer.dlogits.data);
    device::perplexity_backward<shape>(d, rows, t.layer.logits.data, t.layer.usage(), dy[output_size - 1],
                                       t.layer.dlogits.data);
    device::linear_weight_gradient<inputs, codes>(d, rows, t.layer.dlogits.data, x, gradient.weight_proj.weight.data,
                                                  gradient.weight_proj.bias.data);
    device::linear_input_gradient<inputs, codes>(d, rows, t.layer.dlogits.data, p.weight_proj.weight.data, dx);
  }
};

struct Drawn {
  std::vector<double> weights = normal_numbers(buffer_size<Quantiser::Parameters<double>>, 3),
                      x = normal_numbers(rows * inputs, 4), q = std::vector<double>(rows * dim),
                      memory = std::vector<double>(buffer_size<Quantiser::Tape<double, rows>>);
  std::array<int, rows * shape.groups> chosen{};
  Quantiser::Parameters<const double> p = bind<Quantiser::Parameters<const double>>(weights.data());
  Quantiser::Tape<double, rows> tape = bind<Quantiser::Tape<double, rows>>(memory.data());
  Cpu d;
  explicit Drawn(const double* with) {
    Quantiser::forward(d, p, rows, x.data(), with, &temperature, chosen.data(), q.data(), tape);
  }
};

}  // namespace

TEST_CASE("quantiser: gradients are those of the softmax and of its perplexity") { expect_gradients<SoftQuantiser>(); }

TEST_CASE("quantiser: takes the entry with the largest logit plus noise of each group") {
  for (const double* with : {noise.data(), static_cast<const double*>(nullptr)}) {
    const Drawn found(with);
    for (int r = 0; r < rows; ++r)
      for (int g = 0; g < shape.groups; ++g) {
        int best = 0;
        double most = -std::numeric_limits<double>::infinity(), sum = 0;
        std::array<double, V> z{};
        for (int v = 0; v < V; ++v) {
          double& score = z[static_cast<std::size_t>(v)];
          score = found.p.weight_proj.bias[g * V + v];
          for (int i = 0; i < inputs; ++i)
            score += found.p.weight_proj.weight[g * V + v][i] * found.x[static_cast<std::size_t>(r * inputs + i)];
          if (with) score += with[(r * shape.groups + g) * V + v];
          if (score > most) most = score, best = v;
          sum += std::exp(score / temperature);
        }
        CHECK(found.chosen[static_cast<std::size_t>(r * shape.groups + g)] == best);
        for (int i = 0; i < shape.width; ++i)
          CHECK(found.q[static_cast<std::size_t>(r * dim + g * shape.width + i)] == found.p.vars[0][g * V + best][i]);
        for (int v = 0; v < V; ++v) {
          const double p = std::exp(z[static_cast<std::size_t>(v)] / temperature) / sum;
          CHECK(found.tape.soft.data[(r * shape.groups + g) * V + v] == doctest::Approx(p).epsilon(1e-13));
        }
      }
  }
}

TEST_CASE("quantiser: the entries' gradient is that of the rows that took them") {
  Drawn drawn(noise.data());
  std::vector<double> gradient(drawn.weights.size()), dx(drawn.x.size());
  const auto dq = normal_numbers(rows * dim, 6);
  const auto g = bind<Quantiser::Parameters<double>>(gradient.data());
  Quantiser::perplexities(drawn.d, rows, drawn.tape);
  Quantiser::backward(drawn.d, drawn.p, rows, drawn.x.data(), dq.data(), &temperature, drawn.chosen.data(), 0.5,
                      dx.data(), g, drawn.tape);
  std::vector<double> expected(static_cast<std::size_t>(codes * shape.width));
  for (std::size_t r = 0; r < drawn.chosen.size(); ++r)
    for (std::size_t i = 0; i < shape.width; ++i)
      expected[(r % shape.groups * V + static_cast<std::size_t>(drawn.chosen[r])) * shape.width + i] +=
          dq[r * shape.width + i];
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(g.vars.data[i] == expected[i]);
}

TEST_CASE("quantiser: perplexities count what is in use") {
  Cpu d;
  std::vector<double> logits(rows * codes, 0), usage(codes);
  const auto found = [&] {
    return device::perplexities<shape>(d, rows, static_cast<const double*>(logits.data()), usage.data());
  };
  const CodebookPerplexities even = found();
  CHECK(even.prob == doctest::Approx(6).epsilon(1e-5));   // every entry as likely: three of each group
  CHECK(even.code == doctest::Approx(2).epsilon(1e-5));   // the first of each group is taken
  for (int r = 0; r < rows; ++r) {
    logits[static_cast<std::size_t>(r * codes + r % 2)] = 50;        // group 0 takes two entries by turns
    logits[static_cast<std::size_t>(r * codes + V + 2)] = 50;        // group 1 always the same
  }
  CHECK(found().prob == doctest::Approx(3).epsilon(1e-5));
  CHECK(found().code == doctest::Approx(3).epsilon(1e-5));
}

TEST_CASE("gumbel noise: mean and variance, equal keys give equal numbers") {
  Cpu d;
  constexpr int n = 20'000;
  std::vector<float> a(2 * n), b(n);
  DropoutDraws draws{.seed = 5, .update = 7, .sample_ids = sample_ids.data()};
  device::gumbel_noise(d, 2, n, draws, a.data());
  double sum = 0, squares = 0;
  for (const float x : a) {
    REQUIRE(std::isfinite(x));
    sum += static_cast<double>(x);
    squares += static_cast<double>(x) * static_cast<double>(x);
  }
  // Mean 0.57722 (Euler), variance pi^2 / 6, fourth central moment 5.4 times its square.
  constexpr double count = 2 * n;
  const double mean = sum / count, variance = squares / count - mean * mean;
  const double expected = std::pow(std::acos(-1.0), 2) / 6;
  CHECK(std::fabs(mean - 0.5772157) < 5 * std::sqrt(expected / count));
  CHECK(std::fabs(variance - expected) < 5 * expected * std::sqrt(4.4 / count));
  device::gumbel_noise(d, 1, n, draws, b.data());
  CHECK(std::equal(b.begin(), b.end(), a.begin()));
  CHECK_FALSE(std::equal(b.begin(), b.end(), a.begin() + n));
}
