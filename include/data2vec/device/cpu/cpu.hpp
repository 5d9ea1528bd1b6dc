// SPDX-License-Identifier: MIT
// The processor as a device. Kernels carry the instruction set in their type, so translation units that are compiled
// with other flags never share a symbol.
#pragma once

#include <algorithm>
#include <cstddef>

#include <data2vec/device/cpu/threads.hpp>
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

/// Matrix products of float by OpenBLAS instead of our kernels; everything else as it is.
template <class Isa>
struct WithOpenBlas : Isa {
  static constexpr bool openblas = true;
};

/// The best set that this translation unit is compiled for.
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
using Best = Avx512;
#elif defined(__AVX2__) && defined(__FMA__)
using Best = Avx2;
#else
using Best = Portable;
#endif
#if defined(DATA2VEC_OPENBLAS)
using Native = WithOpenBlas<Best>;
#else
using Native = Best;
#endif
}  // namespace isa

template <class Isa>
inline constexpr bool uses_openblas = requires { Isa::openblas; };

/// One thread of the processor; with a team, all its threads at once: operations are then shared out among them, one
/// fork and join each, and every number is computed by one thread as it is without a team. Kernels allocate nothing and
/// keep no state.
template <class Isa>
struct BasicCpu {
  static constexpr bool is_device = true;
  using isa = Isa;
  ThreadTeam* team = nullptr;
};

using Cpu = BasicCpu<isa::Native>;

namespace detail {

/// f(first, last) over parts of [0, count), multiples of `grain` but for the end, by the threads of the device.
template <class Isa, class F>
void share(BasicCpu<Isa>& d, std::ptrdiff_t count, std::ptrdiff_t grain, F&& f) {
  if (count <= 0) return;
  if (!d.team || d.team->size() == 1 || count <= grain) return f(std::ptrdiff_t{0}, count);
  constexpr int parts_per_thread = 3;  // threads that are held up leave parts to the others
  const std::ptrdiff_t grains = (count + grain - 1) / grain;
  const std::ptrdiff_t parts = std::min<std::ptrdiff_t>(grains, parts_per_thread * d.team->size());
  d.team->for_each_task(static_cast<int>(parts), [&](int, int part) {
    f(grains * part / parts * grain, std::min(count, grains * (part + 1) / parts * grain));
  });
}

}  // namespace detail

}  // namespace data2vec::inline v0
