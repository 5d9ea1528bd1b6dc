// SPDX-License-Identifier: MIT
// What a training step takes and tells, on every device: the batch, the report, and the trainer that devices specialise.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// A batch in memory. The ids name the samples for good: all that is random about a sample follows from its id.
template <class T = float>
struct Batch {
  std::span<const T> samples;          ///< (n, sample_size)
  std::span<const std::uint32_t> ids;  ///< (n)
  std::span<const T> targets = {};     ///< (n, sample_size), another view for the teacher; empty: the same
  std::span<const int> lengths = {};   ///< (n), with padding: elements of each sample that are none; empty: all of
                                       ///< them, of texts what stands in front of their padding tokens
};

/// A number of a step that only some objectives have.
struct ReportTerm {
  const char* name = nullptr;
  double value = 0;
};

/// What a step did. With accumulation, losses and deviations are those of the update's micro-batches so far.
struct StepReport {
  std::int64_t update = 0;   ///< updates before this one
  double loss = 0;           ///< all terms, per hidden position
  double regression = 0, cls = 0, recon = 0;
  double shared = 0;         ///< the regression of the shared decoder, if there is one
  double sample_size = 0;    ///< hidden positions in the batch
  double target_var = 0;     ///< mean over channels of the standard deviation of targets at hidden positions
  double pred_var = 0;       ///< the same of predictions; near zero: collapse
  double shared_pred_var = 0;  ///< of the shared decoder's
  int branch = 0;            ///< of the model, whose step it was
  double gradient_norm = 0;  ///< before clipping; 0 while micro-batches are to come
  double learning_rate = 0;
  double ema_decay = 0;      ///< used for the teacher after this update
  bool skipped = false;      ///< the gradient was not finite: no parameter was changed
  bool updated = false;      ///< the weights changed; neither this nor `skipped`: more micro-batches are to come
  std::array<ReportTerm, 8> terms{};  ///< further numbers of the objective, up to the first without a name

  void add_term(const char* name, double value) {
    for (ReportTerm& term : terms)
      if (!term.name) {
        term = {name, value};
        return;
      }
  }
};

/// Mean over channels of sqrt(unbiased variance + 1e-6), from sums and sums of squares of `rows` rows.
inline double mean_deviation(const double* sum, const double* squares, int channels, double rows) {
  double total = 0;
  for (int c = 0; c < channels; ++c) {
    const double variance = (squares[c] - sum[c] * sum[c] / rows) / (rows - 1);
    total += std::sqrt((variance > 0 ? variance : 0) + 1e-6);
  }
  return total / channels;
}

/// Samples per chunk: enough that products have some 320 rows or more, beside which packing the weights costs little.
template <class Branch>
inline constexpr int default_chunk = [] {
  const int rows = Branch::masks * (Branch::E + Branch::V);
  int chunk = 1;
  while (chunk < 8 && chunk * rows < 320) chunk *= 2;
  return chunk;
}();

/// The buffers of a training, of one layout, and what else changes from update to update.
struct TrainingState {
  float *weights, *teacher, *m, *v;
  std::int64_t* updates;
  std::span<std::int64_t> branch_updates = {};  ///< of each branch, if there are several
};

template <class Model, class Device, int chunk = default_chunk<typename Model::First>>
class Trainer;

}  // namespace data2vec::inline v0
