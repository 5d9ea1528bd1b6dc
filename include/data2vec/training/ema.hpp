// SPDX-License-Identifier: MIT
// How strongly the teacher holds on to its weights: teacher <- decay * teacher + (1 - decay) * student.
#pragma once

#include <cstdint>

#include <data2vec/core/macros.hpp>
#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// Decay of the teacher's moving average, with the reference's names.
struct EmaConfig {
  double ema_decay = 0.999;                       ///< at update 0
  double ema_end_decay = 0.9999;                  ///< from `ema_anneal_end_step` on; 1 freezes the teacher
  std::int64_t ema_anneal_end_step = 100'000;     ///< updates; the reference's default is the length of the training

  friend constexpr bool operator==(const EmaConfig&, const EmaConfig&) = default;
};

/// Decay of an EMA step taken when `updates` optimiser updates are complete (1 at the first step): linear from
/// ema_decay to ema_end_decay, then constant (data2vec, section 3.2 "Teacher parameterization"; fairseq's
/// `get_annealed_rate`). A teacher whose decay has reached 1 needs no step.
D2V_HD constexpr double ema_decay(const EmaConfig& config, std::int64_t updates) {
  if (updates >= config.ema_anneal_end_step) return config.ema_end_decay;
  const double rest = 1 - static_cast<double>(updates) / static_cast<double>(config.ema_anneal_end_step);
  return config.ema_end_decay - (config.ema_end_decay - config.ema_decay) * rest;
}

static_assert(ema_decay({.ema_decay = 0.5, .ema_end_decay = 1, .ema_anneal_end_step = 4}, 2) == 0.75);

}  // namespace data2vec::inline v0
