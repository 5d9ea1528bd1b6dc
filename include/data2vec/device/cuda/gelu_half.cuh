// SPDX-License-Identifier: MIT
// GELU where its result is stored as bfloat16: exact in erf to 2e-7 (Abramowitz and Stegun, 7.1.26), which takes one
// exponential for the distribution and the density alike. For float arrays, math.hpp's.
#pragma once

#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/math.hpp>

namespace data2vec::inline v0::detail::gpu {

/// Of the standard normal: its distribution at -|x|, and exp(-x^2 / 2).
struct Bell {
  float tail, height;
  __device__ explicit Bell(float x) {
    const float t = __fdividef(1.0f, fmaf(0.231641888f, fabsf(x), 1.0f));
    height = __expf(-0.5f * x * x);
    float sum = fmaf(t, 0.5307027145f, -0.726576013f);
    sum = fmaf(t, sum, 0.7107068705f);
    sum = fmaf(t, sum, -0.142248368f);
    sum = fmaf(t, sum, 0.127414796f);
    tail = t * sum * height;
  }
};

/// gelu(x) and its derivative, to the precision that arrays of T have.
template <class T>
__device__ inline float gelu_of(float x) {
  if constexpr (sizeof(T) == 4)
    return gelu(x);
  else
    return fmaf(-fabsf(x), Bell(x).tail, fmaxf(x, 0.0f));
}
template <class T>
__device__ inline float gelu_derivative_of(float x) {
  if constexpr (sizeof(T) == 4) {
    return gelu_derivative(x);
  } else {
    const Bell bell(x);
    return fmaf(0.39894228f * x, bell.height, x > 0 ? 1 - bell.tail : bell.tail);
  }
}

}  // namespace data2vec::inline v0::detail::gpu
