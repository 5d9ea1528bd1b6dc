// expect: data2vec: the branch's third part is not a Decoder (decoder/decoder.hpp lists its members)
// SPDX-License-Identifier: MIT
// A decoder that does not say what it sees.
#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.5}>;
using Base = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 8, .decoder_groups = 2, .decoder_layers = 1}>;
struct Decoder {
  static constexpr d2v::DecoderConfig config = Base::config;
#ifdef MISTAKE
  static constexpr bool sees_everything = true;
#else
  static constexpr bool sees_all = true;
#endif
  template <d2v::DecoderShape S>
  using Network = Base::Network<S>;
};
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2};
struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
