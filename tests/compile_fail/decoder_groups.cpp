// expect: data2vec: DecoderConfig::decoder_groups must divide decoder_dim and Config::embed_dim
// SPDX-License-Identifier: MIT
// Three groups of eight channels.
#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.5}>;
#ifdef MISTAKE
inline constexpr int groups = 3;
#else
inline constexpr int groups = 2;
#endif
using Decoder =
    d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 8, .decoder_groups = groups, .decoder_layers = 1}>;
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2};
struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
