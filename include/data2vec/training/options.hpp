// SPDX-License-Identifier: MIT
// What can be changed from run to run without recompiling.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <data2vec/objective/step_options.hpp>
#include <data2vec/training/ema.hpp>
#include <data2vec/training/optimizer.hpp>
#include <data2vec/training/schedule.hpp>

namespace data2vec::inline v0 {

struct TrainerOptions {
  Schedule schedule = CosineSchedule{.lr = 1e-3, .warmup_updates = 0, .max_update = 1};
  OptimizerConfig optimizer = {};
  EmaConfig ema = {};
  DropoutRates rates = {};      ///< those that are zero in the model's configuration have no effect
  LossWeights loss = {};        ///< likewise
  double mask_noise_std = 0.01; ///< of the noise that stands for hidden tokens in the decoder's input
  std::uint64_t seed = 1;
  int threads = 0;              ///< 0: as many as the machine has
  int accumulation = 1;         ///< micro-batches of an update: calls of Trainer::step() until the weights change
  ContrastOptions contrast = {}; ///< of wav2vec 2.0
  std::vector<std::uint8_t> begins_word = {};  ///< by token id, for masks of whole words: whether it begins a word
  std::vector<BranchOptions> others = {};  ///< of the second branch, the third, ...; absent: as the first's above

  /// Those of branch `i`.
  BranchOptions of_branch(int i) const {
    if (i > 0 && static_cast<std::size_t>(i) <= others.size()) return others[static_cast<std::size_t>(i - 1)];
    return {rates, loss, mask_noise_std, contrast, begins_word};
  }

  /// What the configuration of a model says, the rest as above.
  template <class Model>
  static TrainerOptions of() {
    TrainerOptions options;
    const BranchOptions first = Model::template BranchAt<0>::options();
    options.rates = first.rates;
    options.loss = first.loss;
    options.mask_noise_std = first.mask_noise_std;
    options.contrast = first.contrast;
    [&]<int... i>(std::integer_sequence<int, i...>) {
      (options.others.push_back(Model::template BranchAt<i + 1>::options()), ...);
    }(std::make_integer_sequence<int, Model::branches - 1>{});
    return options;
  }
};

}  // namespace data2vec::inline v0
