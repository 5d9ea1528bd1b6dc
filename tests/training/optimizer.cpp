// SPDX-License-Identifier: MIT
// Clipping, Adam with decoupled decay and the teacher's average over a table of tensors, against the formulas.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/training/optimizer.hpp>

using namespace data2vec;

namespace {

/// A matrix, a bias, a vector that is no bias, an ALiBi scale, a table that is not trained.
template <class T>
struct Net {
  View<T, 5, 7> weight;
  View<T, 5> bias;
  View<T, 9> gamma;
  View<T, 2, 1, 3, 1, 1> scale;
  View<T, 4, 4> positions;
  static constexpr void visit(auto&& f, auto&... p) {
    f(Field{"linear.weight", init::normal(1)}, p.weight...);
    f(Field{"linear.bias", init::zeros()}, p.bias...);
    f(Field{"norm.weight", init::constant(1)}, p.gamma...);
    f(Field{"alibi_scale", init::constant(1)}, p.scale...);
    f(Field{"positions", init::fixed(), false}, p.positions...);
  }
};
constexpr std::size_t size = buffer_size<Net<double>>;

double number(std::size_t i, int step) { return std::sin(1.7 * static_cast<double>(i) + 0.6 * step) + 0.1; }

/// The update written out: m, v, decay, then the step; epsilon outside of the bias correction.
struct Reference {
  std::vector<double> p, m = std::vector<double>(size), v = std::vector<double>(size);
  void update(const OptimizerConfig& c, std::size_t i, double lr, int t, double g, bool decays) {
    const double b1 = c.adam_betas[0], b2 = c.adam_betas[1];
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    if (decays) p[i] -= lr * c.weight_decay * p[i];
    p[i] -= lr * std::sqrt(1 - std::pow(b2, t)) / (1 - std::pow(b1, t)) * m[i] / (std::sqrt(v[i]) + c.adam_eps);
  }
};

bool decays(const OptimizerConfig& c, const TensorInfo& info) {
  return c.decay_scope == DecayScope::all || info.name.view() == "linear.weight";
}

void check_updates(const OptimizerConfig& config) {
  Cpu device;
  Buffer<double> p(size), g(size), m(size), v(size);
  for (std::size_t i = 0; i < size; ++i) p[i] = number(i, 99);
  Reference reference{{p.begin(), p.end()}};
  const OptimizerState<double> state{p.data(), g.data(), m.data(), v.data()};
  for (int t = 1; t <= 5; ++t) {
    const double lr = 0.01 * t, scale = 1.0 / t;
    for (std::size_t i = 0; i < size; ++i) g[i] = number(i, t);
    for (const TensorInfo& info : tensor_table<Net<double>>) {
      // In two stretches, as the tasks of a trainer have them.
      const std::size_t half = info.size / 2;
      update_tensor(device, config, info, {lr, t, scale}, state, 0, half);
      update_tensor(device, config, info, {lr, t, scale}, state, half, info.size - half);
      if (!info.trained) continue;
      for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
        reference.update(config, i, lr, t, scale * g[i], decays(config, info));
    }
  }
  for (const TensorInfo& info : tensor_table<Net<double>>) {
    INFO(std::string(info.name.view()));
    double apart = 0;
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
      apart = std::max({apart, std::fabs(p[i] - reference.p[i]), std::fabs(m[i] - reference.m[i]),
                        std::fabs(v[i] - reference.v[i])});
    CHECK(apart < 1e-13);  // some 10 rounded operations per update on numbers of about 1
    if (!info.trained)
      for (std::size_t i = info.offset; i < info.offset + info.size; ++i) CHECK(p[i] == number(i, 99));
  }
}

}  // namespace

TEST_CASE("Adam is the formula, and decay acts on matrices alone or on everything") {
  OptimizerConfig config{.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.3};
  CHECK(config.decay_scope == DecayScope::matrices);
  check_updates(config);
  config.decay_scope = DecayScope::all;
  check_updates(config);
  check_updates({.adam_betas = {0.8, 0.999}, .adam_eps = 0.1, .weight_decay = 0});
}

TEST_CASE("what is exempt from weight decay") {
  for (const TensorInfo& info : tensor_table<Net<float>>) {
    INFO(std::string(info.name.view()));
    const bool matrix = info.name.view() == "linear.weight" || info.name.view() == "positions";
    CHECK(info.exempt_from_decay() == !matrix);
  }
}

TEST_CASE("the first update has the size of the learning rate whatever the gradient") {
  // m = (1 - b1) g, v = (1 - b2) g^2: both corrections cancel, but for epsilon.
  Cpu device;
  for (const double gradient : {1e-3, 1.0, -50.0}) {
    double p = 2, m = 0, v = 0;
    TensorInfo info;
    info.size = 1;
    info.rank = 1;
    update_tensor(device, {.adam_eps = 0, .weight_decay = 0}, info, {0.01, 1, 1},
                  OptimizerState<double>{&p, &gradient, &m, &v}, 0, 1);
    CHECK(p == doctest::Approx(2 - std::copysign(0.01, gradient)).epsilon(1e-12));
  }
}

TEST_CASE("the numbers of an update") {
  const OptimizerConfig config{.adam_betas = {0.9, 0.95}, .adam_eps = 1e-6, .weight_decay = 0.5};
  const AdamStep step = adam_step(config, 0.1, 2, 0.25, true);
  CHECK(step.gradient_scale == 0.25);
  CHECK(step.beta1 == 0.9);
  CHECK(step.beta2 == 0.95);
  CHECK(step.eps == 1e-6);
  CHECK(step.step == doctest::Approx(0.1 * std::sqrt(1 - 0.95 * 0.95) / (1 - 0.81)).epsilon(1e-14));
  CHECK(step.decay == 0.05);
  CHECK(adam_step({.weight_decay = 0.5}, 0.1, 2, 1, false).decay == 0);
}

TEST_CASE("clipping by the global norm") {
  CHECK(clip_factor(10, 0) == 1);                                // none
  CHECK(clip_factor(3, 4) == 1);                                 // below the limit
  CHECK(clip_factor(8, 4) == doctest::Approx(4 / (8 + 1e-6)).epsilon(1e-15));
  CHECK(clip_factor(4, 4) < 1);                                  // the reference's epsilon
  CHECK(clip_factor(0, 4) == 1);
}

TEST_CASE("the teacher: trained tensors follow, others are copied, a decay of 1 does nothing") {
  Cpu device;
  Buffer<double> student(size), teacher(size);
  const auto start = [](std::size_t i) { return number(i, 5); };
  for (const double decay : {0.0, 0.75, 1.0}) {
    INFO("decay ", decay);
    for (std::size_t i = 0; i < size; ++i) {
      student[i] = number(i, 1);
      teacher[i] = start(i);
    }
    for (const TensorInfo& info : tensor_table<Net<double>>) {
      const std::size_t first = info.size / 3;  // a stretch of the tensor; what is before it stays
      follow_tensor(device, info, decay, static_cast<const double*>(student.data()), teacher.data(), first,
                    info.size - first);
      for (std::size_t i = 0; i < info.size; ++i) {
        const std::size_t at = info.offset + i;
        const double moved = info.trained ? decay * start(at) + (1 - decay) * student[at] : student[at];
        const double expected = i < first || decay == 1 ? start(at) : moved;
        CHECK(teacher[at] == doctest::Approx(expected).epsilon(1e-14));
      }
    }
  }
}
