// SPDX-License-Identifier: MIT
// What examples ask of a GPU (device_training.hpp, device_features.hpp, device_judging.hpp) in a build without CUDA.
#include "examples/common/device_judging.hpp"
#include "examples/common/program.hpp"
#include "examples/vision/device_features.hpp"
#include "examples/vision/device_training.hpp"

namespace demo {

namespace {
UsageError built_without() {
  return UsageError("--device: expected cpu, found cuda: this program was built without D2V_CUDA");
}
}  // namespace

ExtractFeatures device_features(std::span<const float>) { throw built_without(); }

DeviceJudging device_judging() { throw built_without(); }

struct DeviceTraining::Impl {};

DeviceTraining::DeviceTraining(const d2v::TrainerOptions&) { throw built_without(); }
DeviceTraining::~DeviceTraining() = default;
void DeviceTraining::set(const d2v::Schedule&, const d2v::EmaConfig&) {}
void DeviceTraining::restart() {}
void DeviceTraining::submit(const d2v::Batch<float>&) {}
d2v::StepReport DeviceTraining::fetch() { return {}; }
void DeviceTraining::pass_over() {}
std::int64_t DeviceTraining::updates() const { return 0; }
void DeviceTraining::read_state(const d2v::TrainingState&) {}
void DeviceTraining::write_state(const d2v::TrainingState&) {}

}  // namespace demo
