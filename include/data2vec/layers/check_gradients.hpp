// SPDX-License-Identifier: MIT
// The gradients of any layer, also a user's, against central differences in double: every element of every parameter
// and of the input, and with them the contract between forward and backward. For tests: it allocates, and it takes
// about four forward passes per element.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/parameter.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

/// What `check_gradients` can check, on the device D. A layer has:
///   input_size, output_size   numbers in its input and its output, all rows together
///   Parameters<T>, Tape<T>    structs of views with `visit`; the tape is what backward needs, and scratch
///   forward(device, parameters, x, y, tape)
///       y is overwritten and a function of parameters and x alone, whatever stood in y and in the tape
///   backward(device, parameters, x, dy, dx, gradient, tape)
///       dy may be destroyed, dx is overwritten, parameter gradients are added to what is there
/// and may have:
///   has_input_gradient = false            dx is null then
///   fill_input(std::span<double>)         instead of normal numbers
///   fill_parameters(Parameters<double>)   called on random parameters, for those that must lie in a range
template <class Layer, class D>
concept DifferentiableLayer =
    Device<D> && requires(D& d, const typename Layer::template Parameters<const double>& parameters,
                          const typename Layer::template Parameters<double>& gradient,
                          const typename Layer::template Tape<double>& tape, const double* x, double* y) {
      { Layer::input_size } -> std::convertible_to<int>;
      { Layer::output_size } -> std::convertible_to<int>;
      Layer::forward(d, parameters, x, y, tape);
      Layer::backward(d, parameters, x, y, y, gradient, tape);
    };

struct GradientOptions {
  std::uint64_t seed = 1;         ///< of parameters, input and loss
  double parameter_scale = 0.5;   ///< standard deviation of the parameters
  double input_scale = 1;         ///< standard deviation of the input
  double quadratic = 0.5;         ///< the loss is the sum of w y + quadratic y^2 / 2, w random
};

/// What `check_gradients` found.
struct GradientReport {
  bool passed = false;
  double worst_error = 0;               ///< the largest difference of an element
  double tolerance = 0;                 ///< for that difference, derived from rounding (see the code)
  std::string worst;                    ///< that element: "attn.qkv.weight[3]", or "x[7]" for the input
  std::vector<std::string> violations;  ///< of the contract, a sentence each

  /// Some lines to print.
  std::string text() const {
    std::ostringstream out;
    out.precision(3);
    out << (passed ? "gradients agree" : "gradients do not agree") << ": largest error " << worst_error;
    if (!worst.empty()) out << " at " << worst;
    out << ", tolerance " << tolerance;
    for (const std::string& sentence : violations) out << "\n  " << sentence;
    return out.str();
  }
};

namespace detail {

template <class Layer, class D>
class GradientCheck {
  template <class T>
  using Parameters = typename Layer::template Parameters<T>;
  using Tape = typename Layer::template Tape<double>;
  static constexpr std::size_t inputs = static_cast<std::size_t>(Layer::input_size);
  static constexpr std::size_t outputs = static_cast<std::size_t>(Layer::output_size);
  static constexpr std::size_t weights = buffer_size<Parameters<double>>;
  static constexpr std::size_t guard = 16;  // behind every array, to see who writes beyond it
  static constexpr double eps = std::numeric_limits<double>::epsilon();
  static constexpr bool has_input_gradient = [] {
    if constexpr (requires { Layer::has_input_gradient; }) return bool{Layer::has_input_gradient};
    else return true;
  }();

 public:
  explicit GradientCheck(const GradientOptions& options) : options_(options) {
    fill(parameters_, 1, options.parameter_scale);
    fill(x_, 2, options.input_scale);
    fill(w_, 3, 1);
    if constexpr (requires { Layer::fill_input(std::span<double>()); }) Layer::fill_input(std::span(x_.data(), inputs));
    if constexpr (requires { Layer::fill_parameters(bind<Parameters<double>>(parameters_.data())); })
      Layer::fill_parameters(bind<Parameters<double>>(parameters_.data()));
  }

