// SPDX-License-Identifier: MIT
// Elements of arrays: float or bfloat16 in memory, fp32 in registers; several at a time where they are aligned.
#pragma once

#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>

#include <data2vec/core/macros.hpp>

namespace data2vec::inline v0::detail::gpu {

D2V_HD inline float to_float(float x) { return x; }
D2V_HD inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
D2V_HD inline T from_float(float x) {
  if constexpr (sizeof(T) == 4)
    return x;
  else
    return __float2bfloat16(x);
}
D2V_HD inline void put(float& to, float x) { to = x; }
D2V_HD inline void put(__nv_bfloat16& to, float x) { to = __float2bfloat16(x); }

/// n elements that are read and written at once.
template <class T, int n>
struct alignas(sizeof(T) * n) Pack {
  T element[n];
};

/// As many as a thread reads at once: 16 bytes of a whole array, or of rows of C.
template <class T>
inline constexpr int pack_size = 16 / sizeof(T);
template <int C, class T>
inline constexpr int row_pack = C % pack_size<T> == 0 ? pack_size<T> : C % 4 == 0 ? 4 : 1;

/// n values from n elements at p, which is aligned to all of them.
template <int n, class T>
D2V_HD inline void load(const T* p, float (&x)[n]) {
  const auto pack = *reinterpret_cast<const Pack<T, n>*>(p);
  for (int i = 0; i < n; ++i) x[i] = to_float(pack.element[i]);
}
template <int n, class T>
D2V_HD inline void store(T* p, const float (&x)[n]) {
  Pack<T, n> pack;
  for (int i = 0; i < n; ++i) put(pack.element[i], x[i]);
  *reinterpret_cast<Pack<T, n>*>(p) = pack;
}

/// Statistics are kept in fp32, in half precision in the room of two elements each.
template <class T>
auto numbers(T* stats) {
  using Number = std::conditional_t<std::is_const_v<T>, const float, float>;
  return reinterpret_cast<Number*>(stats);
}

/// Whether all of the pointers are null or aligned to n elements.
template <int n, class... T>
bool aligned_to(const T*... p) {
  return ((reinterpret_cast<std::uintptr_t>(p) % (sizeof(T) * n) == 0) && ...);
}

/// The sum over the lanes of a warp, the same bits in each: a butterfly adds in the same order everywhere.
template <class A>
__device__ inline A warp_sum(A x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, offset);
  return x;
}
__device__ inline float warp_max(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, offset));
  return x;
}

}  // namespace data2vec::inline v0::detail::gpu
