// SPDX-License-Identifier: MIT
// Self-attention: gradients with bias, hidden keys and dropouts, and what must hold whatever the weights.
#include <data2vec/layers/attention.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int dim = 8, heads = 2, N = 2, S = 9;
template <AttentionSetting A>
using Layer = AttentionLayer<dim, heads, N, S, A>;

}  // namespace

TEST_CASE("attention: gradients") {
  expect_gradients<Layer<AttentionSetting{}>>();
  expect_gradients<Layer<AttentionSetting{.residual = true}>>();  // dx accumulated
  expect_gradients<AttentionLayer<6, 3, 1, 5, AttentionSetting{}>>();
  expect_gradients<AttentionLayer<4, 1, 3, 1, AttentionSetting{}>>();
}

TEST_CASE("attention: gradients with a bias on the logits and with hidden keys") {
  expect_gradients<Layer<AttentionSetting{.bias = true}>>();
  expect_gradients<Layer<AttentionSetting{.bias = true, .hidden = true}>>();
}

TEST_CASE("attention: gradients under dropout of probabilities and output") {
  expect_gradients<Layer<AttentionSetting{.training = true, .attention_dropout = true}>>();
  expect_gradients<Layer<AttentionSetting{.training = true, .attention_dropout = true, .encoder_dropout = true,
                                          .bias = true, .hidden = true}>>();
  expect_gradients<Layer<AttentionSetting{.training = false, .attention_dropout = true, .encoder_dropout = true}>>();
}

namespace {

/// Attention of one row of `sequence` tokens without projections: qkv (S, 3, H, Dh) -> out (S, H, Dh).
template <int H, int Dh>
std::vector<double> attend(int sequence, const std::vector<double>& qkv, const AttentionExtras<double>& extras = {}) {
  Cpu d;
  std::vector<double> out(static_cast<std::size_t>(sequence * H * Dh));
  device::attention<H, Dh, false>(d, 1, sequence, qkv.data(), extras, nullptr, out.data());
  return out;
}

std::vector<double> random_numbers(std::size_t count) {
  Rng rng({.seed = 21});
  std::vector<double> numbers(count);
  for (double& v : numbers) v = static_cast<double>(rng.normal());
  return numbers;
}

}  // namespace

TEST_CASE("attention: a query that sees one key gets that key's value") {
  const std::vector<double> qkv = random_numbers(5 * 3 * 8);
  for (int shown = 0; shown < 5; ++shown) {
    bool hidden[5];
    for (int s = 0; s < 5; ++s) hidden[s] = s != shown;
    const std::vector<double> out = attend<2, 4>(5, qkv, {.key_hidden = hidden});
    for (int s = 0; s < 5; ++s)
      for (int c = 0; c < 8; ++c)
        CHECK(out[static_cast<std::size_t>(s * 8 + c)] == qkv[static_cast<std::size_t>(shown * 24 + 16 + c)]);
  }
}

TEST_CASE("attention: no visible key gives zeros") {
  const bool hidden[3] = {true, true, true};
  for (const double v : attend<1, 4>(3, random_numbers(36), {.key_hidden = hidden})) CHECK(v == 0);
}

TEST_CASE("attention: equal logits give the mean of the values, a constant bias changes nothing") {
  std::vector<double> qkv = random_numbers(4 * 3 * 2);
  for (int s = 0; s < 4; ++s) qkv[static_cast<std::size_t>(6 * s)] = qkv[static_cast<std::size_t>(6 * s + 1)] = 0;
  const std::vector<double> bias(16, 5.0);
  const std::vector<double> out = attend<1, 2>(4, qkv), biased = attend<1, 2>(4, qkv, {.bias = bias.data()});
  for (int c = 0; c < 2; ++c) {
    double mean = 0;
    for (int s = 0; s < 4; ++s) mean += qkv[static_cast<std::size_t>(6 * s + 4 + c)] / 4;
    for (int s = 0; s < 4; ++s) {
      const auto i = static_cast<std::size_t>(2 * s + c);
      CHECK(std::fabs(out[i] - mean) <= 8 * std::numeric_limits<double>::epsilon() * 2 * 3);  // sqrt(4) terms below 3
      CHECK(biased[i] == out[i]);
    }
  }
}

TEST_CASE("attention: two keys, by hand: softmax(q k / sqrt(Dh) + bias)") {
  // Dh = 4, q k = 2 for the first key, 0 for the second: logits 1 + 0.5 and 0.
  std::vector<double> qkv(2 * 12, 0.0);
  qkv[0] = 2;       // q of token 0
  qkv[4] = 1;       // k of token 0
  qkv[8] = 10;      // v of token 0
  qkv[12 + 8] = 4;  // v of token 1
  const double bias[] = {0.5, 0, 0, 0};
  const double p = std::exp(1.5) / (std::exp(1.5) + 1), out = attend<1, 4>(2, qkv, {.bias = bias})[0];
  CHECK(std::fabs(out - (10 * p + 4 * (1 - p))) < 8 * std::numeric_limits<double>::epsilon() * std::sqrt(2.0) * 10);
}