  GradientReport run() {
    const std::vector<double> parameters(parameters_.begin(), parameters_.end()), x(x_.begin(), x_.end());
    const std::vector<double> y = forward_under(4), end = tape_end_, again = forward_under(0);
    const auto check_unchanged = [&](const std::string& who) {
      if (!unchanged(parameters, parameters_)) complain(who + " writes to the parameters");
      if (!unchanged(x, x_)) complain(who + " writes to x");
    };
    check_unchanged("forward");
    for (std::size_t i = 0; i < outputs && report_.violations.empty(); ++i) {
      if (!is_finite(y_[i])) complain("forward: " + element("y", i) + " is not finite: something is read unwritten");
      else if (!same(y[i], again[i]))
        complain("forward: " + element("y", i) + " depends on what stood in y or the tape");
    }
    if (!untouched(y, again, outputs)) complain("forward writes behind y");
    if (!untouched(end, tape_end_, 0)) complain("forward writes behind the tape");
    const Gradients first = backward_under(5, 0), second = backward_under(6, 7);
    if (report_.violations.empty()) check_unchanged("backward");
    check_contract(first, second);
    compare(first);
    report_.passed = report_.violations.empty() && report_.worst_error <= report_.tolerance;
    return std::move(report_);
  }

 private:
  /// The state of gradient and dx after a backward pass, and what stood there before.
  struct Gradients {
    std::vector<double> start, weights, dx_start, dx;
  };

  // Stream 0 is NaN: whatever is computed from it shows.
  void fill(Buffer<double>& buffer, std::uint32_t stream, double deviation) {
    Rng rng({.seed = options_.seed, .sample = stream});
    for (double& v : buffer)
      v = stream == 0 ? std::numeric_limits<double>::quiet_NaN() : deviation * static_cast<double>(rng.normal());
  }
  static bool same(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }
  static bool unchanged(const std::vector<double>& before, const Buffer<double>& now) {
    return std::equal(before.begin(), before.end(), now.begin(), same);
  }
  static std::string element(std::string_view name, std::size_t i) {
    return std::string(name) + "[" + std::to_string(i) + "]";
  }
  void complain(std::string sentence) { report_.violations.push_back(std::move(sentence)); }

  void forward() {
    Layer::forward(device_, bind<Parameters<const double>>(static_cast<const double*>(parameters_.data())),
                   static_cast<const double*>(x_.data()), y_.data(), bind<Tape>(tape_.data()));
  }
  std::vector<double> forward_under(std::uint32_t poison) {
    fill(y_, poison, 1);
    fill(tape_, poison, 1);
    forward();
    tape_end_ = {tape_.end() - guard, tape_.end()};
    return {y_.begin(), y_.end()};
  }
  // Two passes filled the guard with different values: what is equal there afterwards was written.
  static bool untouched(const std::vector<double>& a, const std::vector<double>& b, std::size_t from) {
    for (std::size_t i = from; i < a.size(); ++i)
      if (same(a[i], b[i])) return false;
    return true;
  }
  double loss() {
    forward();
    double sum = 0;
    for (std::size_t i = 0; i < outputs; ++i) sum += term(i);
    return sum;
  }
  double term(std::size_t i) const { return w_[i] * y_[i] + options_.quadratic / 2 * y_[i] * y_[i]; }

  Gradients backward_under(std::uint32_t start, std::uint32_t poison) {
    forward_under(poison);
    for (std::size_t i = 0; i < outputs; ++i) dy_[i] = w_[i] + options_.quadratic * y_[i];
    fill(gradient_, start, 1);
    fill(dx_, poison, 1);
    Gradients result{{gradient_.begin(), gradient_.end()}, {}, {dx_.begin(), dx_.end()}, {}};
    Layer::backward(device_, bind<Parameters<const double>>(static_cast<const double*>(parameters_.data())),
                    static_cast<const double*>(x_.data()), dy_.data(), has_input_gradient ? dx_.data() : nullptr,
                    bind<Parameters<double>>(gradient_.data()), bind<Tape>(tape_.data()));
    result.weights.assign(gradient_.begin(), gradient_.end());
    result.dx.assign(dx_.begin(), dx_.end());
    return result;
  }

