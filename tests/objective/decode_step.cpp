// SPDX-License-Identifier: MIT
// Decoders in a step: gradients of texts with an own and a shared decoder, and the shared one's loss by its formula.
#include <data2vec/objective/decode_step.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <tests/objective/step_layer.hpp>

using namespace data2vec;
using namespace data2vec::testing;

TEST_CASE("step of texts: gradients with a shared decoder, dropouts, shorter samples") {
  expect_gradients<StepLayer<two_decoders, TwoDecoders<Padding::exact>>>({.quadratic = 0});
}

TEST_CASE("step of texts: gradients with sinusoids, a prenet, no norm of the embedding") {
  expect_gradients<StepLayer<sinusoids, Sinusoids>>({.quadratic = 0});
}

TEST_CASE("step: both decoders regress the same targets, each from its own predictions") {
  using Layer = StepLayer<two_decoders, TwoDecoders<Padding::exact>>;
  using Step = Layer::Step;
  constexpr int D = Step::D, R = Step::R, N = Layer::N;
  Cpu d;
  Rng rng({.seed = 3});
  std::vector<double> parameters(buffer_size<Layer::Parameters<double>>), x(Layer::input_size);
  for (double& v : parameters) v = 0.5 * static_cast<double>(rng.normal());
  std::vector<double> memory(buffer_size<Layer::Tape<double>>);
  const auto tape = bind<Layer::Tape<double>>(memory.data());
  std::map<std::string, std::vector<double>> seen;
  const LossSums sums = Layer::step(d, bind<Layer::Parameters<const double>>(parameters.data()), x.data(), tape,
                                    [&](const std::string& name, int i, const double* v, std::size_t n) {
                                      seen[name + std::to_string(i)].assign(v, v + n);
                                    });
  const auto index = Layer::indices();
  CHECK(index.hidden(0) == 6);
  CHECK(index.hidden(2) == 5);  // of 7 tokens
  for (const int decoder : {0, 1}) {
    const auto& prediction = seen.at("prediction" + std::to_string(decoder));  // (N, R, D)
    double sum = 0, largest = 0;
    for (int n = 0; n < N; ++n)
      for (int r = 0; r < index.hidden(n); ++r)
        for (int c = 0; c < D; ++c) {
          const double u = prediction[static_cast<std::size_t>((n * R + r) * D + c)] -
                           seen.at("targets0")[static_cast<std::size_t>(index.target_rows[n][r] * D + c)];
          sum += u * u;
          largest = std::max(largest, std::fabs(u));
        }
    CHECK(largest > 0);
    const double found = decoder == 0 ? sums.shared : sums.regression;  // the shared one comes first
    CHECK(std::fabs(found - weights.d2v_loss * sum) <=
          8 * std::numeric_limits<double>::epsilon() * std::sqrt(N * R * D) * sum);
  }
  CHECK(sums.shared != sums.regression);
  CHECK(sums.total() == sums.regression + sums.shared + sums.cls * sums.sample_size);
}
