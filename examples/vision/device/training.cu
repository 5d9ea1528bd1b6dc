// SPDX-License-Identifier: MIT
// examples/vision/device_training.hpp on a GPU, in bfloat16.
#include <data2vec/cuda.cuh>

#include "examples/vision/device_training.hpp"
#include "examples/vision/model.hpp"

namespace demo {

struct DeviceTraining::Impl {
  explicit Impl(const d2v::TrainerOptions& options) : trainer(options) {}
  d2v::Trainer<Model, d2v::Cuda, device_batch> trainer;
};

DeviceTraining::DeviceTraining(const d2v::TrainerOptions& options) : impl_(std::make_unique<Impl>(options)) {
  static_assert(decltype(Impl::trainer)::depth == depth);
}
DeviceTraining::~DeviceTraining() = default;
void DeviceTraining::set(const d2v::Schedule& schedule, const d2v::EmaConfig& ema) {
  impl_->trainer.set_schedule(schedule);
  impl_->trainer.set_ema(ema);
}
void DeviceTraining::restart() { impl_->trainer.restart(); }
void DeviceTraining::submit(const d2v::Batch<float>& batch) { impl_->trainer.submit(batch); }
d2v::StepReport DeviceTraining::fetch() { return impl_->trainer.fetch(); }
void DeviceTraining::pass_over() { impl_->trainer.pass_over(); }
std::int64_t DeviceTraining::updates() const { return impl_->trainer.updates(); }
void DeviceTraining::read_state(const d2v::TrainingState& to) { impl_->trainer.read_state(to); }
void DeviceTraining::write_state(const d2v::TrainingState& from) { impl_->trainer.write_state(from); }

}  // namespace demo
