// expect: data2vec: the branch's first part is not a Modality (modality/modality.hpp lists its members)
// SPDX-License-Identifier: MIT
// A modality without a name.
#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

using Base = d2v::Vision<d2v::VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1}>;
struct Images {
#ifdef MISTAKE
  static constexpr const char* title = "SOUND";
#else
  static constexpr const char* name = "SOUND";
#endif
  static constexpr d2v::ModalityConfig config = Base::config;
  static constexpr d2v::Grid grid = Base::grid;
  static constexpr int tokens = Base::tokens, sample_size = Base::sample_size;
  static constexpr bool fixed_positions = Base::fixed_positions;
  template <int D>
  using LocalEncoder = Base::LocalEncoder<D>;
};
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.5}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 8, .decoder_groups = 2, .decoder_layers = 1}>;
inline constexpr d2v::Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2};
struct Model : d2v::Data2Vec2<config, d2v::Branch<Images, Masks, Decoder>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
