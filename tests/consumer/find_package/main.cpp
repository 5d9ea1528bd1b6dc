// SPDX-License-Identifier: MIT
// A user's program: a model of their own and the numbers of its type.
#include <cstdio>

#include <data2vec/data2vec.hpp>

using Images = data2vec::Vision<data2vec::VisionConfig{.input_size = 32, .patch_size = 8}>;
using Masks = data2vec::RandomMask<Images::tokens, data2vec::MaskConfig{.mask_prob = 0.75}>;
inline constexpr data2vec::Config config{.embed_dim = 64, .depth = 2, .num_heads = 4, .average_top_k_layers = 2};
struct Model : data2vec::Data2Vec2<config, data2vec::Branch<Images, Masks, data2vec::LinearDecoder<{}>>> {};

int main() { std::printf("data2vec %s, %zu parameters\n", data2vec::version, Model::parameter_count); }
