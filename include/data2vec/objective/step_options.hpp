// SPDX-License-Identifier: MIT
// What may differ from run to run in a step of a branch: dropout rates, loss weights, noise; and what watches a step.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <data2vec/layers/dropout.hpp>
#include <data2vec/model/config.hpp>
#include <data2vec/objective/loss_sums.hpp>

namespace data2vec::inline v0 {

/// Sees intermediate values of a step: `observe("targets", index, pointer, count)`. The default sees nothing.
struct NoObserver {
  template <class T>
  void operator()(const char*, int, const T*, std::size_t) const {}
};

/// What wav2vec 2.0 may change from run to run.
struct ContrastOptions {
  double logit_temp = 0.1;                              ///< temperature of the cosines
  std::array<double, 3> latent_temp{2, 0.5, 0.999995};  ///< of the quantiser: first, last, factor per update
  double diversity_weight = 0, features_pen_weight = 0; ///< those that are zero in the configuration have no effect
  double dropout_features = 0;                          ///< likewise

  /// The quantiser's temperature in an update: max(first * factor^update, last).
  double latent_temp_at(std::int64_t update) const {
    return std::max(latent_temp[0] * std::pow(latent_temp[2], static_cast<double>(update)), latent_temp[1]);
  }
};

/// What may differ from branch to branch of a model.
struct BranchOptions {
  DropoutRates rates = {};
  LossWeights loss = {};
  double mask_noise_std = 0.01;
  ContrastOptions contrast = {};
  std::vector<std::uint8_t> begins_word = {};  ///< by token id, for masks of whole words: whether it begins a word
};

/// The rates that an encoder's configuration and its modality's give.
template <Config c, class M>
DropoutRates encoder_rates() {
  constexpr ModalityConfig m = M::config;
  DropoutRates rates{.encoder_dropout = c.encoder_dropout,
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
                     .prenet_end_drop_path_rate = m.end_drop_path_rate};
  if constexpr (requires { M::embedding_dropout; }) rates.embedding_dropout = M::embedding_dropout;
  return rates;
}

}  // namespace data2vec::inline v0
