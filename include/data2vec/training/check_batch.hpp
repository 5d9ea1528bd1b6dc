// SPDX-License-Identifier: MIT
// What a batch must be for a branch of a model, whatever trains it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/training/step_report.hpp>

namespace data2vec::inline v0 {

/// Throws OptionError unless samples, targets and lengths are those of as many samples as there are ids: whole ones,
/// tokens of the vocabulary, lengths that the modality has.
template <class Branch, class Sample>
void check_batch(const Batch<Sample>& batch) {
  using M = typename Branch::M;
  const std::size_t n = batch.ids.size();
  const auto check = [n](std::span<const Sample> part) {
    if (part.size() != n * M::sample_size)
      throw OptionError("batch of " + std::to_string(n) + " samples: expected " + std::to_string(n * M::sample_size) +
                        " numbers, found " + std::to_string(part.size()));
    if constexpr (requires { M::vocab_size; })
      for (const auto id : part)
        if (id < 0 || id >= M::vocab_size)
          throw OptionError("batch: expected token ids below " + std::to_string(M::vocab_size) + ", found " +
                            std::to_string(id));
  };
  check(batch.samples);
  if (!batch.targets.empty()) check(batch.targets);
  if (!batch.lengths.empty() && batch.lengths.size() != n)
    throw OptionError("batch: expected as many lengths as samples, " + std::to_string(n) + ", found " +
                      std::to_string(batch.lengths.size()));
  for (const int length : batch.lengths)
    if (length < (Branch::padded ? 1 : M::sample_size) || length > M::sample_size)
      throw OptionError("batch: expected lengths " + std::string(Branch::padded ? "from 1 to " : "of ") +
                        std::to_string(M::sample_size) +
                        (Branch::padded ? "" : " (ModalityConfig::padding is Padding::none)") + ", found " +
                        std::to_string(length));
}

/// How much of sample `at` is no padding.
template <class Branch, class Sample>
int sample_length(const Batch<Sample>& batch, std::size_t at) {
  using M = typename Branch::M;
  if (!batch.lengths.empty()) return batch.lengths[at];
  if constexpr (requires { M::length_of(batch.samples.data()); })
    return std::max(1, M::length_of(batch.samples.data() + at * M::sample_size));
  return M::sample_size;
}

}  // namespace data2vec::inline v0
