// SPDX-License-Identifier: MIT
// The extension point for systems of pre-training: what a model type must have so that the trainer, the loop,
// checkpoints, features and fine-tuning take it. One file of this room says what each system is.
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include <data2vec/core/parameter.hpp>
#include <data2vec/objective/step_options.hpp>

namespace data2vec::inline v0 {

/// A model has:
///   system             its name in checkpoints ("mae"), and describe(f), which calls f(name, configuration) for all that
///                      makes the model the one that it is
///   config             the Config of its encoder
///   has_teacher        whether there is a second set of weights that follows the first by a moving average
///   Parameters<T>      all tensors under the reference's names
///   initialise(buffer, seed)
///   branches, BranchAt<i>, First   its steps, one for each sense; First is BranchAt<0>
///   weights<i>(parameters)         what a step of branch i needs of them, a First::Weights<T>
///   flops_per_sample<i>            of a step
///   in_decoder(name)   whether a tensor serves pre-training alone
///   in_teacher(name)   whether the teacher owns a tensor
///   teacher_copies(name)           (may be absent) whether it copies that tensor instead of averaging it
///   branch_of(name)    the branch a tensor belongs to, -1 if all share it
///   receives_gradient(name, i)     in a step of branch i
///   fine_tuning(pools), is_embedding(name)   (may be absent) the encoder's Config in fine-tuning, by whether a norm of
///                                  its own follows the mean of the tokens; what learns as the layer below the blocks
///   EncoderParameters<Enc, T>      for fine-tuning: `blocks`, `norm` and `front()` of the encoder, under the reference's
///                                  names
/// A branch has:
///   M, Enc             the modality, and the Encoder that features and fine-tuning run; its Weights<T> have
///                      `branch.front`, `blocks` and `norm` for it
///   masks, E, V        masks of a sample; extra tokens and tokens of a row of the encoder: what a chunk is sized by
///   padded             whether samples may be shorter than the type
///   positions_per_sample   positions that carry the loss in a full sample: gradients are divided by those of the batch
///   positions_vary     whether other samples have other numbers of them; then positions_of(length) if the length of a
///                      sample tells it, otherwise the step's sums do
///   accumulates        whether micro-batches may be added up
///   Workspace<T, B, G>, Indices<B, G>   values and indices of B samples with G masks of each at a time
///   Sums               sums of the loss over samples: +=, sample_size (positions), report(StepReport&)
///   moment_rows, moment_width   sums and sums of squares per channel of predictions, then targets: 4, or 0 for none
///   options()          BranchOptions as the configurations have them
///   step_by_masks(...) forward and backward of a chunk (see objective/branch.hpp)
///   step_drawn(...), loss_terms, sums_of(terms, options, sample_size)   (may be absent) for a GPU: the same on indices
///                      that are complete, and the sums from the `loss_terms` that its losses left on the device; or
///                      sums_of<B>(terms, options, sample_size, update) of micro-batches of B samples
///   draw(draws, samples, lengths, options, index)   (may be absent) for a GPU too: completes the indices on the host and
///                      returns the positions, where the indices' own draw(draws) cannot
template <class X>
concept Objective = requires(float* buffer, std::uint64_t seed, std::string_view name) {
  typename X::template Parameters<float>;
  typename X::First::Sums;
  { X::branches } -> std::convertible_to<int>;
  { X::has_teacher } -> std::convertible_to<bool>;
  { X::First::positions_per_sample } -> std::convertible_to<int>;
  { X::First::options() } -> std::same_as<BranchOptions>;
  { X::in_teacher(name) } -> std::convertible_to<bool>;
  { X::receives_gradient(name, 0) } -> std::convertible_to<bool>;
  X::initialise(buffer, seed);
};

}  // namespace data2vec::inline v0
