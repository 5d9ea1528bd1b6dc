// SPDX-License-Identifier: MIT
// The linear decoder: gradients, and a prediction that reads its own position alone.
#include <data2vec/decoder/linear.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr DecoderShape shape{5, {1, 6}, 2, 4, 4, NormOrder::post, 1e-6, true};
using Layer = DecoderLayer<LinearDecoder<DecoderConfig{}>, shape, 2>;

}  // namespace

TEST_CASE("linear decoder: gradients") { expect_gradients<Layer>(); }

TEST_CASE("linear decoder: with the identity as weights it hands out the tokens at hidden positions") {
  Cpu d;
  std::vector<double> weights(buffer_size<Layer::Parameters<double>>), tape(buffer_size<Layer::Tape<double>>);
  const auto p = bind<Layer::Parameters<double>>(weights.data());
  for (int i = 0; i < 5; ++i) p.proj.weight[i][i] = 1;
  std::vector<double> x(Layer::input_size), y(Layer::output_size);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
  Layer::forward(d, bind<Layer::Parameters<const double>>(weights.data()), x.data(), y.data(),
                 bind<Layer::Tape<double>>(tape.data()));
  const int hidden[] = {1, 2, 4, 5, 6 + 0, 6 + 1, 6 + 3, 6 + 4};  // every third is visible, from 0 and from 2
  for (int i = 0; i < 8; ++i)
    CHECK(std::equal(x.begin() + 5 * hidden[i], x.begin() + 5 * hidden[i] + 5, y.begin() + 5 * i));
}
