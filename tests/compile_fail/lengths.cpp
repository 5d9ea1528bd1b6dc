// expect: data2vec: Lengths takes models of the same parameters
// SPDX-License-Identifier: MIT
// A learned ALiBi table has the length of its type, so two lengths do not share it.
#include <data2vec/data2vec.hpp>
#include <data2vec/objective/lengths.hpp>

namespace d2v = data2vec;

inline constexpr d2v::Config config{.embed_dim = 8, .depth = 1, .num_heads = 2, .average_top_k_layers = 1};
#ifdef MISTAKE
inline constexpr bool learned = true;
#else
inline constexpr bool learned = false;
#endif
template <int samples>
using Waves = d2v::Speech<d2v::SpeechConfig{.input_size = samples,
                                            .feature_encoder_spec = {{4, 4, 2}},
                                            .conv_pos_groups = 2,
                                            .modality = {.use_alibi_encoder = true, .learned_alibi = learned}}>;
template <int samples>
struct Of : d2v::Data2Vec2<config, d2v::Branch<Waves<samples>,
                                               d2v::RandomMask<Waves<samples>::tokens, d2v::MaskConfig{}>,
                                               d2v::LinearDecoder<d2v::DecoderConfig{}>>> {};
struct Model : d2v::Lengths<Of<40>, Of<80>> {};

int main() { return static_cast<int>(sizeof(Model) > 1000); }
