// SPDX-License-Identifier: MIT
// The checker itself: it passes what is right, and every mistake that it promises to find, it finds.
#include <data2vec/layers/check_gradients.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include <data2vec/device/cpu/cpu.hpp>

using namespace data2vec;

namespace {

enum class Mistake {
  none, parameter_gradient, input_gradient, tiny, second_order, overwrites_gradient, accumulates_input, forgets_output,
  reads_output, reads_tape, writes_parameters, writes_input, writes_behind_output, writes_behind_gradient,
  writes_untrained,
};

/// y = sin(a x + b), elementwise; `c` is not trained and scales the whole.
template <Mistake mistake>
struct Sine {
  static constexpr int input_size = 5, output_size = 5;

  template <class T>
  struct Parameters {
    View<T, 5> a, b;
    View<T, 1> c;
    static constexpr void visit(auto&& f, auto&... p) {
      f("a", p.a...);
      f("b", p.b...);
      f(Field{"c", init::constant(1), false}, p.c...);
    }
  };
  template <class T>
  struct Tape {
    View<T, 5> angle;
    static constexpr void visit(auto&& f, auto&... t) { f("angle", t.angle...); }
  };

  static void forward(Cpu&, const Parameters<const double>& p, const double* x, double* y, const Tape<double>& tape) {
    for (int i = 0; i < 5; ++i) {
      if (mistake == Mistake::forgets_output && i == 4) continue;
      const double before = mistake == Mistake::reads_output ? 0 * y[i] : 0;
      if (mistake != Mistake::reads_tape || i != 2) tape.angle[i] = p.a[i] * x[i] + p.b[i];
      y[i] = p.c[0] * std::sin(tape.angle[i]) + before;
    }
    if (mistake == Mistake::writes_parameters) const_cast<double&>(p.a[1]) += 1e-9;
    if (mistake == Mistake::writes_input) const_cast<double*>(x)[3] = 0;
    if (mistake == Mistake::writes_behind_output) y[5] = 1;
  }

  static void backward(Cpu&, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    for (int i = 0; i < 5; ++i) {
      double d = dy[i] * p.c[0] * (mistake == Mistake::second_order ? 1 : std::cos(tape.angle[i]));
      if (mistake == Mistake::tiny && i == 1) d *= 1 + 1e-6;
      const double da = d * x[i] * (mistake == Mistake::parameter_gradient && i == 3 ? -1 : 1);
      if (mistake == Mistake::overwrites_gradient) gradient.a[i] = da;
      else gradient.a[i] += da;
      gradient.b[i] += d;
      const double change = d * p.a[i] * (mistake == Mistake::input_gradient && i == 0 ? 2 : 1);
      if (mistake == Mistake::accumulates_input) dx[i] += change;
      else dx[i] = change;
    }
    if (mistake == Mistake::writes_behind_gradient) gradient.b[5] = 0;
    if (mistake == Mistake::writes_untrained) gradient.c[0] += 1;
  }
};

/// Nothing but a doubling: no parameters, no tape.
struct Twice {
  static constexpr int input_size = 3, output_size = 3;
  template <class T>
  struct Parameters : Nothing {};
  template <class T>
  struct Tape : Nothing {};
  template <class T>
  static void forward(Cpu&, const Parameters<const T>&, const T* x, T* y, const Tape<T>&) {
    for (int i = 0; i < 3; ++i) y[i] = 2 * x[i];
  }
  template <class T>
  static void backward(Cpu&, const Parameters<const T>&, const T*, T* dy, T* dx, const Parameters<T>&, const Tape<T>&) {
    for (int i = 0; i < 3; ++i) dx[i] = 2 * dy[i];
  }
};
static_assert(DifferentiableLayer<Twice, Cpu>);
static_assert(!DifferentiableLayer<int, Cpu>);

/// sqrt(x) of positive numbers: the input's own range, and no gradient for it.
struct RootOfScale {
  static constexpr int input_size = 2, output_size = 2;
  static constexpr bool has_input_gradient = false;
  static void fill_input(std::span<double> x) {
    for (double& v : x) v = 1 + v * v;
  }
  static void fill_parameters(const auto& p) { p.scale[0] = 2; }
  template <class T>
  struct Parameters {
    View<T, 1> scale;
    static constexpr void visit(auto&& f, auto&... p) { f("scale", p.scale...); }
  };
  template <class T>
  struct Tape : Nothing {};
  static void forward(Cpu&, const Parameters<const double>& p, const double* x, double* y, const Tape<double>&) {
    for (int i = 0; i < 2; ++i) y[i] = std::sqrt(p.scale[0] * x[i]);
  }
  static void backward(Cpu&, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>&) {
    if (dx) dx[0] = 0;
    for (int i = 0; i < 2; ++i) gradient.scale[0] += dy[i] * 0.5 * std::sqrt(x[i] / p.scale[0]);
  }
};

template <Mistake mistake>
std::string complaint() {
  const GradientReport report = check_gradients<Sine<mistake>, Cpu>();
  CHECK_FALSE(report.passed);
  return report.violations.empty() ? report.worst : report.violations.front();
}

}  // namespace

TEST_CASE("check_gradients passes right gradients") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const GradientReport report = check_gradients<Sine<Mistake::none>, Cpu>({.seed = seed});
    INFO(report.text());
    CHECK(report.passed);
    CHECK(report.worst_error > 0);     // differences of sines are never exact: it did compare
    CHECK(report.tolerance < 1e-9);    // 8 eps^(3/4) sqrt(2 * 5 * squares), squares of some tens at most
  }
  CHECK(check_gradients<Twice, Cpu>().passed);
  CHECK(check_gradients<RootOfScale, Cpu>().passed);
}

TEST_CASE("check_gradients finds wrong gradients and names the element") {
  CHECK(complaint<Mistake::parameter_gradient>() == "a[3]");
  CHECK(complaint<Mistake::input_gradient>() == "x[0]");
  CHECK(complaint<Mistake::tiny>().ends_with("[1]"));
  complaint<Mistake::second_order>();
}

TEST_CASE("check_gradients holds a layer to its contract") {
  CHECK(complaint<Mistake::overwrites_gradient>() ==
        "backward: the gradient of a is overwritten; it must be added to what is there");
  CHECK(complaint<Mistake::accumulates_input>() ==
        "backward: dx[0] depends on what stood in dx or the tape, or was not written");
  CHECK(complaint<Mistake::forgets_output>() == "forward: y[4] is not finite: something is read unwritten");
  CHECK(complaint<Mistake::reads_output>() == "forward: y[0] is not finite: something is read unwritten");
  CHECK(complaint<Mistake::reads_tape>() == "forward: y[2] is not finite: something is read unwritten");
  CHECK(complaint<Mistake::writes_parameters>() == "forward writes to the parameters");
  CHECK(complaint<Mistake::writes_input>() == "forward writes to x");
  CHECK(complaint<Mistake::writes_behind_output>() == "forward writes behind y");
  CHECK(complaint<Mistake::writes_behind_gradient>() == "backward writes before or behind c");
  CHECK(complaint<Mistake::writes_untrained>() ==
        "backward: the gradient of c, which is not trained, is written to");
}

TEST_CASE("a report prints what it found") {
  const GradientReport report{false, 0.25, 1e-9, "fc1.weight[7]", {"forward writes to x"}};
  CHECK(report.text() ==
        "gradients do not agree: largest error 0.25 at fc1.weight[7], tolerance 1e-09\n  forward writes to x");
}