  void check_contract(const Gradients& a, const Gradients& b) {
    std::size_t end = 0;
    const auto gap = [&](std::size_t until, std::string_view name) {
      for (; end < until; ++end)
        if (!same(a.weights[end], a.start[end]))
          return complain("backward writes before or behind " + std::string(name));
    };
    for (const TensorInfo& info : tensor_table<Parameters<double>>) {
      gap(info.offset, info.name.view());
      end = info.offset + info.size;
      const std::string name = "backward: the gradient of " + std::string(info.name.view());
      for (std::size_t i = info.offset; i < end; ++i) {
        if (!info.trained && same(a.weights[i], a.start[i])) continue;
        if (!info.trained) complain(name + ", which is not trained, is written to");
        else if (!is_finite(a.weights[i])) complain(name + " is not finite: something is read unwritten");
        else if (same(a.weights[i], b.weights[i]))
          complain(name + " is overwritten; it must be added to what is there");
        else continue;
        break;
      }
    }
    gap(a.weights.size(), "the last gradient");
    if (!has_input_gradient) return;
    for (std::size_t i = 0; i < inputs; ++i) {
      if (is_finite(a.dx[i]) && same(a.dx[i], b.dx[i])) continue;
      complain("backward: " + element("dx", i) + " depends on what stood in dx or the tape, or was not written");
      break;
    }
    if (!untouched(a.dx, b.dx, inputs)) complain("backward writes behind dx");
  }

  // The derivative is extrapolated from central differences (Richardson, 1911): (4 D(h) - D(2h)) / 3. Truncation leaves
  // h^4 / 30 times the fifth derivative. With h = eps^(1/4) that is eps / 30 of it, while rounding contributes 1 / h
  // times the noise of the loss: rounding rules unless the fifth derivative is 10^5 times the loss. The noise is that
  // of a random walk: relative errors of one eps in every parameter, input and term of the loss, times the square root
  // of the number of values that an error passes through (tensors of the tape) and of the terms that a sum has. Eight
  // times that is no accident.
  double tolerance(const Gradients& g) const {
    double squares = 0;
    for (std::size_t i = 0; i < outputs; ++i) squares += term(i) * term(i);
    for (std::size_t i = 0; has_input_gradient && i < inputs; ++i) squares += square(g.dx[i] * x_[i]);
    for (const TensorInfo& info : tensor_table<Parameters<double>>)
      for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
        squares += square((g.weights[i] - g.start[i]) * parameters_[i]);
    const double stages = tensor_count<Tape> + 1, terms = static_cast<double>(std::max(inputs, outputs));
    return 8 * eps / step() * std::sqrt(stages * terms * squares);
  }
  static double square(double x) { return x * x; }
  static double step() { return std::pow(eps, 0.25); }

  double difference(double& value, double h) {
    const double before = value, above = before + h, below = before - h;
    value = above;
    const double up = loss();
    value = below;
    const double down = loss();
    value = before;
    return (up - down) / (above - below);
  }
  void judge(double& value, double analytic, std::string_view name, std::size_t i) {
    const double numeric = (4 * difference(value, step()) - difference(value, 2 * step())) / 3;
    const double error = std::fabs(analytic - numeric);
    if (is_finite(error) ? error < report_.worst_error : !is_finite(report_.worst_error)) return;
    report_.worst_error = is_finite(error) ? error : std::numeric_limits<double>::infinity();
    report_.worst = element(name, i);
  }
  void compare(const Gradients& g) {
    forward();
    report_.tolerance = tolerance(g);
    for (const TensorInfo& info : tensor_table<Parameters<double>>)
      for (std::size_t i = 0; info.trained && i < info.size; ++i)
        judge(parameters_[info.offset + i], g.weights[info.offset + i] - g.start[info.offset + i], info.name.view(), i);
    for (std::size_t i = 0; has_input_gradient && i < inputs; ++i) judge(x_[i], g.dx[i], "x", i);
  }

  GradientOptions options_;
  GradientReport report_;
  D device_{};
  std::vector<double> tape_end_;
  Buffer<double> parameters_{weights + guard}, gradient_{weights + guard}, tape_{buffer_size<Tape> + guard};
  Buffer<double> x_{inputs + guard}, dx_{inputs + guard}, y_{outputs + guard}, dy_{outputs + guard}, w_{outputs};
};

}  // namespace detail

/// Checks `Layer` on a device whose memory the host can read: `check_gradients<Mine, Cpu>()`. `passed` in the report:
/// every gradient agrees with the differences, and the contract of `DifferentiableLayer` holds. The layer must be
/// smooth where it is checked.
template <class Layer, class D>
  requires DifferentiableLayer<Layer, D>
GradientReport check_gradients(const GradientOptions& options = {}) {
  return detail::GradientCheck<Layer, D>(options).run();
}

}  // namespace data2vec::inline v0
