// SPDX-License-Identifier: MIT
// Adam and the teacher's moving average on the GPU, and both at once with clipping over whole buffers of parameters.
#pragma once

#include <data2vec/device/adam.hpp>
#include <data2vec/device/cuda/elementwise.cuh>
#include <data2vec/device/cuda/math.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

inline AdamFactors adam_factors(const AdamStep& s) {
  const auto f = [](double x) { return static_cast<float>(x); };
  return {f(s.gradient_scale), f(s.beta1), f(1 - s.beta1), f(s.beta2), f(1 - s.beta2), f(s.eps), f(s.step), f(s.decay)};
}

template <class T>
struct AdamElements {
  AdamFactors factors;
  const T* gradient;
  T *m, *v, *p;
  __device__ void operator()(std::size_t i) const {
    float first = to_float(m[i]), second = to_float(v[i]), value = to_float(p[i]);
    adam_element(factors, to_float(gradient[i]), first, second, value);
    put(m[i], first);
    put(v[i], second);
    put(p[i], value);
  }
};

struct MovingAverage {
  float keep, take;
  D2V_HD float operator()(float student, float teacher) const {
    return moving_average_element(keep, take, student, teacher);
  }
};

}  // namespace detail::gpu

/// A stretch of a buffer of parameters, and what an update does to it.
struct UpdatePiece {
  std::size_t first = 0;
  int count = 0;
  bool trained = false, decays = false;           ///< Adam moves it; with weight decay
  bool follows = false, follows_by_copy = false;  ///< the teacher owns it; it copies it
  int group = 0;                                  ///< whose numbers it takes
  double lr_scale = 1;                            ///< on the learning rate of its group
};

/// The numbers of one fused update, for one group of pieces. The step is that of AdamStep, the clipping that of
/// `clip_factor`.
struct FusedUpdate {
  bool moves = true;  ///< Adam moves what is trained
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, step = 0, decay = 0, clip_norm = 0, ema_decay = 1;
  double gradient_scale = 1;  ///< on the gradient, before its norm is clipped

  static FusedUpdate of(const AdamStep& s, double clip_norm, double ema_decay = 1, bool moves = true) {
    return {moves, s.beta1, s.beta2, s.eps, s.step, s.decay, clip_norm, ema_decay};
  }
};

/// What an update changes: fp32 buffers of device memory, and copies in the arithmetic of the step, or null.
template <class Number>
struct UpdateState {
  float *m, *v, *student, *teacher;
  Number *student_copy = nullptr, *teacher_copy = nullptr;
};

namespace detail::gpu {

/// One block per piece. Nothing happens where the gradient's norm, from its squares, is not finite.
template <class G>
__global__ void fused_update(const UpdatePiece* pieces, const FusedUpdate* update, const double* squares,
                             const G* gradient, UpdateState<G> to) {
  const UpdatePiece piece = pieces[blockIdx.x];
  const FusedUpdate u = update[piece.group];
  const double norm = u.gradient_scale * sqrt(*squares);
  if (!isfinite(norm)) return;
  const double clip = u.gradient_scale * (u.clip_norm > 0 ? fmin(1.0, u.clip_norm / (norm + 1e-6)) : 1.0);
  const AdamFactors f = {static_cast<float>(clip),        static_cast<float>(u.beta1),
                         static_cast<float>(1 - u.beta1), static_cast<float>(u.beta2),
                         static_cast<float>(1 - u.beta2), static_cast<float>(u.eps),
                         static_cast<float>(u.step * piece.lr_scale),
                         piece.decays ? static_cast<float>(u.decay * piece.lr_scale) : 0.0f};
  const auto keep = static_cast<float>(u.ema_decay), take = static_cast<float>(1 - u.ema_decay);
  const bool follows = piece.follows && u.ema_decay < 1;
  for (int i = static_cast<int>(threadIdx.x); i < piece.count; i += static_cast<int>(blockDim.x)) {
    const std::size_t at = piece.first + i;
    float p = to.student[at];
    if (piece.trained && u.moves) {
      adam_element(f, to_float(gradient[at]), to.m[at], to.v[at], p);
      to.student[at] = p;
      if (to.student_copy) put(to.student_copy[at], p);
    }
    if (follows) {
      const float t = piece.follows_by_copy ? p : moving_average_element(keep, take, p, to.teacher[at]);
      to.teacher[at] = t;
      if (to.teacher_copy) put(to.teacher_copy[at], t);
    }
  }
}

}  // namespace detail::gpu

template <Precision P>
struct kernel::Adam<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <class T>
  static void update(D& d, std::size_t count, const AdamStep& step, const T* gradient, T* m, T* v, T* parameters) {
    d.for_each("adam", count,
               detail::gpu::AdamElements<T>{detail::gpu::adam_factors(step), gradient, m, v, parameters});
  }
  template <class T>
  static void moving_average(D& d, std::size_t count, double decay, const T* student, T* teacher) {
    detail::gpu::map(d, "moving_average", count,
                     detail::gpu::MovingAverage{static_cast<float>(decay), static_cast<float>(1 - decay)}, teacher,
                     student, static_cast<const T*>(teacher));
  }

  /// Clipping, Adam and the teacher's step in one pass over `pieces` (device memory, `count` of them): the numbers are
  /// read from `update`, one for each group, and the gradient's squared norm from `squares` (device memory too) when the
  /// kernel runs. Where the norm is not finite nothing changes.
  template <class G>
  static void fused(D& d, int count, const UpdatePiece* pieces, const FusedUpdate* update, const double* squares,
                    const G* gradient, const UpdateState<G>& to) {
    d.launch("clip, Adam and moving average", static_cast<unsigned>(count), 256, 0, &detail::gpu::fused_update<G>,
             pieces, update, squares, gradient, to);
  }
};

}  // namespace data2vec::inline v0
