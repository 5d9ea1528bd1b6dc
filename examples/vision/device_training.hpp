// SPDX-License-Identifier: MIT
// The trainer of the programs' model on a GPU: compiled by nvcc in a file of its own (device/training.cu).
#pragma once

#include <cstdint>
#include <memory>

#include <data2vec/training/options.hpp>
#include <data2vec/training/step_report.hpp>

namespace demo {

namespace d2v = data2vec;

/// A d2v::Trainer<Model, d2v::Cuda, device_batch>: two steps may wait for their reports. Throws DeviceError where there
/// is no GPU, UsageError in a program that was built without CUDA.
class DeviceTraining {
 public:
  static constexpr int depth = 2;
  explicit DeviceTraining(const d2v::TrainerOptions& options);
  DeviceTraining(const DeviceTraining&) = delete;
  DeviceTraining& operator=(const DeviceTraining&) = delete;
  ~DeviceTraining();

  void set(const d2v::Schedule& schedule, const d2v::EmaConfig& ema);
  void restart();
  void submit(const d2v::Batch<float>& batch);
  d2v::StepReport fetch();
  void pass_over();
  std::int64_t updates() const;
  /// Copies to and from buffers of the host, while no step waits.
  void read_state(const d2v::TrainingState& to);
  void write_state(const d2v::TrainingState& from);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace demo
