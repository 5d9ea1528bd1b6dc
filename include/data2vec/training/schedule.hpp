// SPDX-License-Identifier: MIT
// Learning rate by update: values with the reference's field names and defaults (fairseq/optim/lr_scheduler). The
// argument is the number of updates that are complete, so that the first update is made with schedule(0): with a
// warm-up from zero it changes nothing.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

namespace detail {
inline void expect_schedule(bool fulfilled, const char* sentence, double found) {
  if (!fulfilled) throw OptionError(std::string(sentence) + ", found " + std::to_string(found));
}
}  // namespace detail

/// The same learning rate at every update.
struct ConstantSchedule {
  double lr = 1e-3;

  double operator()(std::int64_t) const { return lr; }

  /// Throws OptionError if a field is out of range.
  void validate() const { detail::expect_schedule(lr >= 0, "ConstantSchedule::lr: expected 0 or more", lr); }
};

/// Linear warm-up, then cosine annealing with warm restarts (Loshchilov and Hutter, 2017): period i lasts
/// t_mult^i * lr_period_updates and runs between lr and min_lr, both times lr_shrink^i. At max_update a new period
/// begins at lr_shrink * lr.
struct CosineSchedule {
  double lr = 1e-3;                      ///< highest value
  double min_lr = 0;                     ///< lowest value; one above lr counts as lr
  std::int64_t warmup_updates = 0;
  double warmup_init_lr = -1;            ///< value at update 0 of the warm-up; negative: min_lr
  std::int64_t max_update = 0;           ///< length of the training
  double t_mult = 1;                     ///< factor on the length of each next period
  double lr_period_updates = -1;         ///< length of the first period; not positive: max_update - warmup_updates
  double lr_shrink = 0.1;                ///< factor on lr and min_lr for each next period

  double operator()(std::int64_t update) const {
    const double lowest = min_lr > lr ? lr : min_lr;
    if (update < warmup_updates) {
      const double first = warmup_init_lr < 0 ? lowest : warmup_init_lr;
      return first + static_cast<double>(update) * ((lr - first) / static_cast<double>(warmup_updates));
    }
    const double current = static_cast<double>(update - warmup_updates), first_length = period();
    double index = std::floor(current / first_length), length = first_length, begin = first_length * index;
    if (t_mult != 1) {
      index = std::floor(std::log(1 - current / first_length * (1 - t_mult)) / std::log(t_mult));
      length = std::pow(t_mult, index) * first_length;
      begin = (1 - std::pow(t_mult, index)) / (1 - t_mult) * first_length;
    }
    const double shrink = std::pow(lr_shrink, index), low = lowest * shrink, high = lr * shrink;
    constexpr double pi = 3.14159265358979323846;
    return low + 0.5 * (high - low) * (1 + std::cos(pi * (current - begin) / length));
  }

  /// Updates in the first period.
  double period() const {
    return lr_period_updates > 0 ? lr_period_updates : static_cast<double>(max_update - warmup_updates);
  }

  /// Throws OptionError if a field is out of range.
  void validate() const {
    detail::expect_schedule(lr >= 0, "CosineSchedule::lr: expected 0 or more", lr);
    detail::expect_schedule(min_lr >= 0, "CosineSchedule::min_lr: expected 0 or more", min_lr);
    detail::expect_schedule(warmup_updates >= 0, "CosineSchedule::warmup_updates: expected 0 or more",
                            static_cast<double>(warmup_updates));
    detail::expect_schedule(period() > 0, "CosineSchedule::max_update: expected more than warmup_updates",
                            static_cast<double>(max_update));
    detail::expect_schedule(t_mult >= 1, "CosineSchedule::t_mult: expected 1 or more", t_mult);
    detail::expect_schedule(lr_shrink > 0, "CosineSchedule::lr_shrink: expected more than 0", lr_shrink);
  }
};

/// Linear warm-up, constant, exponential decay, constant (SpecAugment, Park et al., 2019): fine-tuning on speech.
struct TriStageSchedule {
  double lr = 1e-3;                      ///< value between warm-up and decay
  std::int64_t warmup_steps = 4000;
  std::int64_t hold_steps = 20000;
  std::int64_t decay_steps = 60000;
  std::optional<std::array<double, 3>> phase_ratio = {};  ///< sets the three lengths to int(ratio * max_update)
  double init_lr_scale = 0.01;           ///< value at update 0, as a fraction of lr
  double final_lr_scale = 0.01;          ///< value at the end, as a fraction of lr
  std::int64_t max_update = 0;           ///< length of the training; read with phase_ratio only

