// SPDX-License-Identifier: MIT
// What every system counts of itself: operations of a step, elements of parts of its parameters.
#pragma once

#include <cstddef>

#include <data2vec/core/parameter.hpp>

namespace data2vec::inline v0 {

/// Floating-point operations of one training step per sample, by part. A multiply and an add count as two. Counted are
/// matrix products, convolutions (zero padding included) and the products of attention, as the mathematics asks for
/// them; not counted are norms, softmax, element-wise work, losses and the update. No block is skipped by layer drop.
struct StepFlops {
  double local = 0;    ///< the student's local encoder, forward and backward; its input needs no gradient
  double teacher = 0;  ///< forward alone, on all tokens: local encoder if the teacher owns one, positions, blocks
  double student = 0;  ///< positions, prenet and shared blocks of all masks, forward and backward
  double decoder = 0;  ///< decoder and pixel reconstruction of all masks, forward and backward
  constexpr double total() const { return local + teacher + student + decoder; }
};

namespace detail {

/// Elements of the tensors of P whose names fulfil `condition`.
template <class P, class F>
constexpr std::size_t elements_where(F&& condition) {
  std::size_t elements = 0;
  for (const TensorInfo& info : tensor_table<P>)
    if (condition(info.name.view())) elements += info.size;
  return elements;
}

}  // namespace detail
}  // namespace data2vec::inline v0
