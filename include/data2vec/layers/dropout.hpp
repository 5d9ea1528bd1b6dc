// SPDX-License-Identifier: MIT
// How a pass runs: on which device, and, in training, with which random draws and dropout rates.
#pragma once

#include <data2vec/device/dropout.hpp>

namespace data2vec::inline v0 {

/// Dropout rates at run time. Only those that are not zero in the configuration have code to act on.
struct DropoutRates {
  double encoder_dropout = 0, post_mlp_drop = 0, attention_dropout = 0, activation_dropout = 0;
  double dropout_input = 0, layerdrop = 0, start_drop_path_rate = 0, end_drop_path_rate = 0;
  double prenet_dropout = 0, prenet_layerdrop = 0, prenet_start_drop_path_rate = 0, prenet_end_drop_path_rate = 0;
  double decoder_input_dropout = 0, shared_decoder_input_dropout = 0, embedding_dropout = 0;
};

/// Which update of which training run, and whose rows these are: row r is mask first_mask + r % masks of
/// sample_ids[r / masks].
struct Draws {
  std::uint64_t seed = 0;
  std::uint32_t update = 0;
  const std::uint32_t* sample_ids = nullptr;
  int masks = 1;
  std::uint32_t first_layer = 0;  ///< added to layer indices: keeps two passes of one step apart
  int first_mask = 0;

  constexpr DropoutDraws at(Site site, std::uint32_t layer, double rate) const {
    return {seed, update, sample_ids, masks, site, first_layer + layer, rate, first_mask};
  }
};

/// A pass through layers. `training` is part of the type: evaluation has no trace of dropout.
template <Device D, bool is_training>
struct Pass {
  static constexpr bool training = is_training;
  D& device;
  Draws draws = {};
  DropoutRates rates = {};
};

template <Device D>
Pass(D&) -> Pass<D, false>;

/// Linear from `first` at block 0 to `last` at block `depth - 1`, as stochastic depth is spread over a stack.
constexpr double spread_rate(double first, double last, int block, int depth) {
  return depth <= 1 ? first : first + (last - first) * block / (depth - 1);
}

/// Whether a block is skipped in this update (layer drop; Fan et al., 2020): one draw for the whole batch.
constexpr bool layer_dropped(const Draws& draws, int layer, double rate) {
  const DrawKey key{draws.seed, draws.update, 0, 0, Site::layerdrop,
                    draws.first_layer + static_cast<std::uint32_t>(layer)};
  return unit_float(draw(key, 0)[0]) < rate;
}

}  // namespace data2vec::inline v0