  double operator()(std::int64_t update) const {
    const std::int64_t warmup = steps(0), hold = steps(1), decay = steps(2);
    if (update < warmup) {
      const double first = init_lr_scale * lr;
      return first + (lr - first) / static_cast<double>(warmup) * static_cast<double>(update);
    }
    const std::int64_t decayed = update - warmup - hold;         // updates since the decay began
    if (decayed <= 0) return lr;
    if (decayed > decay) return final_lr_scale * lr;
    return lr * std::exp(std::log(final_lr_scale) / static_cast<double>(decay) * static_cast<double>(decayed));
  }

  /// Updates in phase 0 (warm-up), 1 (constant) or 2 (decay).
  std::int64_t steps(std::size_t phase) const {
    if (phase_ratio) return static_cast<std::int64_t>((*phase_ratio)[phase] * static_cast<double>(max_update));
    return phase == 0 ? warmup_steps : phase == 1 ? hold_steps : decay_steps;
  }

  /// Throws OptionError if a field is out of range.
  void validate() const {
    detail::expect_schedule(lr >= 0, "TriStageSchedule::lr: expected 0 or more", lr);
    detail::expect_schedule(init_lr_scale >= 0, "TriStageSchedule::init_lr_scale: expected 0 or more", init_lr_scale);
    detail::expect_schedule(final_lr_scale > 0, "TriStageSchedule::final_lr_scale: expected more than 0",
                            final_lr_scale);
    detail::expect_schedule(!phase_ratio || max_update > 0,
                            "TriStageSchedule::max_update: expected more than 0 with phase_ratio",
                            static_cast<double>(max_update));
    for (std::size_t phase = 0; phase < 3; ++phase)
      detail::expect_schedule(steps(phase) >= 0, "TriStageSchedule: expected phases of 0 or more updates",
                              static_cast<double>(steps(phase)));
  }
};

/// Linear warm-up, then a power of the remaining fraction: fine-tuning on text.
struct PolynomialSchedule {
  double lr = 1e-3;                      ///< value at the end of the warm-up
  std::int64_t warmup_updates = 0;
  std::int64_t total_num_update = 1'000'000;
  double power = 1;
  double end_learning_rate = 0;          ///< value from total_num_update on

  double operator()(std::int64_t update) const {
    if (warmup_updates > 0 && update <= warmup_updates)
      return static_cast<double>(update) / static_cast<double>(warmup_updates) * lr;
    if (update >= total_num_update) return end_learning_rate;
    const double done =
        static_cast<double>(update - warmup_updates) / static_cast<double>(total_num_update - warmup_updates);
    return (lr - end_learning_rate) * std::pow(1 - done, power) + end_learning_rate;
  }

  /// Throws OptionError if a field is out of range.
  void validate() const {
    detail::expect_schedule(lr >= 0, "PolynomialSchedule::lr: expected 0 or more", lr);
    detail::expect_schedule(end_learning_rate >= 0, "PolynomialSchedule::end_learning_rate: expected 0 or more",
                            end_learning_rate);
    detail::expect_schedule(warmup_updates >= 0, "PolynomialSchedule::warmup_updates: expected 0 or more",
                            static_cast<double>(warmup_updates));
    detail::expect_schedule(total_num_update > 0, "PolynomialSchedule::total_num_update: expected more than 0",
                            static_cast<double>(total_num_update));
    detail::expect_schedule(power > 0, "PolynomialSchedule::power: expected more than 0", power);
  }
};

/// Any of the schedules, as a field of options.
using Schedule = std::variant<ConstantSchedule, CosineSchedule, TriStageSchedule, PolynomialSchedule>;

/// Learning rate of the update made when `update` updates are complete.
inline double learning_rate(const Schedule& schedule, std::int64_t update) {
  return std::visit([update](const auto& s) { return s(update); }, schedule);
}

/// Throws OptionError, naming the field, if `schedule` cannot be run.
inline void validate(const Schedule& schedule) {
  std::visit([](const auto& s) { s.validate(); }, schedule);
}

}  // namespace data2vec::inline v0
