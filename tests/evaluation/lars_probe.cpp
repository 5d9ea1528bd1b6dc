// SPDX-License-Identifier: MIT
// The probe of masked autoencoders: it learns, its norm follows the features, steps have the length that LARS gives.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/evaluation/lars_probe.hpp>

using namespace data2vec;

namespace {

constexpr int dim = 8, classes = 3, n = 64;
using Probe = LarsProbe<dim, classes, Cpu>;

struct Data {
  std::vector<float> features;
  std::vector<std::int32_t> labels;
};

/// Noise around 5 in channels of other scales, moved in one channel of each class.
Data data() {
  Data d;
  Rng rng({.seed = 3});
  for (int i = 0; i < n; ++i) {
    d.labels.push_back(i % classes);
    for (int c = 0; c < dim; ++c)
      d.features.push_back(5 + static_cast<float>(c + 1) * (0.3f * rng.normal() + (c == i % classes ? 1.0f : 0.0f)));
  }
  return d;
}

}  // namespace

TEST_CASE("lars probe: learns features of any scale, and evaluates as it trains") {
  const Data d = data();
  Probe probe(n);
  ProbeStep step;
  for (int i = 0; i < 200; ++i) step = probe.step(d.features, d.labels, 6.4);
  CHECK(step.accuracy > 0.95);
  std::vector<float> logits(n * classes);
  probe.logits(d.features, logits);
  int right = 0;
  for (int i = 0; i < n; ++i) {
    const float* row = logits.data() + i * classes;
    right += std::max_element(row, row + classes) - row == d.labels[static_cast<std::size_t>(i)];
  }
  CHECK(right > 0.95 * n);
  const auto p = bind<Probe::Parameters<float>>(probe.weights().data());
  CHECK(p.running_mean[dim - 1] == doctest::Approx(5).epsilon(0.1));
}

TEST_CASE("lars probe: the first step of a matrix is lr * trust * |w|, that of the bias plain") {
  const Data d = data();
  Probe probe(n);
  const std::vector<float> before(probe.weights().begin(), probe.weights().end());
  probe.step(d.features, d.labels, 2);
  const auto norm = [](const float* x, const float* y, std::size_t count) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
    return std::sqrt(sum);
  };
  const std::vector<float> zero(before.size());
  const auto& table = tensor_table<Probe::Parameters<float>>;
  const float* const after = probe.weights().data();
  CHECK(norm(after, before.data(), dim * classes) ==
        doctest::Approx(2 * 0.001 * norm(before.data(), zero.data(), dim * classes)).epsilon(1e-3));
  CHECK(norm(after + table[1].offset, before.data() + table[1].offset, classes) ==
        doctest::Approx(2 * norm(probe.gradient().data() + table[1].offset, zero.data(), classes)).epsilon(1e-3));
}

TEST_CASE("lars probe: batches that do not fit are refused") {
  const Data d = data();
  Probe probe(8);
  CHECK_THROWS_AS(probe.step(d.features, d.labels, 1), OptionError);
  CHECK_THROWS_AS(probe.step(std::span(d.features).first(dim), std::span(d.labels).first(1), 1), OptionError);
}
