// SPDX-License-Identifier: MIT
// What CTC fine-tuning needs around device::ctc: the labels of a batch in one block, and targets checked before the
// first step, by name.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/device/ctc.hpp>

namespace data2vec::inline v0 {

/// Throws MismatchError, beginning with `name` (the utterance, or file and line of its transcript), where CTC cannot
/// learn `labels` from `frames` frames: no label at all, one that is not a class or the blank, more than fit.
inline void check_ctc_target(const std::string& name, std::span<const std::int32_t> labels, std::int64_t frames,
                             int classes, int blank = 0) {
  const auto fail = [&](const std::string& text) { throw MismatchError(name + ": " + text); };
  if (labels.empty()) fail("transcript: expected letters, found none");
  for (const std::int32_t label : labels)
    if (label < 0 || label >= classes || label == blank)
      fail("label: expected 0 to " + std::to_string(classes - 1) + " without the blank " + std::to_string(blank) +
           ", found " + std::to_string(label));
  const int needed = ctc_frames_needed(labels.data(), static_cast<int>(labels.size()));
  if (needed > frames)
    fail("transcript of " + std::to_string(labels.size()) + " letters: expected " + std::to_string(needed) +
         " frames or more, found " + std::to_string(frames));
}

/// Whether check_ctc_target finds nothing.
inline bool ctc_target_fits(std::span<const std::int32_t> labels, std::int64_t frames, int classes, int blank = 0) {
  const auto is_label = [&](std::int32_t label) { return label >= 0 && label < classes && label != blank; };
  return !labels.empty() && std::all_of(labels.begin(), labels.end(), is_label) &&
         ctc_frames_needed(labels.data(), static_cast<int>(labels.size())) <= frames;
}

/// The targets of a batch with the workspace for its loss. Nothing is allocated after the constructor.
class CtcBatch {
 public:
  /// Room for `rows` targets of up to `most_labels` labels over up to `frames` frames.
  CtcBatch(int rows, int frames, int most_labels)
      : rows_(rows),
        frames_(frames),
        most_labels_(most_labels),
        targets_(static_cast<std::size_t>(rows) * static_cast<std::size_t>(most_labels)),
        target_lengths_(static_cast<std::size_t>(rows)),
        input_lengths_(static_cast<std::size_t>(rows)),
        workspace_(ctc_workspace_size(frames, most_labels)) {}

  int rows() const { return rows_; }
  int frames() const { return frames_; }
  int most_labels() const { return most_labels_; }

  /// The target of a row and its valid frames. Throws MismatchError where there is no room.
  void set(int row, std::span<const std::int32_t> labels, int valid_frames) {
    expect(row >= 0 && row < rows_, "row", rows_ - 1, row);
    expect(labels.size() <= static_cast<std::size_t>(most_labels_), "labels", most_labels_,
           static_cast<std::int64_t>(labels.size()));
    expect(valid_frames >= 0 && valid_frames <= frames_, "frames", frames_, valid_frames);
    const auto at = static_cast<std::size_t>(row);
    std::copy(labels.begin(), labels.end(), targets_.begin() + row * static_cast<std::ptrdiff_t>(most_labels_));
    target_lengths_[at] = static_cast<std::int32_t>(labels.size());
    input_lengths_[at] = valid_frames;
  }

  /// Labels of all rows: the sample size of the reference unless sentences are averaged.
  std::int64_t labels() const {
    std::int64_t sum = 0;
    for (const std::int32_t length : target_lengths_) sum += length;
    return sum;
  }

  /// Loss of the first `rows` rows of logits (rows, frames, classes) and, unless null, weight * its derivative and the
  /// loss of each row: device::ctc with the targets that were set.
  template <int classes, Device D, class T>
  CtcSums loss(D& d, int rows, const T* logits, const CtcOptions& options, double weight, double* losses,
               Out<T> dlogits) {
    expect(rows >= 0 && rows <= rows_, "rows", rows_, rows);
    return device::ctc<classes>(d, rows, frames_, logits, input_lengths_.data(), most_labels_, targets_.data(),
                                target_lengths_.data(), options, weight, losses, dlogits, workspace_.data());
  }

 private:
  static void expect(bool good, const char* what, int most, std::int64_t found) {
    if (!good)
      throw MismatchError(std::string("CtcBatch: ") + what + ": expected 0 to " + std::to_string(most) + ", found " +
                          std::to_string(found));
  }

  int rows_, frames_, most_labels_;
  Buffer<std::int32_t> targets_, target_lengths_, input_lengths_;
  Buffer<double> workspace_;
};

}  // namespace data2vec::inline v0
