// SPDX-License-Identifier: MIT
// What a parity case needs: the case's tensors and numbers, and the report that holds found values against the
// reference's by the rules of the fixtures. Light to include: every generated program does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace data2vec::parity {

/// What is compared; each has one rule and one bound (see `rule_of`).
enum class Quantity {
  loss, loss_element, activation, targets, gradient, cancelling_gradient, parameter, teacher, trajectory, variance,
  table, exact, baseline_loss, baseline_output, baseline_gradient, rough_loss, gradient_cosine,
};

/// How an error is measured.
enum class Measure {
  relative,        ///< |found - expected| / |expected|, each element
  of_largest,      ///< largest |found - expected| / largest |expected| of the tensor
  gradient,        ///< the same, the divisor at least 1e-3 of the largest gradient of the case
  absolute,        ///< largest |found - expected|
};

/// Rule and bound of a quantity.
struct Rule {
  const char* name;
  Measure measure;
  double bound;
};

/// The "suggested bound" column of the fixtures' tolerance table, in the order of `Quantity`; nothing is looser.
/// `loss_element` is a list of losses, which may hold one near zero. That table has no row for `table` (positions,
/// biases, schedules: functions without inputs), whose bound is tighter than any of them.
inline constexpr Rule rules[] = {
    {"loss", Measure::relative, 2e-6},
    {"loss element", Measure::of_largest, 2e-6},
    {"activation", Measure::of_largest, 1e-5},
    {"targets", Measure::of_largest, 2e-5},
    {"gradient", Measure::gradient, 3e-5},
    {"cancelling gradient", Measure::gradient, 3e-4},
    {"parameter", Measure::absolute, 3e-5},
    {"teacher", Measure::absolute, 5e-6},
    {"trajectory", Measure::relative, 5e-6},
    {"variance", Measure::relative, 2e-6},
    {"table", Measure::of_largest, 1e-6},
    {"exact", Measure::absolute, 0},
    {"loss", Measure::relative, 1e-5},  // the advice of BASELINES.md, for the other systems
    {"output", Measure::of_largest, 2e-5},
    {"gradient", Measure::of_largest, 1e-4},
    {"loss in bfloat16", Measure::relative, 0.02},
    {"1 - cosine of the gradient", Measure::absolute, 0.01},
};
constexpr const Rule& rule_of(Quantity q) { return rules[static_cast<std::size_t>(q)]; }

/// A case in memory: NAME.json and NAME.safetensors. Everything that is asked for and absent throws with its name.
class Case {
 public:
  explicit Case(const std::string& json_path);
  Case(Case&&) noexcept;
  ~Case();

  const std::string& name() const;

  /// A number of the JSON by path, "optimizer.adam_betas.0". Keys may hold dots themselves: the shortest key that is
  /// there is taken. A path with '/' is split there instead, which is exact. null is 0, true is 1.
  /// `number_or` is for what may be absent.
  double number(std::string_view path) const;
  double number_or(std::string_view path, double fallback) const;
  bool flag(std::string_view path) const { return number(path) != 0; }
  bool has_number(std::string_view path) const;
  std::string text(std::string_view path) const;
  std::vector<double> numbers(std::string_view path) const;
  /// Entries of a list or an object.
  std::size_t size(std::string_view path) const;
  /// The keys of an object.
  std::vector<std::string> keys(std::string_view path) const;

  bool has(std::string_view tensor) const;
  std::vector<std::int64_t> shape(std::string_view tensor) const;
  /// Names of the tensors that start with `prefix`.
  std::vector<std::string> names(std::string_view prefix = "") const;

  std::span<const float> f32(std::string_view tensor) const;
  std::span<const double> f64(std::string_view tensor) const;
  std::span<const std::int32_t> i32(std::string_view tensor) const;
  std::span<const std::uint8_t> u8(std::string_view tensor) const;
  /// The same, with a given number of elements.
  std::span<const float> f32(std::string_view tensor, std::size_t elements) const;
  /// Element `i` of a tensor of any numeric type.
  double value(std::string_view tensor, std::size_t i) const;

 private:
  struct Content;
  std::unique_ptr<Content> content_;
};

/// Compares and remembers. A NaN on one side only is an error; -inf and inf agree with themselves.
class Report {
 public:
  void check(Quantity quantity, std::string_view name, std::span<const float> expected, std::span<const float> found);
  void check(Quantity quantity, std::string_view name, std::span<const double> expected, std::span<const double> found);
  void check(Quantity quantity, std::string_view name, std::span<const std::int32_t> expected,
             std::span<const std::int32_t> found);
  void check_value(Quantity quantity, std::string_view name, double expected, double found);
  /// A plain condition; `sentence` says what should hold.
  void expect(bool condition, std::string_view sentence);

  /// Whether nothing is out of bound, and something was compared at all.
  bool passed() const;
  /// "loss 1.2e-07 (bound 2e-06), ...": the worst error of each quantity.
  std::string summary() const;
  /// One line for each comparison out of bound and each condition that did not hold; at most `most`.
  std::vector<std::string> details(std::size_t most = 12) const;

 private:
  struct Entry {
    Quantity quantity;
    std::string name;
    double difference, largest;   ///< the divisor is known only when all gradients are
    std::size_t index;            ///< where the difference is
    double expected, found;
  };
  template <class T>
  void compare(Quantity quantity, std::string_view name, std::span<const T> expected, std::span<const T> found);
  double error(const Entry& entry) const;
  std::vector<Entry> entries_;
  std::vector<std::string> broken_;
  double largest_gradient_ = 0;
  std::size_t conditions_ = 0;
};

/// The main function of a generated program: `program CASE.json` runs the case and prints summary and details. Returns
/// 0 if it passed, else 1.
int case_main(int argc, char** argv, void (*run)(const Case&, Report&));

}  // namespace data2vec::parity
