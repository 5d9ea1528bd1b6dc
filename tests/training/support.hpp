// SPDX-License-Identifier: MIT
// What the tests of training share: tiny models, and batches whose samples can be learned.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include <data2vec/data2vec.hpp>

namespace training_support {

using namespace data2vec;

inline constexpr Config tiny_config{.embed_dim = 16,
                                    .depth = 2,
                                    .num_heads = 2,
                                    .average_top_k_layers = 2,
                                    .instance_norm_target_layer = true,
                                    .layer_norm_targets = true,
                                    .clone_batch = 2,
                                    .cls_loss = 0.01};
/// The same with everything random that training has.
inline constexpr Config noisy_config = [] {
  Config c = tiny_config;
  c.encoder_dropout = c.post_mlp_drop = c.attention_dropout = c.activation_dropout = c.dropout_input = 0.1;
  c.layerdrop = 0.3;
  c.start_drop_path_rate = 0.1;
  c.end_drop_path_rate = 0.3;
  return c;
}();

inline constexpr ModalityConfig tiny_modality{
    .prenet_depth = 1, .num_extra_tokens = 1, .init_extra_token_zero = false, .ema_local_encoder = true};
inline constexpr ModalityConfig noisy_modality = [] {
  ModalityConfig m = tiny_modality;
  m.prenet_dropout = 0.1;
  m.prenet_layerdrop = 0.3;
  m.start_drop_path_rate = m.end_drop_path_rate = 0.2;
  return m;
}();

template <ModalityConfig M>
using Images = Vision<VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1, .modality = M}>;
using Masks = InverseBlockMask<Grid{4, 4}, MaskConfig{.mask_prob = 0.6, .mask_prob_adjust = 0.1, .mask_length = 2}>;
inline constexpr DecoderConfig tiny_decoder{
    .decoder_dim = 16, .decoder_groups = 4, .decoder_kernel = 3, .decoder_layers = 2, .input_dropout = 0};
inline constexpr DecoderConfig noisy_decoder{
    .decoder_dim = 16, .decoder_groups = 4, .decoder_kernel = 3, .decoder_layers = 2, .input_dropout = 0.1};

struct Tiny : Data2Vec2<tiny_config, Branch<Images<tiny_modality>, Masks, Conv2dDecoder<tiny_decoder>>> {};
struct Noisy : Data2Vec2<noisy_config, Branch<Images<noisy_modality>, Masks, Conv2dDecoder<noisy_decoder>>> {};

inline constexpr std::size_t pixels = 64;

/// Sample `id`: a plane wave whose direction and phase follow from the id, so that the hidden part of an image can be
/// told from what is seen.
inline void wave(std::uint32_t id, float* out) {
  Rng rng(DrawKey{.seed = 11, .sample = id});
  const double angle = 6.28 * static_cast<double>(rng.uniform()), phase = 6.28 * static_cast<double>(rng.uniform());
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x)
      *out++ = static_cast<float>(std::sin(0.9 * (x * std::cos(angle) + y * std::sin(angle)) + phase));
}

struct Samples {
  std::vector<float> values;
  std::vector<std::uint32_t> ids;
  Batch<float> batch() const { return {values, ids}; }
};

/// `n` samples with the ids first, first + 1, ...
inline Samples waves(std::size_t n, std::uint32_t first = 0) {
  Samples s{std::vector<float>(n * pixels), std::vector<std::uint32_t>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    s.ids[i] = first + static_cast<std::uint32_t>(i);
    wave(s.ids[i], &s.values[i * pixels]);
  }
  return s;
}

/// A learning rate that moves weights from the first update on.
template <class Model>
TrainerOptions fast_options(int threads = 1) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = ConstantSchedule{.lr = 2e-3};
  options.ema = {.ema_decay = 0.9, .ema_end_decay = 0.99, .ema_anneal_end_step = 10};
  options.threads = threads;
  return options;
}

inline std::vector<float> copy(std::span<const float> x) { return {x.begin(), x.end()}; }
inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace training_support
