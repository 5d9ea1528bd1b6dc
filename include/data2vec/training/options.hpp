// SPDX-License-Identifier: MIT
// What can be changed from run to run without recompiling.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <data2vec/layers/dropout.hpp>
#include <data2vec/objective/branch.hpp>
#include <data2vec/training/ema.hpp>
#include <data2vec/training/optimizer.hpp>
#include <data2vec/training/schedule.hpp>

namespace data2vec::inline v0 {

/// What may differ from branch to branch of a model.
struct BranchOptions {
  DropoutRates rates = {};
  LossWeights loss = {};
  double mask_noise_std = 0.01;
};

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
  std::vector<BranchOptions> others = {};  ///< of the second branch, the third, ...; absent: as the first's above

  /// Those of branch `i`.
  BranchOptions of_branch(int i) const {
    if (i > 0 && static_cast<std::size_t>(i) <= others.size()) return others[static_cast<std::size_t>(i - 1)];
    return {rates, loss, mask_noise_std};
  }

  /// The rates and weights of a model's configuration, the rest as above.
  template <class Model, int branch = 0>
  static TrainerOptions of() {
    using B = typename Model::template BranchAt<branch>;
    constexpr Config c = Model::config;
    constexpr ModalityConfig m = B::M::config;
    TrainerOptions options;
    options.rates = {.encoder_dropout = c.encoder_dropout,
                     .post_mlp_drop = c.post_mlp_drop,
                     .attention_dropout = c.attention_dropout,
                     .activation_dropout = c.activation_dropout,
                     .dropout_input = c.dropout_input,
                     .layerdrop = c.layerdrop,
                     .start_drop_path_rate = c.start_drop_path_rate,
                     .end_drop_path_rate = c.end_drop_path_rate,
                     .prenet_dropout = m.prenet_dropout,
                     .prenet_layerdrop = m.prenet_layerdrop,
                     .prenet_start_drop_path_rate = m.start_drop_path_rate,
                     .prenet_end_drop_path_rate = m.end_drop_path_rate,
                     .decoder_input_dropout = B::Dec::config.input_dropout};
    if constexpr (B::has_shared) options.rates.shared_decoder_input_dropout = B::SharedDec::config.input_dropout;
    if constexpr (requires { B::M::embedding_dropout; }) options.rates.embedding_dropout = B::M::embedding_dropout;
    options.loss = {c.d2v_loss, c.cls_loss, c.recon_loss};
    options.mask_noise_std = m.mask_noise_std;
    if constexpr (branch == 0 && Model::branches > 1)
      [&]<int... i>(std::integer_sequence<int, i...>) {
        (options.others.push_back(of<Model, i + 1>().of_branch(0)), ...);
      }(std::make_integer_sequence<int, Model::branches - 1>{});
    return options;
  }
};

}  // namespace data2vec::inline v0
