// SPDX-License-Identifier: MIT
// A training by the CPU's trainer, step for step.
#pragma once

#include <data2vec/training/trainer.hpp>

#include "tests/device/cuda/models.hpp"

namespace models {

template <class Model>
Trace train(int steps, int accumulation) {
  Trace trace;
  Trainer<Model, Cpu, batch> trainer(options_of<Model>(accumulation));
  std::vector<SampleOf<typename Model::First::M, float>> samples;
  std::vector<std::uint32_t> ids;
  for (int i = 0; i < steps; ++i) {
    fill<Model>(i, samples, ids);
    const StepReport report = trainer.step({samples, ids});
    trace.reports.push_back(numbers_of(report));
    trace.terms.push_back(terms_of(report));
    const auto weights = trainer.weights();
    trace.weights.emplace_back(weights.begin(), weights.end());
  }
  const TrainingState state = trainer.state();
  trace.m.assign(state.m, state.m + trainer.size);
  trace.v.assign(state.v, state.v + trainer.size);
  if (state.teacher) trace.teacher.assign(state.teacher, state.teacher + trainer.size);
  return trace;
}

}  // namespace models
