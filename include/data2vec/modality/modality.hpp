// SPDX-License-Identifier: MIT
// The extension point for senses: what turns a sample into tokens. Positions, extra tokens, prenet and masks are common
// to all modalities and stand in model/.
#pragma once

#include <concepts>

#include <data2vec/core/parameter.hpp>
#include <data2vec/layers/dropout.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

namespace detail {
template <class M, class T>
struct SampleOf {
  using type = T;
};
template <class M, class T>
  requires requires { typename M::Sample; }
struct SampleOf<M, T> {
  using type = typename M::Sample;
};
}  // namespace detail

/// What a sample of a modality is made of: numbers of the model's type unless the modality says otherwise.
template <class M, class T>
using SampleOf = typename detail::SampleOf<M, T>::type;

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
/// and may have:
///   Sample        the type of a sample's elements (std::int32_t for tokens)
///   valid_tokens(length)  if its config has a `padding`: tokens that the first `length` elements of a sample give
///   length_of(sample)     then: the length of a sample (pointer to its elements) that says so itself, as padded text
///   embedding_dropout     the rate of a dropout on its tokens
///   vocab_size            for ids of tokens as samples: all must be below
///   RelativePositions<D>  positions computed from all tokens of a row (layers/conv_positions.hpp)
///   norm_needs_prenet     there: without a prenet there is no norm in front of the shared blocks either
///   LocalEncoder<D>::prefix             what stands before its parameters' names instead of "local_encoder"
///   LocalEncoder<D>::reads_lengths      there: forward and backward take the samples' lengths (B) last, or null
///   LocalEncoder<D>::applies_grad_mult  there: it applies `local_grad_mult` itself, to a part of it
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

/// Dropout on tokens (B, T, D) where the modality has an `embedding_dropout`; its own gradient. Drawn once for all masks
/// of a sample, so that the teacher sees the same tokens.
template <class M, int B, class P, class T, int tokens, int D>
void drop_tokens(const P& pass, View<T, B, tokens, D> x) {
  if constexpr (P::training && requires { M::embedding_dropout; }) {
    if constexpr (M::embedding_dropout > 0) {
      Draws draws = pass.draws;
      draws.masks = 1;
      draws.first_mask = 0;
      const auto at = draws.at(Site::embedding_dropout, 0, pass.rates.embedding_dropout);
      device::dropout(pass.device, B, tokens * D, at, x.data, x.data);
    }
  }
}

}  // namespace data2vec::inline v0
