// SPDX-License-Identifier: MIT
// examples/vision/device_training.hpp without a GPU: the CPU's trainer, whose reports wait to be fetched.
#include <algorithm>
#include <deque>

#include "examples/vision/device_training.hpp"
#include "examples/vision/recipe.hpp"

namespace demo {

struct DeviceTraining::Impl {
  explicit Impl(const d2v::TrainerOptions& options) : trainer(options) {}
  Recipe::Trainer trainer;
  std::deque<d2v::StepReport> reports;
};

DeviceTraining::DeviceTraining(const d2v::TrainerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
DeviceTraining::~DeviceTraining() = default;
void DeviceTraining::set(const d2v::Schedule& schedule, const d2v::EmaConfig& ema) {
  impl_->trainer.set_schedule(schedule);
  impl_->trainer.set_ema(ema);
}
void DeviceTraining::restart() { impl_->trainer.restart(); }
void DeviceTraining::submit(const d2v::Batch<float>& batch) {
  if (impl_->reports.size() == depth) throw d2v::OptionError("more steps than may wait");
  impl_->reports.push_back(impl_->trainer.step(batch));
}
d2v::StepReport DeviceTraining::fetch() {
  const d2v::StepReport report = impl_->reports.at(0);
  impl_->reports.pop_front();
  return report;
}
void DeviceTraining::pass_over() { impl_->trainer.pass_over(); }
/// Those whose reports were fetched.
std::int64_t DeviceTraining::updates() const {
  return impl_->trainer.updates() - static_cast<std::int64_t>(impl_->reports.size());
}

namespace {
void copy(const d2v::TrainingState& from, const d2v::TrainingState& to, std::size_t count) {
  std::copy_n(from.weights, count, to.weights);
  if (from.teacher) std::copy_n(from.teacher, count, to.teacher);
  std::copy_n(from.m, count, to.m);
  std::copy_n(from.v, count, to.v);
  *to.updates = *from.updates;
}
}  // namespace

void DeviceTraining::read_state(const d2v::TrainingState& to) {
  if (!impl_->reports.empty()) throw d2v::OptionError("a step waits for its report");
  copy(impl_->trainer.state(), to, Recipe::Trainer::size);
}
void DeviceTraining::write_state(const d2v::TrainingState& from) {
  copy(from, impl_->trainer.state(), Recipe::Trainer::size);
}

}  // namespace demo
