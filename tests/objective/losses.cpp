// SPDX-License-Identifier: MIT
// The terms of a step's loss from their plain formulas, and what the step reports beside them.
#include <data2vec/objective/branch.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <tests/objective/step_layer.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

/// What a step computed, by the observer's names.
struct Seen {
  std::map<std::string, std::vector<double>> values;
  LossSums sums;
  std::vector<double> parameters, x, gradient, moments, teacher_before;
};

template <class Layer>
Seen look() {
  Seen seen;
  Cpu d;
  Rng rng({.seed = 3});
  seen.parameters.resize(buffer_size<typename Layer::template Parameters<double>>);
  seen.x.resize(Layer::input_size);
  for (double& v : seen.parameters) v = 0.5 * static_cast<double>(rng.normal());
  for (double& v : seen.x) v = static_cast<double>(rng.normal());
  seen.teacher_before = Layer::teacher();
  std::vector<double> memory(buffer_size<typename Layer::template Tape<double>>);
  const auto tape = bind<typename Layer::template Tape<double>>(memory.data());
  seen.sums = Layer::step(d, bind<typename Layer::template Parameters<const double>>(seen.parameters.data()),
                          seen.x.data(), tape, [&](const std::string& name, int, const double* v, std::size_t n) {
                            seen.values[name].assign(v, v + n);
                          });
  for_each_tensor([&](const TensorName& name, const Field&, const auto& g) {
    if (name.view().find("local_encoder") != std::string_view::npos)
      seen.gradient.insert(seen.gradient.end(), g.data, g.data + g.size);
  }, tape.gradient);
  seen.moments.assign(tape.moments.data, tape.moments.data + tape.moments.size);
  return seen;
}

double squared_error(const double* a, const double* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

void expect_close(double found, double expected, int terms) {
  CHECK(std::fabs(found - expected) <=
        8 * std::numeric_limits<double>::epsilon() * std::sqrt(terms) * std::fabs(expected));
}

}  // namespace

TEST_CASE("step: the loss terms are sums of squares at hidden positions and at the CLS token") {
  using Layer = StepLayer<published, Published>;
  constexpr int D = 4, T_ = 9, R = 6, V = 3, S = 1 + V, N = Layer::N, masks = 2;
  const Seen seen = look<Layer>();
  const auto& targets = seen.values.at("targets");        // (B, T, D): one teacher pass for all masks of a sample
  const auto& prediction = seen.values.at("prediction");  // (N, R, D)
  const auto& encoder = seen.values.at("encoder");        // (N, S, D)
  CHECK(targets.size() == B * T_ * D);
  CHECK(prediction.size() == N * R * D);
  const auto index = Layer::indices();
  double regression = 0, cls = 0;
  for (int n = 0; n < N; ++n) {
    for (int r = 0; r < R; ++r)
      regression += squared_error(&prediction[static_cast<std::size_t>((n * R + r) * D)],
                                  &targets[static_cast<std::size_t>((n / masks * T_ + index.masked[n][r]) * D)], D);
    double mean[D] = {};
    for (int t = 0; t < T_; ++t)
      for (int c = 0; c < D; ++c) mean[c] += targets[static_cast<std::size_t>((n / masks * T_ + t) * D + c)] / T_;
    cls += squared_error(&encoder[static_cast<std::size_t>(n * S * D)], mean, D);
  }
  const double scale = 1 / std::sqrt(D);
  expect_close(seen.sums.regression, weights.d2v_loss * scale * regression, N * R * D);
  expect_close(seen.sums.cls, weights.cls_loss * scale * cls, N * D * T_);
  CHECK(seen.sums.recon == 0);
  CHECK(seen.sums.sample_size == N * R);
  CHECK(seen.sums.total() == seen.sums.regression + seen.sums.cls * seen.sums.sample_size);
  CHECK(Layer::teacher() == seen.teacher_before);
}

