// expect: data2vec: the cross-attention decoder has 8 heads, which must divide DecoderConfig::decoder_dim
// SPDX-License-Identifier: MIT
// A cross-attention decoder of width twelve.
#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.5}>;
#ifdef MISTAKE
inline constexpr int width = 12;
#else
inline constexpr int width = 16;
#endif
using Decoder = d2v::CrossAttentionDecoder<d2v::DecoderConfig{.decoder_dim = width, .decoder_layers = 1}>;
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2};
struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
