// SPDX-License-Identifier: MIT
// The cross-attention decoder: gradients with and without positions on its keys.
#include <data2vec/decoder/cross_attention.hpp>

#include <doctest/doctest.h>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr DecoderShape shape{4, {3, 3}, 3, 6, 4, NormOrder::post, 1e-6, true};
template <int layers, bool add_positions_all>
using Layer = DecoderLayer<CrossAttentionDecoder<DecoderConfig{.decoder_dim = 8, .decoder_layers = layers,
                                                               .add_positions_all = add_positions_all}>,
                           shape, 2>;

}  // namespace

TEST_CASE("cross-attention decoder: gradients") {
  expect_gradients<Layer<1, false>>();
  expect_gradients<Layer<2, false>>();
  expect_gradients<Layer<2, true>>();
}
