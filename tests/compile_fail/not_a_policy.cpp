// expect: data2vec: the branch's second part is not a MaskingPolicy (tokens, visible, sample)
// SPDX-License-Identifier: MIT
// A mask that cannot be drawn.
#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1}>;
struct Masks {
  static constexpr int tokens = Images::tokens, visible = tokens / 2;
#ifdef MISTAKE
  static void draw(d2v::Rng&, d2v::Mask<tokens>&) {}
#else
  static void sample(d2v::Rng&, d2v::Mask<tokens>&) {}
#endif
};
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 8, .decoder_groups = 2, .decoder_layers = 1}>;
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2};
struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
