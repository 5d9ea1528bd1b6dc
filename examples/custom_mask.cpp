// SPDX-License-Identifier: MIT
// A masking policy of your own: no base class, no registration, three members.
#include <cmath>
#include <cstdio>
#include <vector>

#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

/// Hides every second column of a grid of patches, the even or the odd ones.
template <d2v::Grid grid>
struct Stripes {
  static_assert(grid.width % 2 == 0, "Stripes: the grid needs an even number of columns");
  static constexpr int tokens = grid.size();
  // How many tokens the student sees is a number of the type: its arrays, its FLOPs and its memory follow from it.
  static constexpr int visible = tokens / 2;

  /// Exactly `tokens - visible` entries become true. `rng` is a stream of its own for every sample, mask and update.
  static void sample(d2v::Rng& rng, d2v::Mask<tokens>& mask) {
    const int first = static_cast<int>(rng.below(2));
    for (int t = 0; t < tokens; ++t) mask.hidden[t] = t % grid.width % 2 == first;
  }
};

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 16, .patch_size = 4, .in_chans = 1}>;
static_assert(d2v::MaskingPolicy<Stripes<Images::grid>>);

inline constexpr d2v::Config tiny{.embed_dim = 32, .depth = 2, .num_heads = 4, .average_top_k_layers = 2,
                                   .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2};
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 32, .decoder_groups = 4, .decoder_kernel = 3,
                                                      .decoder_layers = 2, .input_dropout = 0}>;
struct Striped : d2v::Data2Vec2<tiny, d2v::Branch<Images, Stripes<Images::grid>, Decoder>> {};

static_assert(Striped::First::V == 8);  // of 16 patches

int main() {
  constexpr int samples = 16, steps = 60;
  std::vector<float> images(samples * Images::sample_size);  // waves of all directions
  std::vector<std::uint32_t> ids(samples);
  for (int n = 0; n < samples; ++n) {
    ids[static_cast<std::size_t>(n)] = static_cast<std::uint32_t>(n);
    for (int y = 0; y < 16; ++y)
      for (int x = 0; x < 16; ++x)
        images[static_cast<std::size_t>((n * 16 + y) * 16 + x)] =
            std::sin(0.1f * static_cast<float>(n * x + (16 - n) * y));
  }
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Striped>();
  options.schedule = d2v::CosineSchedule{.lr = 2e-3, .warmup_updates = 5, .max_update = steps};
  d2v::Trainer<Striped, d2v::Cpu> trainer(options);
  double first = 0, last = 0;
  for (int i = 0; i < steps; ++i) {
    last = trainer.step({images, ids}).loss;
    if (i == 0) first = last;
  }
  std::printf("%d of %d tokens visible; loss %.3f -> %.3f\n", Striped::First::V, Images::tokens, first, last);
  return last < first ? 0 : 1;
}
