// SPDX-License-Identifier: MIT
// What a training on a GPU keeps of its parameters: fp32 weights, moments and teacher, their copies in the arithmetic of
// the step, the gradient, and the one pass that updates all of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/cuda/all.cuh>
#include <data2vec/training/step_report.hpp>

namespace data2vec::inline v0 {

/// Of a step's values and gradients. Kernels are instantiated under this name: one that names Parameters would be a
/// class of configurations, which nvcc cannot write down for all of them.
template <Precision P>
using DeviceNumber = typename BasicCuda<P>::Number;

template <class Parameters, Precision P, bool with_teacher>
class CudaUpdater {
 public:
  using Number = DeviceNumber<P>;  ///< of a step's values and gradients
  static constexpr bool copies = !std::is_same_v<DeviceNumber<P>, float>;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr int networks = with_teacher ? 2 : 1;
  static constexpr std::size_t device_bytes =
      size * (sizeof(float) * (2 + networks) + sizeof(DeviceNumber<P>) * (1 + (copies ? networks : 0)));

  /// `piece_of(row)` says what an update does to the tensor in that row of the table; `groups` are told apart by
  /// UpdatePiece::group.
  template <class F>
  CudaUpdater(BasicCuda<P>& d, int groups, F piece_of)
      : weights_(size, "weights"),
        teacher_(with_teacher ? size : 0, "teacher"),
        m_(size, "first moments"),
        v_(size, "second moments"),
        gradient_(size, "gradient"),
        weights_copy_(copies ? size : 0, "weights"),
        teacher_copy_(copies && with_teacher ? size : 0, "teacher"),
        updates_(static_cast<std::size_t>(groups), "update") {
    constexpr std::size_t length = 8192;  // a block each
    std::vector<UpdatePiece> pieces;
    for (std::size_t row = 0; row < tensor_table<Parameters>.size(); ++row) {
      const TensorInfo& info = tensor_table<Parameters>[row];
      UpdatePiece piece = piece_of(row);
      for (std::size_t first = 0; first < info.size; first += length) {
        piece.first = info.offset + first;
        piece.count = static_cast<int>(std::min(length, info.size - first));
        pieces.push_back(piece);
      }
    }
    pieces_ = DeviceBuffer<UpdatePiece>(pieces.size(), "pieces");
    d.copy("pieces", pieces_.data(), pieces.data(), pieces.size() * sizeof(UpdatePiece));
    d.synchronize("pieces");
  }

  /// As the step reads them.
  const DeviceNumber<P>* weights() const { return read(weights_copy_, weights_); }
  const DeviceNumber<P>* teacher() const { return read(teacher_copy_, teacher_); }
  DeviceNumber<P>* gradient() { return gradient_.data(); }
  void zero_gradient(CudaContext& d) { d.zero("gradient", gradient_.data(), size * sizeof(DeviceNumber<P>)); }

  /// The sum of the gradient's squares to *squares (device memory), then clipping, Adam and the teacher's step, unless
  /// that sum is not finite. `updates`, one per group, must stay as they are until this has run.
  void apply(BasicCuda<P>& d, const FusedUpdate* updates, double* squares) {
    d.copy("update", updates_.data(), updates, updates_.size() * sizeof(FusedUpdate));
    detail::gpu::squares_on_device(d, size, static_cast<const DeviceNumber<P>*>(gradient_.data()), false, squares);
    kernel::Adam<BasicCuda<P>>::fused(d, static_cast<int>(pieces_.size()), pieces_.data(), updates_.data(),
                                      static_cast<const double*>(squares),
                                      static_cast<const DeviceNumber<P>*>(gradient_.data()),
                                      UpdateState<DeviceNumber<P>>{m_.data(), v_.data(), weights_.data(),
                                                                   teacher_.data(), weights_copy_.data(),
                                                                   teacher_copy_.data()});
  }

  /// To and from buffers of the host. They wait.
  void read_state(CudaContext& d, const TrainingState& to) const {
    const auto take = [&](float* target, const DeviceBuffer<float>& from) {
      d.copy("read_state", target, from.data(), size * sizeof(float));
    };
    take(to.weights, weights_), take(to.m, m_), take(to.v, v_);
    if (with_teacher) take(to.teacher, teacher_);
    d.synchronize("read_state");
  }
  void write_state(CudaContext& d, const TrainingState& from) {
    d.synchronize("write_state");
    const auto put = [&](DeviceBuffer<float>& to, const float* source) {
      d.copy("write_state", to.data(), source, size * sizeof(float));
    };
    put(weights_, from.weights), put(m_, from.m), put(v_, from.v);
    if (with_teacher) put(teacher_, from.teacher);
    if constexpr (copies) {
      detail::gpu::cast(d, static_cast<const float*>(weights_.data()), size, weights_copy_.data());
      if (with_teacher) detail::gpu::cast(d, static_cast<const float*>(teacher_.data()), size, teacher_copy_.data());
    }
    d.synchronize("write_state");
  }

 private:
  static const DeviceNumber<P>* read(const DeviceBuffer<DeviceNumber<P>>& copy, const DeviceBuffer<float>& original) {
    if constexpr (copies) return copy.data();
    else return original.data();
  }

  DeviceBuffer<float> weights_, teacher_, m_, v_;
  DeviceBuffer<DeviceNumber<P>> gradient_, weights_copy_, teacher_copy_;
  DeviceBuffer<FusedUpdate> updates_;
  DeviceBuffer<UpdatePiece> pieces_;
};

}  // namespace data2vec::inline v0
