// SPDX-License-Identifier: MIT
// What the cases of the other systems share: their bounds (fixtures/BASELINES.md), parameters by name, gradients, the
// update that follows. A case of a system includes this and says what its step is.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>

#include "support.hpp"

namespace data2vec::parity {

/// The optimizer of a case. `torch`: epsilon stands beside the corrected root, vectors and biases do not decay.
inline OptimizerConfig baseline_optimizer(const Case& c) {
  const bool torch = c.text("optimizer.name").starts_with("AdamW");
  return {.adam_betas = {c.number("optimizer.betas.0"), c.number("optimizer.betas.1")},
          .adam_eps = c.number("optimizer.eps"),
          .weight_decay = c.number("optimizer.weight_decay"),
          .clip_norm = c.number_or("optimizer.clip_norm", 0),
          .decay_scope = torch ? DecayScope::matrices : DecayScope::all,
          .corrected_eps = torch};
}

/// A tensor of whole numbers of any type.
inline std::vector<std::int32_t> whole_numbers(const Case& c, const std::string& tensor, std::size_t count) {
  std::vector<std::int32_t> numbers;
  for (std::size_t i = 0; i < count; ++i) numbers.push_back(static_cast<std::int32_t>(c.value(tensor, i)));
  return numbers;
}

/// Weights of a struct of parameters with gradient and moments, filled from a case and compared with it.
template <class Parameters>
class BaselineCase {
 public:
  static constexpr std::size_t size = buffer_size<Parameters>;

  Buffer<float> weights{size}, gradient{size}, m{size}, v{size};

  /// Takes `params.` + name for every tensor. Names of the case that the model does not have fail, unless one of
  /// `left_out`, as do those of the model that the case does not have.
  BaselineCase(const Case& c, Report& r, std::vector<std::string> left_out = {}) : case_(c), report_(r) {
    load("params.", weights);
    for (const std::string& name : c.names("params."))
      r.expect(knows(name.substr(7)) || std::find(left_out.begin(), left_out.end(), name.substr(7)) != left_out.end(),
               name + ": the model has no such tensor");
  }

  void load(const std::string& prefix, Buffer<float>& to) const {
    for (const TensorInfo& info : tensor_table<Parameters>) {
      const auto values = case_.f32(prefix + std::string(info.name.view()), info.size);
      std::copy(values.begin(), values.end(), to.data() + info.offset);
    }
  }

  void output(const std::string& name, std::span<const float> found) {
    report_.check(Quantity::baseline_output, "out." + name, case_.f32("out." + name, found.size()), found);
  }
  void output(const std::string& name, double found) {
    report_.check_value(Quantity::baseline_loss, "out." + name, case_.value("out." + name, 0), found);
  }
  void exact(const std::string& name, double found) {
    report_.check_value(Quantity::exact, "out." + name, case_.value("out." + name, 0), found);
  }

  /// The gradient of out.loss. A tensor without one in the case must have none here; where it is zero but for
  /// rounding, ours must be small beside the largest of the case.
  void compare_gradients() {
    double largest = 0;
    for (const std::string& name : case_.names("grad."))
      for (const float x : case_.f32(name)) largest = std::max(largest, std::fabs(static_cast<double>(x)));
    std::vector<std::string> zero;
    for (std::size_t i = 0; i < case_.size("verify.analytically_zero_grads"); ++i)
      zero.push_back(case_.text("verify.analytically_zero_grads." + std::to_string(i)));
    for (const std::string& name : case_.names("grad."))
      report_.expect(knows(name.substr(5)), name + ": the model has no such tensor");
    for (const TensorInfo& info : tensor_table<Parameters>) {
      const std::string name(info.name.view());
      const std::span<const float> found{gradient.data() + info.offset, info.size};
      const double most = std::accumulate(found.begin(), found.end(), 0.0, [](double a, float b) {
        return std::max(a, std::fabs(static_cast<double>(b)));
      });
      if (!case_.has("grad." + name)) report_.expect(most == 0, "grad." + name + ": there is none");
      else if (std::find(zero.begin(), zero.end(), name) != zero.end())
        report_.expect(most <= 1e-5 * largest, "grad." + name + ": zero but for rounding");
      else report_.check(Quantity::baseline_gradient, "grad." + name, case_.f32("grad." + name, info.size), found);
    }
  }

  /// One update by Adam from the gradient divided by `sample_size`, and the comparison of `after1.` by the rule of the
  /// fixtures. `lr_scale(name)` multiplies the learning rate. The norm before clipping is returned.
  template <class LrScale>
  double compare_update(double sample_size, LrScale&& lr_scale) {
    double squares = 0;
    for (const float g : gradient) squares += static_cast<double>(g) * static_cast<double>(g);
    const double norm = std::sqrt(squares) / sample_size;
    const OptimizerConfig config = baseline_optimizer(case_);
    const double factor = clip_factor(norm, config.clip_norm) / sample_size, lr = case_.number("optimizer.lr");
    const std::vector<float> before(weights.begin(), weights.end());
    const OptimizerState<float> state{weights.data(), gradient.data(), m.data(), v.data()};
    for (const TensorInfo& info : tensor_table<Parameters>)
      if (case_.has("grad." + std::string(info.name.view())))
        update_tensor(cpu_, config, info, {lr * lr_scale(info.name.view()), 1, factor}, state, 0, info.size);
    compare_after1(before, lr);
    return norm;
  }
  double compare_update(double sample_size) {
    return compare_update(sample_size, [](std::string_view) { return 1.0; });
  }

  /// `after1.`, given what was there before: where the gradient is more than noise, values; elsewhere the length of the
  /// step.
  void compare_after1(std::span<const float> before, double lr) {
    const double least = case_.number("verify.after1_compare.only_where_abs_grad_at_least");
    const double decay = case_.number("optimizer.weight_decay");
    for (const TensorInfo& info : tensor_table<Parameters>) {
      const std::string name(info.name.view());
      if (!case_.has("after1." + name)) continue;
      const auto expected = case_.f32("after1." + name, info.size);
      const bool moved = case_.has("grad." + name);
      const auto reference = moved ? case_.f32("grad." + name, info.size) : std::span<const float>();
      std::vector<float> ours, theirs;
      bool near = true;
      for (std::size_t i = 0; i < info.size; ++i) {
        const auto found = static_cast<double>(weights.data()[info.offset + i]);
        const auto start = static_cast<double>(before[info.offset + i]);
        if (!moved || std::fabs(static_cast<double>(reference[i])) >= least) {
          ours.push_back(static_cast<float>(found));
          theirs.push_back(expected[i]);
        } else {
          near = near && std::fabs(found - start) <= 1.1 * lr + lr * decay * std::fabs(start);
        }
      }
      if (!ours.empty()) report_.check(Quantity::baseline_output, "after1." + name, theirs, ours);
      report_.expect(near, "after1." + name + ": no step is longer than the learning rate");
    }
  }

 private:
  static bool knows(std::string_view name) {
    const auto& table = tensor_table<Parameters>;
    return std::any_of(table.begin(), table.end(), [&](const TensorInfo& info) { return info.name.view() == name; });
  }

  const Case& case_;
  Report& report_;
  Cpu cpu_;
};

}  // namespace data2vec::parity
