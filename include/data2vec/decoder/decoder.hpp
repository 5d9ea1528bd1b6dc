// SPDX-License-Identifier: MIT
// The extension point for decoders: what predicts the teacher's targets at hidden positions from what the student saw.
#pragma once

#include <concepts>

#include <data2vec/core/check.hpp>
#include <data2vec/core/parameter.hpp>
#include <data2vec/layers/stack.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// The numbers that shape a decoder's network.
struct DecoderShape {
  int dim;            ///< D, width of the encoder
  Grid grid;          ///< arrangement of the T tokens
  int visible;        ///< V
  int masked;         ///< R
  double mlp_ratio;   ///< of the encoder's blocks
  NormOrder order;    ///< of the encoder's blocks
  double norm_eps;
  bool norm_affine;
  bool padded = false;  ///< the exact rule of padding holds: `DecoderInput::valid` is there and must be heeded

  constexpr int tokens() const { return grid.size(); }
};

/// What a decoder is given for N rows.
template <class T>
struct DecoderInput {
  const T* tokens = nullptr;  ///< sees_all: (N, T, D), noise at hidden positions; else the visible tokens (N, V, D)
  const T* positions = nullptr;     ///< fixed positions (T, D), null if the modality has none
  const int* visible = nullptr;     ///< (N, V) visible positions, ascending
  const int* masked = nullptr;      ///< (N, R) hidden positions, ascending
  const int* masked_rows = nullptr; ///< (N, R) the same as rows of an (N * T, ...) array
  const int* valid = nullptr;       ///< padded: (N) tokens that are not padding; unused hidden rows are negative
};

/// A decoder has:
///   config            a DecoderConfig: input dropout, added positions
///   sees_all          whether its input is all T tokens (noise at the hidden ones) or the visible tokens alone
///   handles_padding   (may be absent) true if its networks heed `DecoderShape::padded`
///   Network<shape>    Parameters<T>, Tape<T, N>, flops_per_row, and backward_flops_per_row unless it is twice that,
///                     forward(pass, parameters, input, prediction (N, R, D), tape),
///                     backward(pass, parameters, input, dprediction (destroyed), dtokens (overwritten), gradient,
///                     tape).
template <class X>
concept Decoder = requires {
  { X::config } -> std::convertible_to<DecoderConfig>;
  { X::sees_all } -> std::convertible_to<bool>;
};

}  // namespace data2vec::inline v0
