// SPDX-License-Identifier: MIT
// Initial values of a struct of tensors, from its table.
#pragma once

#include <cmath>

#include <data2vec/core/parameter.hpp>
#include <data2vec/core/random.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// The distribution of a tensor, `mae_init` taken into account: linears Xavier-uniform, their biases zero.
constexpr Init effective_init(const TensorInfo& info, bool mae_init) {
  if (!mae_init || !info.init.linear) return info.init;
  return info.rank == 2 ? init::xavier(info.shape[1], info.shape[0]) : init::zeros();
}

inline float draw_value(Rng& rng, const Init& init) {
  const auto scale = static_cast<float>(init.scale);
  switch (init.kind) {
    case Distribution::constant: return scale;
    case Distribution::normal: return scale * rng.normal();
    case Distribution::uniform: return scale * (2 * rng.uniform() - 1);
    case Distribution::truncated_normal: {  // cut at two units, as the reference's head: further than its tails reach
      float value = 0;
      do value = scale * rng.normal();
      while (std::fabs(value) > 2);
      return value;
    }
    case Distribution::zeros:
    case Distribution::fixed: break;
  }
  return 0;
}

}  // namespace detail

/// Fills the buffer of a struct: every tensor by its `Init` (fixed tensors with zero), the gaps with zero. Tensor i
/// draws from a stream of its own, so a value depends on the seed, the tensor's index and the element alone.
template <class P, class T>
void initialise_tensors(T* buffer, std::uint64_t seed, bool mae_init) {
  for (std::size_t i = 0; i < buffer_size<P>; ++i) buffer[i] = 0;
  std::uint32_t index = 0;
  for (const TensorInfo& info : tensor_table<P>) {
    const Init init = detail::effective_init(info, mae_init);
    Rng rng({.seed = seed, .sample = index++, .site = Site::initialise});
    const int last = info.rank > 0 ? info.shape[static_cast<std::size_t>(info.rank - 1)] : 1;
    const auto width = static_cast<std::size_t>(last);
    for (std::size_t i = 0; i < info.size; ++i) {
      const float value = detail::draw_value(rng, init);
      const bool zero = init.zero_row >= 0 && i / width == static_cast<std::size_t>(init.zero_row);
      buffer[info.offset + i] = static_cast<T>(zero ? 0 : value);
    }
  }
}

}  // namespace data2vec::inline v0
