// SPDX-License-Identifier: MIT
// The processor as a device. Kernels carry the instruction set in their type, so translation units that are compiled
// with other flags never share a symbol.
#pragma once

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace isa {
/// Vectors of 16 bytes: SSE2, NEON, or whatever the compiler makes of them.
struct Portable {
  static constexpr int vector_bytes = 16;
  static constexpr const char* name = "portable";
};
/// x86-64-v3: AVX2 and FMA.
struct Avx2 {
  static constexpr int vector_bytes = 32;
  static constexpr const char* name = "avx2";
};
/// x86-64-v4: AVX-512 F, DQ, BW and VL.
struct Avx512 {
  static constexpr int vector_bytes = 64;
  static constexpr const char* name = "avx512";
};

/// The best set that this translation unit is compiled for.
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
using Native = Avx512;
#elif defined(__AVX2__) && defined(__FMA__)
using Native = Avx2;
#else
using Native = Portable;
#endif
}  // namespace isa

/// One thread of the processor. It holds nothing: kernels allocate nothing and keep no state.
template <class Isa>
struct BasicCpu {
  static constexpr bool is_device = true;
  using isa = Isa;
};

using Cpu = BasicCpu<isa::Native>;

}  // namespace data2vec::inline v0
