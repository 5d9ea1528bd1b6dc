// SPDX-License-Identifier: MIT
// A training by the device's trainer, step for step.
#pragma once

#include <data2vec/training/cuda_trainer.cuh>

#include "tests/device/cuda/models.hpp"

namespace models {

using Fp32 = BasicCuda<Precision::fp32>;

template <class Model, Precision P = Precision::fp32>
Trace trace(int steps, int accumulation) {
  Trace trace;
  Trainer<Model, BasicCuda<P>, batch> trainer(options_of<Model>(accumulation), {.deterministic = true});
  std::vector<SampleOf<typename Model::First::M, float>> samples;
  std::vector<std::uint32_t> ids;
  const std::vector<float> zeros(trainer.size);
  std::vector<float> weights = zeros;
  trace.teacher = trace.m = trace.v = zeros;
  std::int64_t updates = 0;
  for (int i = 0; i < steps; ++i) {
    fill<Model>(i, samples, ids);
    const StepReport report = trainer.step({samples, ids});
    trace.reports.push_back(numbers_of(report));
    trace.terms.push_back(terms_of(report));
    if (trainer.pending() == 0)
      trainer.read_state({weights.data(), trace.teacher.data(), trace.m.data(), trace.v.data(), &updates});
    trace.weights.push_back(weights);
  }
  return trace;
}

}  // namespace models
