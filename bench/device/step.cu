// SPDX-License-Identifier: MIT
// bench/device_step.hpp for the configuration, masks, batch and arithmetic of <step_config.hpp>.
#include <memory>
#include <numeric>
#include <optional>

#include <data2vec/cuda.cuh>

#include "bench/device_step.hpp"

#include <step_config.hpp>

namespace bench {

namespace {
using Subject = step_config::Subject;
using Device = d2v::BasicCuda<d2v::Precision::D2V_BENCH_PRECISION>;
using Trainer = d2v::Trainer<Subject, Device, step_config::batch>;
}  // namespace

const char* device_dtype() {
  constexpr auto precision = Device::precision;
  return precision == d2v::Precision::fp32 ? "float32" : precision == d2v::Precision::tf32 ? "tf32" : "bfloat16";
}

DeviceWork device_training(std::span<const Trainer::Sample> samples, int batch, bool no_dropout) {
  if (batch != step_config::batch)
    throw d2v::OptionError("--batch: expected " + std::to_string(step_config::batch) + ", found " +
                           std::to_string(batch));
  std::size_t before = 0, after = 0, total = 0;
  cudaMemGetInfo(&before, &total);
  d2v::TrainerOptions options = options_of<Subject>(1);
  if (no_dropout) options.rates = {};
  struct State {
    std::optional<Trainer> trainer;
    std::vector<Trainer::Sample> samples;
    std::vector<std::uint32_t> ids;
    int submitted = 0;
    double loss = 0;
  };
  const auto state = std::make_shared<State>();
  state->trainer.emplace(options);
  state->samples.assign(samples.begin(), samples.end());
  state->ids.resize(static_cast<std::size_t>(batch));
  std::iota(state->ids.begin(), state->ids.end(), 0u);
  DeviceWork work;
  work.run = [state] {
    State& s = *state;
    s.trainer->submit({s.samples, s.ids});
    if (++s.submitted == Trainer::depth) s.loss = s.trainer->fetch().loss, --s.submitted;
    return s.loss;
  };
  work.profile = [samples = state->samples, ids = state->ids, options](int steps) {
    Trainer trainer(options, {.time_each = true});
    for (int i = 0; i < 2; ++i) trainer.step({samples, ids});
    trainer.device().operation_times();
    for (int i = 0; i < steps; ++i) trainer.step({samples, ids});
    std::vector<DeviceShare> shares;
    for (const auto& t : trainer.device().operation_times())
      shares.push_back({t.operation, t.calls / steps, t.seconds / steps});
    return shares;
  };
  for (int i = 0; i < 3; ++i) work.run();  // algorithms are chosen, the step is captured
  cudaMemGetInfo(&after, &total);
  work.bytes = before - after;
  cudaDeviceProp properties;
  cudaGetDeviceProperties(&properties, 0);
  work.gpu = properties.name;
  return work;
}

}  // namespace bench
