// expect: data2vec: the masking policy must be over as many tokens as the modality has
// SPDX-License-Identifier: MIT
// A mask over nine tokens for images of sixteen.
#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1}>;
#ifdef MISTAKE
inline constexpr int tokens = 9;
#else
inline constexpr int tokens = Images::tokens;
#endif
using Masks = d2v::RandomMask<tokens, d2v::MaskConfig{.mask_prob = 0.5}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 8, .decoder_groups = 2, .decoder_layers = 1}>;
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2};
struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
