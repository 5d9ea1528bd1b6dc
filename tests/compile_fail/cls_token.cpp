// expect: data2vec: Config::cls_loss needs ModalityConfig::num_extra_tokens of at least 1
// SPDX-License-Identifier: MIT
// A CLS loss without a CLS token.
#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.5}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 8, .decoder_groups = 2, .decoder_layers = 1}>;
#ifdef MISTAKE
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2,
                                    .cls_loss = 0.1};
#else
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2};
#endif
struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
