// expect: data2vec: this decoder uses fixed positions, which the modality does not have
// SPDX-License-Identifier: MIT
// Queries are positions, but the modality has none.
#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

#ifdef MISTAKE
inline constexpr bool positions = false;
#else
inline constexpr bool positions = true;
#endif
using Images = d2v::Vision<
    d2v::VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1, .fixed_positions = positions}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.5}>;
using Decoder = d2v::CrossAttentionDecoder<d2v::DecoderConfig{.decoder_dim = 8, .decoder_layers = 1}>;
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2};
struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
