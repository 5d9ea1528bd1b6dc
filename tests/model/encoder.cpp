// SPDX-License-Identifier: MIT
// The encoder: gradients over orders of norms, prenet depths, extra tokens and every dropout, and its invariances.
#include <data2vec/model/encoder.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include <tests/model/encoder_layer.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr Grid grid{3, 3};
constexpr Config tiny(bool layer_norm_first = false, bool pre_norm_mlp_residual = false) {
  return {.embed_dim = 4, .depth = 2, .num_heads = 2, .mlp_ratio = 1.5, .norm_eps = 1e-5,
          .layer_norm_first = layer_norm_first, .pre_norm_mlp_residual = pre_norm_mlp_residual};
}
/// The values are not zero: their code exists. The rates are those of the adaptors.
constexpr Config with_dropouts(Config c) {
  c.encoder_dropout = c.post_mlp_drop = c.attention_dropout = c.activation_dropout = 0.5;
  c.dropout_input = c.layerdrop = c.start_drop_path_rate = c.end_drop_path_rate = 0.5;
  return c;
}
constexpr ModalityConfig modality(int prenet_depth, int num_extra_tokens, bool dropouts = false) {
  ModalityConfig m{.prenet_depth = prenet_depth, .num_extra_tokens = num_extra_tokens};
  if (dropouts) m.prenet_layerdrop = m.prenet_dropout = m.start_drop_path_rate = m.end_drop_path_rate = 0.5;
  return m;
}
template <Config C, ModalityConfig M, bool training = true>
using Layer = EncoderLayer<C, Cells<grid, M>, 2, 2, 4, training>;

}  // namespace

TEST_CASE("encoder: gradients, post-norm, with extra tokens and prenet") {
  expect_gradients<Layer<tiny(), modality(0, 0)>>();
  expect_gradients<Layer<tiny(), modality(1, 1)>>();
  expect_gradients<Layer<tiny(), modality(2, 2)>>();
}

TEST_CASE("encoder: gradients, pre-norm as the reference runs it, and corrected") {
  expect_gradients<Layer<tiny(true), modality(1, 1)>>();
  expect_gradients<Layer<tiny(true, true), modality(2, 0)>>();
}

TEST_CASE("encoder: gradients with every dropout") {
  expect_gradients<Layer<with_dropouts(tiny()), modality(2, 1, true)>>();
  expect_gradients<Layer<with_dropouts(tiny(true, true)), modality(0, 1, true)>>();
}

TEST_CASE("encoder: a token that no row of its sample keeps has no influence, and its gradient is zero") {
  using L = Layer<tiny(), modality(1, 1)>;
  using P = L::Parameters<double>;
  Cpu d;
  std::vector<double> weights(buffer_size<P>), gradient(buffer_size<P>), tape(buffer_size<L::Tape<double>>);
  std::vector<double> x(L::input_size), y(L::output_size), dy(L::output_size), dx(L::input_size);
  Rng rng({.seed = 6});
  for (auto* numbers : {&weights, &x, &dy})
    for (double& v : *numbers) v = static_cast<double>(rng.normal());
  const auto p = bind<L::Parameters<const double>>(weights.data());
  const auto t = bind<L::Tape<double>>(tape.data());
  L::forward(d, p, x.data(), y.data(), t);
  L::backward(d, p, x.data(), dy.data(), dx.data(), bind<P>(gradient.data()), t);
  const auto index = L::index();
  int unseen = 0;
  for (int b = 0; b < 2; ++b)
    for (int token = 0; token < 9; ++token) {
      const int* first = index.keep[2 * b].data;
      const bool seen = std::find(first, first + 2 * 4, token) != first + 2 * 4;
      const auto at = static_cast<std::size_t>((b * 9 + token) * 4);
      const bool zero = std::all_of(&dx[at], &dx[at] + 4, [](double v) { return v == 0; });
      CHECK(zero == !seen);
      if (seen) continue;
      ++unseen;
      for (std::size_t i = at; i < at + 4; ++i) x[i] += 1;
    }
  CHECK(unseen > 0);
  std::vector<double> again(y.size());
  L::forward(d, p, x.data(), again.data(), t);
  CHECK(again == y);
}

TEST_CASE("encoder: inference gives the training path's bits, and a row does not depend on the others") {
  using M = Cells<grid, modality(1, 1)>;
  using L = EncoderLayer<tiny(), M, 1, 2, 4, false>;
  using Enc = L::Enc;
  Cpu d;
  std::vector<double> weights(buffer_size<L::Parameters<double>>), x(L::input_size), y(L::output_size);
  Rng rng({.seed = 9});
  for (double& v : weights) v = static_cast<double>(rng.normal());
  for (double& v : x) v = static_cast<double>(rng.normal());
  const auto p = bind<L::Parameters<const double>>(weights.data());
  Buffer<double> tape(buffer_size<L::Tape<double>>);
  L::forward(d, p, x.data(), y.data(), bind<L::Tape<double>>(tape.data()));
  using Memory = Enc::Memory<double, 1, 1, 4, false>;
  Buffer<double> memory(buffer_size<Memory>);
  const Pass<Cpu, false> pass{d};
  for (int n = 0; n < 2; ++n) {
    std::vector<int> rows(5);
    const Enc::Index<1, 4> index{{L::index().keep[n].data}, {rows.data()}, {}, {}};
    Enc::Rows::index_rows(1, index);
    const auto out = Enc::forward(pass, pass, p.front, p.blocks, p.norm, View<const double, 1, 9, 4>{x.data()}, index,
                                  bind<Memory>(memory.data()), [](auto&&...) {});
    CHECK(std::equal(out.encoder.data, out.encoder.data + 5 * 4, y.begin() + n * 5 * 4));
  }
}
