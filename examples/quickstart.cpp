// SPDX-License-Identifier: MIT
#include <cstdio>
#include <numeric>
#include <vector>

#include <data2vec/data2vec.hpp>
namespace d2v = data2vec;

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 28, .patch_size = 4, .in_chans = 1}>;
using Masks = d2v::InverseBlockMask<Images::grid, d2v::MaskConfig{.mask_prob = 0.6, .mask_length = 3}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 64, .decoder_layers = 2}>;
inline constexpr d2v::Config small{.embed_dim = 128, .depth = 4, .num_heads = 4, .average_top_k_layers = 4,
                                   .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 6};
struct Small : d2v::Data2Vec2<small, d2v::Branch<Images, Masks, Decoder>> {};

int main() {
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Small>();
  options.schedule = d2v::CosineSchedule{.lr = 1e-3, .max_update = 10};
  d2v::Trainer<Small, d2v::Cpu> trainer(options);
  std::vector<float> images(32 * Images::sample_size, 0.5f);  // yours: (32, 1, 28, 28), normalised
  std::vector<std::uint32_t> ids(32);                         // which ones they are
  std::iota(ids.begin(), ids.end(), 0u);
  for (int i = 0; i < 10; ++i) std::printf("loss %.3f\n", trainer.step({images, ids}).loss);
}