TEST_CASE("step: masks of one sample differ, hide what they must, and the moments are those of hidden positions") {
  using Layer = StepLayer<published, Published>;
  constexpr int D = 4, R = 6, N = Layer::N;
  const Seen seen = look<Layer>();
  const auto index = Layer::indices();
  bool differ = false;
  for (int n = 0; n < N; ++n) {
    std::vector<bool> hidden(9);
    for (int r = 0; r < R; ++r) hidden[static_cast<std::size_t>(index.masked[n][r])] = true;
    for (int v = 0; v < 3; ++v) CHECK_FALSE(hidden[static_cast<std::size_t>(index.visible[n][v])]);
    for (int r = 0; n % 2 == 1 && r < R; ++r) differ = differ || index.masked[n][r] != index.masked[n - 1][r];
  }
  CHECK(differ);
  for (int c = 0; c < D; ++c) {
    double sum = 0, squares = 0;
    for (int i = 0; i < N * R; ++i) {
      const double v = seen.values.at("prediction")[static_cast<std::size_t>(i * D + c)];
      sum += v;
      squares += v * v;
    }
    CHECK(seen.moments[static_cast<std::size_t>(c)] == doctest::Approx(sum).epsilon(1e-13));
    CHECK(seen.moments[static_cast<std::size_t>(D + c)] == doctest::Approx(squares).epsilon(1e-13));
  }
}

TEST_CASE("step: smooth L1 and reconstruction from their formulas") {
  using Layer = StepLayer<everything, Everything>;
  constexpr int D = 4, T_ = 9, R = 6, N = Layer::N, masks = 3;
  const auto smooth = [](double u) {
    const double beta = everything.loss_beta;
    return std::fabs(u) < beta ? u * u / (2 * beta) : std::fabs(u) - beta / 2;
  };
  const Seen seen = look<Layer>();
  const auto& targets = seen.values.at("targets");
  const auto& prediction = seen.values.at("prediction");
  const auto p = bind<Layer::Parameters<const double>>(seen.parameters.data()).recon_proj.linear;
  const auto index = Layer::indices();
  double regression = 0, recon = 0;
  for (int n = 0; n < N; ++n)
    for (int r = 0; r < R; ++r) {
      const int t = index.masked[n][r], sample = n / masks;
      const double* y = &prediction[static_cast<std::size_t>((n * R + r) * D)];
      double patch[D], mean = 0, squares = 0;  // one channel: pixels row by row
      for (int i = 0; i < D; ++i) {
        patch[i] = seen.x[static_cast<std::size_t>(sample * 36 + (t / 3 * 2 + i / 2) * 6 + t % 3 * 2 + i % 2)];
        mean += patch[i] / D;
      }
      for (const double v : patch) squares += (v - mean) * (v - mean);
      for (int c = 0; c < D; ++c) {
        regression += smooth(y[c] - targets[static_cast<std::size_t>((sample * T_ + t) * D + c)]);
        double pixel = p.bias[c];
        for (int k = 0; k < D; ++k) pixel += p.weight[c][k] * y[k];
        recon += smooth(pixel - (patch[c] - mean) / std::sqrt(squares / (D - 1) + 1e-6));
      }
    }
  expect_close(seen.sums.regression, weights.d2v_loss * everything.loss_scale * regression, N * R * D);
  expect_close(seen.sums.recon, weights.recon_loss * everything.loss_scale * recon, N * R * D * D);
}

TEST_CASE("step: local_grad_mult scales what reaches the local encoder, zero stops it") {
  const auto local_gradient = []<int percent>() {
    constexpr ModalityConfig m{.ema_local_encoder = true, .local_grad_mult = percent / 100.0};
    using Br = Branch<Vision<images(m)>, Bare::Masking,
                      Conv2dDecoder<DecoderConfig{.decoder_dim = 4, .decoder_groups = 1, .decoder_kernel = 3,
                                                  .decoder_layers = 1, .input_dropout = 0}>>;
    return look<StepLayer<bare, Br>>().gradient;
  };
  const auto whole = local_gradient.template operator()<100>(), half = local_gradient.template operator()<50>();
  const auto none = local_gradient.template operator()<0>();
  CHECK(whole.size() == 4 * 4 + 4);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CHECK(whole[i] != 0);
    CHECK(half[i] == whole[i] / 2);
    CHECK(none[i] == 0);
  }
}
