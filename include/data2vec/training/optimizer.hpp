// SPDX-License-Identifier: MIT
// Clipping by the global norm, Adam with decoupled weight decay, and the teacher's moving average, over the buffers of
// a struct of parameters.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/adam.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/reduce.hpp>

namespace data2vec::inline v0 {

/// Which parameters weight decay acts on.
enum class DecayScope {
  matrices,  ///< not on vectors, biases and ALiBi scales: what the reference means to do
  all,       ///< on everything that is trained: what the reference's code does
};

struct OptimizerConfig {
  std::array<double, 2> adam_betas = {0.9, 0.95};
  double adam_eps = 1e-8;
  double weight_decay = 0.05;
  double clip_norm = 4;  ///< largest global gradient norm; 0: no clipping
  DecayScope decay_scope = DecayScope::matrices;
  bool corrected_eps = false;  ///< adam_eps stands beside the corrected root (PyTorch), not the running one (fairseq)
};

/// Factor on the gradient so that its norm is at most `clip_norm`: min(1, clip_norm / (norm + 1e-6)).
inline double clip_factor(double norm, double clip_norm) {
  return clip_norm > 0 ? std::min(1.0, clip_norm / (norm + 1e-6)) : 1.0;
}

/// The numbers of update `count` (1 for the first) of a tensor. `lr` is its learning rate.
inline AdamStep adam_step(const OptimizerConfig& config, double lr, std::int64_t count, double gradient_scale,
                          bool decays) {
  const auto [beta1, beta2] = config.adam_betas;
  const auto t = static_cast<double>(count);
  return {.gradient_scale = gradient_scale,
          .beta1 = beta1,
          .beta2 = beta2,
          .eps = config.adam_eps * (config.corrected_eps ? std::sqrt(1 - std::pow(beta2, t)) : 1.0),
          .step = lr * std::sqrt(1 - std::pow(beta2, t)) / (1 - std::pow(beta1, t)),
          .decay = decays ? lr * config.weight_decay : 0.0};
}

/// The four buffers that an update works on, all of one layout.
template <class T>
struct OptimizerState {
  T* parameters;
  const T* gradient;
  T* m;
  T* v;
};

/// What an update of one tensor needs besides the buffers.
struct TensorUpdate {
  double lr = 0;            ///< learning rate, layer-wise factor included
  std::int64_t count = 1;   ///< updates of this tensor, this one included
  double gradient_scale = 1;
};

/// One Adam update of a stretch of a tensor: elements [first, first + count) of it. Tensors that are not trained stay.
template <class D, class T>
void update_tensor(D& d, const OptimizerConfig& config, const TensorInfo& info, const TensorUpdate& update,
                   const OptimizerState<T>& state, std::size_t first, std::size_t count) {
  if (!info.trained) return;
  const bool decays = config.decay_scope == DecayScope::all || !info.exempt_from_decay();
  const AdamStep step = adam_step(config, update.lr, update.count, update.gradient_scale, decays);
  const std::size_t at = info.offset + first;
  device::adam(d, count, step, state.gradient + at, state.m + at, state.v + at, state.parameters + at);
}

/// The teacher's step for the same stretch (data2vec, section 3.2): teacher <- decay teacher + (1 - decay) student;
/// what is not trained, or what the teacher `copies`, is copied. A decay of 1 leaves everything as it is.
template <class D, class T>
void follow_tensor(D& d, const TensorInfo& info, double decay, const T* student, T* teacher, std::size_t first,
                   std::size_t count, bool copies = false) {
  if (decay >= 1) return;
  const std::size_t at = info.offset + first;
  if (info.trained && !copies) device::moving_average(d, count, decay, student + at, teacher + at);
  else device::copy(d, count, student + at, teacher + at);
}

}  // namespace data2vec::inline v0
