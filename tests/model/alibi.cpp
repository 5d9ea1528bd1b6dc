// SPDX-License-Identifier: MIT
// ALiBi in the encoder: gradients of scales and tables through prenet and shared blocks, and a negative scale.
#include <data2vec/model/alibi.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <tests/model/encoder_layer.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr Config tiny{.embed_dim = 4, .depth = 1, .num_heads = 2, .mlp_ratio = 1, .norm_eps = 1e-5};
constexpr ModalityConfig with(ModalityConfig m) {
  m.prenet_depth = 1;
  m.num_extra_tokens = 1;
  m.use_alibi_encoder = true;
  return m;
}
template <ModalityConfig M, Grid grid = Grid{1, 5}>
using Layer = EncoderLayer<tiny, Cells<grid, with(M), false>, 2, 1, 3, true>;

}  // namespace

TEST_CASE("alibi: gradients through a fixed bias") {
  expect_gradients<Layer<ModalityConfig{}>>();
  expect_gradients<Layer<ModalityConfig{.alibi_dims = 2, .alibi_distance = AlibiDistance::euclidean}, Grid{3, 3}>>();
}

TEST_CASE("alibi: gradients of a learned scale: one, per head, per layer, per head and layer") {
  expect_gradients<Layer<ModalityConfig{.learned_alibi_scale = true}>>();
  expect_gradients<Layer<ModalityConfig{.learned_alibi_scale = true, .learned_alibi_scale_per_head = true}>>();
  expect_gradients<Layer<ModalityConfig{.learned_alibi_scale = true, .learned_alibi_scale_per_layer = true}>>();
  expect_gradients<Layer<ModalityConfig{.learned_alibi_scale = true, .learned_alibi_scale_per_head = true,
                                        .learned_alibi_scale_per_layer = true}>>();
}

TEST_CASE("alibi: gradients of a learned table, shorter and longer than the sequence, with and without learned scale") {
  expect_gradients<Layer<ModalityConfig{.learned_alibi = true}>>();
  expect_gradients<Layer<ModalityConfig{.learned_alibi = true, .alibi_max_pos = 3, .learned_alibi_scale = true,
                                        .learned_alibi_scale_per_head = true,
                                        .learned_alibi_scale_per_layer = true}>>();
  expect_gradients<Layer<ModalityConfig{.learned_alibi = true, .alibi_max_pos = 7}>>();
}

TEST_CASE("alibi: a negative scale is no bias") {
  using L = Layer<ModalityConfig{.learned_alibi_scale = true}>;
  Cpu d;
  std::vector<double> weights(buffer_size<L::Parameters<double>>), x(L::input_size);
  Rng rng({.seed = 5});
  for (double& v : weights) v = static_cast<double>(rng.normal());
  for (double& v : x) v = static_cast<double>(rng.normal());
  const auto features = [&](double scale) {
    bind<L::Parameters<double>>(weights.data()).front.alibi.scale.data[0] = scale;
    std::vector<double> y(L::output_size), tape(buffer_size<L::Tape<double>>);
    L::forward(d, bind<L::Parameters<const double>>(weights.data()), x.data(), y.data(),
               bind<L::Tape<double>>(tape.data()));
    return y;
  };
  CHECK(features(-2) == features(0));
  CHECK(features(2) != features(0));
}
