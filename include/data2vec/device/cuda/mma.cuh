// SPDX-License-Identifier: MIT
// Products of a warp on the tensor cores: c (16, 8) += a (16, 16) b (16, 8), bfloat16 in, fp32 out. Lane l has of c the
// elements (l / 4, 2 (l % 4) + {0, 1}) in c[0..1] and those 8 rows further in c[2..3].
#pragma once

#include <cstdint>

#include <data2vec/device/cuda/element.cuh>

namespace data2vec::inline v0::detail::gpu {

using Half = __nv_bfloat16;

/// Four 8 x 8 matrices from shared memory: lane l gives the address of row l % 8 of matrix l / 8, 8 elements each, and
/// receives of each matrix the elements (l / 4, 2 (l % 4) + {0, 1}); `transposed`: those of the transposed matrices.
template <bool transposed = false>
__device__ inline void load_matrices(const Half* row, std::uint32_t (&x)[4]) {
#if defined(__CUDACC__)
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address));
#else
  host_device::load_matrices(transposed, row, x);
#endif
}

/// 16 bytes from device to shared memory, zeros if not `inside`; they are there after `wait_copies`. `from` is an
/// address within the array even where nothing is read.
__device__ inline void copy_pack(Half* to, const Half* from, bool inside) {
#if defined(__CUDACC__)
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(inside ? 16 : 0)
               : "memory");
#else
  *reinterpret_cast<Pack<Half, 8>*>(to) = inside ? *reinterpret_cast<const Pack<Half, 8>*>(from) : Pack<Half, 8>{};
#endif
}
/// Ends a group of copies.
__device__ inline void commit_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Waits until all of this thread's groups but the last `pending` have arrived; other threads' ask for a barrier too.
template <int pending = 0>
__device__ inline void wait_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

/// c += a b.
__device__ inline void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  host_device::multiply_add(c, a, b0, b1);
#endif
}

/// Two neighbours as they lie in memory.
__device__ inline std::uint32_t pack_halves(float low, float high) {
  union {
    Half half[2];
    std::uint32_t word;
  } both = {{from_float<Half>(low), from_float<Half>(high)}};
  return both.word;
}

/// Which row and column of a 16 x 16 block this lane addresses so that `load_matrices` gives the parts of a factor in
/// the order of `multiply_add`.
struct Corner {
  int row, column;
  /// a from (row, k), or two b from (k, column), transposed.
  __device__ static Corner down(int lane) { return {lane % 16, lane / 16 * 8}; }
  /// Two b from (column, k), or a from (k, row), transposed.
  __device__ static Corner across(int lane) { return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8}; }
};

}  // namespace data2vec::inline v0::detail::gpu
