// SPDX-License-Identifier: MIT
// The transformer decoder: gradients in the three orders of norms.
#include <data2vec/decoder/transformer.hpp>

#include <doctest/doctest.h>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr DecoderShape shape(NormOrder order) { return {4, {2, 3}, 2, 4, 1.5, order, 1e-5, true}; }
template <NormOrder order, int layers>
using Layer =
    DecoderLayer<TransformerDecoder<DecoderConfig{.decoder_dim = 8, .decoder_layers = layers}>, shape(order), 2>;

}  // namespace

TEST_CASE("transformer decoder: gradients") {
  expect_gradients<Layer<NormOrder::post, 2>>();
  expect_gradients<Layer<NormOrder::pre_fairseq, 1>>();
  expect_gradients<Layer<NormOrder::pre, 1>>();
}

TEST_CASE("transformer decoder: without blocks it is two linear layers") {
  expect_gradients<Layer<NormOrder::post, 0>>();
}
