// SPDX-License-Identifier: MIT
// Targets against plain formulas: which layers are taken, every normalisation, extra tokens left out.
#include <data2vec/objective/targets.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/device/cpu/all.hpp>

using namespace data2vec;

namespace {

constexpr int B = 2, tokens = 5, E = 1, D = 3, depth = 4, K = 2;
constexpr double eps = 1e-5;
using Values = std::vector<double>;  // (B, T, D)

double& at(Values& v, int b, int t, int c) { return v[static_cast<std::size_t>((b * tokens + t) * D + c)]; }

/// Gives mean 0 and variance 1 to the values that `member` picks, eps added to the biased variance.
template <class Member>
void standardise(Values& v, Member member) {
  double sum = 0, squares = 0, n = 0;
  const auto each = [&](auto f) {
    for (int b = 0; b < B; ++b)
      for (int t = 0; t < tokens; ++t)
        for (int c = 0; c < D; ++c)
          if (member(b, t, c)) f(at(v, b, t, c));
  };
  each([&](double x) { sum += x, ++n; });
  each([&](double x) { squares += (x - sum / n) * (x - sum / n); });
  each([&](double& x) { x = (x - sum / n) / std::sqrt(squares / n + eps); });
}
void batch_norm(Values& v) {
  for (int c = 0; c < D; ++c) standardise(v, [=](int, int, int k) { return k == c; });
}
void instance_norm(Values& v) {
  for (int b = 0; b < B; ++b)
    for (int c = 0; c < D; ++c) standardise(v, [=](int i, int, int k) { return i == b && k == c; });
}
void layer_norm(Values& v) {
  for (int b = 0; b < B; ++b)
    for (int t = 0; t < tokens; ++t) standardise(v, [=](int i, int j, int) { return i == b && j == t; });
}

/// Layer results (B, E + T, D) of all blocks.
std::vector<Values> layer_results() {
  Rng rng({.seed = 31});
  std::vector<Values> layers(depth, Values(B * (E + tokens) * D));
  for (Values& layer : layers)
    for (double& v : layer) v = 2 + static_cast<double>(rng.normal());
  return layers;
}

template <Config C>
Values found() {
  using Layers = Targets<C, B, tokens, E>;
  Cpu d;
  Values targets(B * tokens * D, 99.0), scratch(targets.size());
  const View<double, B, tokens, D> out{targets.data()};
  Layers::start(d, out);
  const auto layers = layer_results();
  for (int i = 0; i < depth; ++i)
    if (Layers::takes(i))
      Layers::add(d, View<const double, B, E + tokens, D>{layers[static_cast<std::size_t>(i)].data()},
                  View<double, B, tokens, D>{scratch.data()}, out);
  Layers::finish(d, out);
  return targets;
}

template <Config C>
Values expected() {
  Values mean(B * tokens * D);
  const auto layers = layer_results();
  for (int i = depth - K; i < depth; ++i) {
    Values layer(mean.size());
    for (int b = 0; b < B; ++b)
      for (int t = 0; t < tokens; ++t)
        for (int c = 0; c < D; ++c)
          at(layer, b, t, c) = layers[static_cast<std::size_t>(i)]
                                     [static_cast<std::size_t>((b * (E + tokens) + E + t) * D + c)];
    if (C.batch_norm_target_layer) batch_norm(layer);
    if (C.instance_norm_target_layer) instance_norm(layer);
    if (C.layer_norm_target_layer) layer_norm(layer);
    for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += layer[j] / K;
  }
  if (C.layer_norm_targets) layer_norm(mean);
  if (C.instance_norm_targets) instance_norm(mean);
  return mean;
}

constexpr Config with(Config c) {
  c.embed_dim = D;
  c.depth = depth;
  c.average_top_k_layers = K;
  return c;
}

template <Config C>
void expect_targets() {
  const Values a = found<with(C)>(), b = expected<with(C)>();
  // Up to three normalisations in a row, each of which may divide by a standard deviation that is small beside its
  // terms: below 100 times for these values.
  const double tolerance = 8 * std::numeric_limits<double>::epsilon() * std::sqrt(B * tokens) * 100;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::fmax(worst, std::fabs(a[i] - b[i]));
  CHECK(worst <= tolerance);
}

}  // namespace

TEST_CASE("targets: the mean over the last K blocks") {
  using Layers = Targets<with(Config{}), B, tokens, E>;
  CHECK_FALSE(Layers::takes(1));
  CHECK(Layers::takes(2));
  CHECK(Layers::takes(3));
  expect_targets<Config{}>();
}

TEST_CASE("targets: each normalisation of a layer") {
  expect_targets<Config{.batch_norm_target_layer = true}>();
  expect_targets<Config{.instance_norm_target_layer = true}>();
  expect_targets<Config{.layer_norm_target_layer = true}>();
}

TEST_CASE("targets: each normalisation of the mean, and all in their order") {
  expect_targets<Config{.layer_norm_targets = true}>();
  expect_targets<Config{.instance_norm_targets = true}>();
  expect_targets<Config{.instance_norm_target_layer = true, .layer_norm_targets = true}>();  // published vision models
  expect_targets<Config{.batch_norm_target_layer = true, .layer_norm_target_layer = true, .layer_norm_targets = true,
                        .instance_norm_targets = true}>();
}

TEST_CASE("targets: instance norm gives every channel of every sample mean 0 and variance 1") {
  Values v = found<with(Config{.instance_norm_targets = true})>();
  for (int b = 0; b < B; ++b)
    for (int c = 0; c < D; ++c) {
      double sum = 0, squares = 0;
      for (int t = 0; t < tokens; ++t) {
        sum += at(v, b, t, c);
        squares += at(v, b, t, c) * at(v, b, t, c);
      }
      CHECK(std::fabs(sum / tokens) < 8 * std::numeric_limits<double>::epsilon() * std::sqrt(tokens) * 10);
      CHECK(squares / tokens < 1);
      CHECK(squares / tokens > 1 - eps / 0.05);  // eps has a share; variances are above 0.05 here
    }
}
