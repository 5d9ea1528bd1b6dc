// SPDX-License-Identifier: MIT
// Connectionist temporal classification (Graves et al., "Connectionist Temporal Classification", ICML 2006): minus the
// log probability of all ways to spread a label sequence over the frames.
#pragma once

#include <cstddef>
#include <cstdint>

#include <data2vec/core/macros.hpp>
#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Ctc;
}

struct CtcOptions {
  int blank = 0;              ///< the class that stands for no label
  bool zero_infinity = true;  ///< a target that does not fit into its frames costs nothing; else its loss is infinite
};

/// Sums of a CTC loss.
struct CtcSums {
  double loss = 0;            ///< summed over rows
  int impossible = 0;         ///< rows whose target does not fit into its frames
  int first_impossible = -1;  ///< the first of them
};

/// Frames that a target needs: one for each label, and a blank between equal neighbours.
D2V_HD constexpr int ctc_frames_needed(const std::int32_t* target, int length) {
  int frames = length;
  for (int i = 1; i < length; ++i) frames += target[i] == target[i - 1];
  return frames;
}

/// States of a target's paths: 0, 2, 4, ... are blanks, state 2 i + 1 is label i. A path starts in one of the first two
/// states, ends in one of the last two, and from state s goes to s, s + 1 or, past a blank between different labels, to
/// s + 2 (Graves et al., section 4.1).
D2V_HD constexpr int ctc_states(int labels) { return 2 * labels + 1; }
D2V_HD constexpr int ctc_symbol(const std::int32_t* target, int s, int blank) {
  return s % 2 == 0 ? blank : target[s / 2];
}
/// Whether state s is reached from s - 2.
D2V_HD constexpr bool ctc_skips(const std::int32_t* target, int s) {
  return s % 2 == 1 && s >= 3 && target[s / 2] != target[s / 2 - 1];
}

/// Doubles that device::ctc needs for rows of up to `frames` frames and targets of up to `most_labels` labels.
D2V_HD constexpr std::size_t ctc_workspace_size(int frames, int most_labels) {
  const auto t = static_cast<std::size_t>(frames), s = 2 * static_cast<std::size_t>(most_labels) + 1;
  return t * s + 2 * s + t;
}

namespace device {

/// Losses and gradients of `rows` sequences of logits (rows, frames, classes): row b has `input_lengths[b]` valid
/// frames (0 .. frames) and the labels targets[b * most_labels + i], i < target_lengths[b] <= most_labels, none of them
/// blank. `losses` (rows), unless null, receives the loss of each. dlogits = weight * derivative, overwritten, zero
/// behind the valid frames and for impossible targets, unless null. `workspace`: ctc_workspace_size(frames,
/// most_labels) doubles. Sums are taken in log space and double.
template <int classes, Device D, class T>
CtcSums ctc(D& d, int rows, int frames, const T* logits, const std::int32_t* input_lengths, int most_labels,
            const std::int32_t* targets, const std::int32_t* target_lengths, const CtcOptions& options, double weight,
            double* losses, Out<T> dlogits, double* workspace) {
  return kernel::Ctc<D>::template run<classes, T>(d, rows, frames, logits, input_lengths, most_labels, targets,
                                                  target_lengths, options, weight, losses, dlogits, workspace);
}

}  // namespace device
}  // namespace data2vec::inline v0
