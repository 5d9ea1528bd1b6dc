// SPDX-License-Identifier: MIT
// The extension point for senses: what turns a sample into tokens. Positions, extra tokens, prenet and masks are common
// to all modalities and stand in model/.
#pragma once

#include <concepts>

#include <data2vec/core/parameter.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// A modality has:
///   name          its name in parameter names ("IMAGE")
///   config        a ModalityConfig: extra tokens, prenet, ALiBi
///   grid          the arrangement of its tokens; {1, T} for a sequence
///   sample_size   numbers in one sample
///   fixed_positions   whether 2-D sin-cos positions are added to its tokens
///   LocalEncoder<D>   samples -> tokens of width D: Parameters<T>, Tape<T, B>,
///                     forward(device, parameters, samples (B, sample_size), tokens (B, T, D), tape),
///                     backward(device, parameters, samples, dtokens, gradient, tape), accumulating into gradient,
///                     flops_per_sample, and backward_flops_per_sample unless it is the same (as of one linear layer).
template <class M>
concept Modality = requires {
  { M::name } -> std::convertible_to<const char*>;
  { M::config } -> std::convertible_to<ModalityConfig>;
  { M::grid } -> std::convertible_to<Grid>;
  { M::sample_size } -> std::convertible_to<int>;
  { M::fixed_positions } -> std::convertible_to<bool>;
  typename M::template LocalEncoder<16>::template Parameters<float>;
  typename M::template LocalEncoder<16>::template Tape<float, 1>;
};

}  // namespace data2vec::inline v0
