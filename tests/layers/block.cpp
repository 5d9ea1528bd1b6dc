// SPDX-License-Identifier: MIT
// The transformer block in its three orders of norms: gradients, and what each order promises.
#include <data2vec/layers/block.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int N = 2, S = 5;
constexpr BlockConfig plain(NormOrder order, bool affine = true) {
  return {.dim = 8, .num_heads = 2, .mlp_dim = 12, .norm_eps = 1e-5, .norm_affine = affine, .order = order};
}
constexpr BlockConfig with_dropout(NormOrder order) {
  BlockConfig c = plain(order);
  c.attention_dropout = c.encoder_dropout = c.activation_dropout = c.post_mlp_drop = c.drop_path = true;
  return c;
}
constexpr BlockConfig with_drop_path(NormOrder order) {
  BlockConfig c = plain(order);
  c.drop_path = true;
  return c;
}

template <BlockConfig C, bool training>
std::vector<double> forward(const std::vector<double>& parameters, const std::vector<double>& x,
                            std::vector<double>* mlp_output = nullptr) {
  using Layer = BlockLayer<C, N, S, training>;
  Cpu d;
  std::vector<double> y(x.size()), tape(buffer_size<typename Layer::template Tape<double>>);
  const auto t = bind<typename Layer::template Tape<double>>(tape.data());
  Layer::forward(d, bind<typename Layer::template Parameters<const double>>(parameters.data()), x.data(), y.data(), t);
  if (mlp_output) mlp_output->assign(t.scratch.branch.data, t.scratch.branch.data + x.size());
  return y;
}

std::vector<double> random_numbers(std::size_t count, std::uint64_t seed) {
  Rng rng({.seed = seed});
  std::vector<double> numbers(count);
  for (double& v : numbers) v = 0.5 * static_cast<double>(rng.normal());
  return numbers;
}

template <BlockConfig C>
constexpr std::size_t parameters = buffer_size<typename Block<C>::template Parameters<double>>;

}  // namespace

TEST_CASE("block: gradients in evaluation") {
  expect_gradients<BlockLayer<plain(NormOrder::post), N, S, false>>();
  expect_gradients<BlockLayer<plain(NormOrder::pre_fairseq), N, S, false>>();
  expect_gradients<BlockLayer<plain(NormOrder::pre), N, S, false>>();
}

TEST_CASE("block: gradients with layer scale, keys without bias, and stochastic depth") {
  static constexpr BlockConfig beit = [] {
    BlockConfig c = plain(NormOrder::pre);
    c.names = BlockNames::beit;
    c.layer_scale = 0.5;
    return c;
  }();
  static constexpr BlockConfig random = [] {
    BlockConfig c = beit;
    c.drop_path = true;
    c.names = BlockNames::beit_sequential;
    return c;
  }();
  expect_gradients<BlockLayer<beit, N, S, false>>();
  expect_gradients<BlockLayer<random, N, S, true>>();
  const auto& table = tensor_table<Block<beit>::Parameters<double>>;
  const auto named = [&](std::string_view name) {
    return std::any_of(table.begin(), table.end(), [&](const TensorInfo& i) { return i.name.view() == name; });
  };
  CHECK(named("attn.q_bias"));
  CHECK(named("gamma_2"));
  CHECK(!named("attn.qkv.bias"));
}

TEST_CASE("block: names and layout of the parameters change no number") {
  static constexpr BlockConfig fused = plain(NormOrder::post);
  static constexpr BlockConfig separate = [] {
    BlockConfig c = fused;
    c.names = BlockNames::fairseq;
    return c;
  }();
  using Fused = Block<fused>::Parameters<double>;
  using Separate = Block<separate>::Parameters<double>;
  const auto start = random_numbers(parameters<fused>, 3);
  std::vector<double> other(parameters<separate>);
  const auto copy = [&](const char* from, const char* to, std::size_t first, std::size_t count) {
    const auto row = [](const auto& table, std::string_view name) {
      return *std::find_if(table.begin(), table.end(), [&](const TensorInfo& i) { return i.name.view() == name; });
    };
    std::copy_n(start.data() + row(tensor_table<Fused>, from).offset + first, count,
                other.data() + row(tensor_table<Separate>, to).offset);
  };
  copy("attn.qkv.weight", "self_attn.q_proj.weight", 0, 64);
  copy("attn.qkv.weight", "self_attn.k_proj.weight", 64, 64);
  copy("attn.qkv.weight", "self_attn.v_proj.weight", 128, 64);
  copy("attn.qkv.bias", "self_attn.q_proj.bias", 0, 8);
  copy("attn.qkv.bias", "self_attn.k_proj.bias", 8, 8);
  copy("attn.qkv.bias", "self_attn.v_proj.bias", 16, 8);
  copy("attn.proj.weight", "self_attn.out_proj.weight", 0, 64);
  copy("attn.proj.bias", "self_attn.out_proj.bias", 0, 8);
  copy("norm1.weight", "self_attn_layer_norm.weight", 0, 8);
  copy("norm1.bias", "self_attn_layer_norm.bias", 0, 8);
  copy("norm2.weight", "final_layer_norm.weight", 0, 8);
  copy("norm2.bias", "final_layer_norm.bias", 0, 8);
  copy("mlp.fc1.weight", "fc1.weight", 0, 96);
  copy("mlp.fc1.bias", "fc1.bias", 0, 12);
  copy("mlp.fc2.weight", "fc2.weight", 0, 96);
  copy("mlp.fc2.bias", "fc2.bias", 0, 8);
  const auto x = random_numbers(N * S * 8, 4);
  CHECK((forward<fused, false>(start, x) == forward<separate, false>(other, x)));
}

TEST_CASE("block: gradients with every dropout in training") {
  expect_gradients<BlockLayer<with_dropout(NormOrder::post), N, S, true>>();
  expect_gradients<BlockLayer<with_dropout(NormOrder::pre_fairseq), N, S, true>>();
  expect_gradients<BlockLayer<with_dropout(NormOrder::pre), N, S, true>>();
}

TEST_CASE("block: gradients with stochastic depth alone, and without scale and shift") {
  expect_gradients<BlockLayer<with_drop_path(NormOrder::post), N, S, true>>();
  expect_gradients<BlockLayer<plain(NormOrder::post, false), N, S, true>>();
}

TEST_CASE("block: post-norm rows have mean 0 and variance 1 under unit scale and no shift") {
  constexpr BlockConfig c = plain(NormOrder::post, false);
  const auto y = forward<c, false>(random_numbers(parameters<c>, 1), random_numbers(N * S * 8, 2));
  for (int row = 0; row < N * S; ++row) {
    double sum = 0, squares = 0;
    for (int i = 0; i < 8; ++i) {
      const double v = y[static_cast<std::size_t>(row * 8 + i)];
      sum += v;
      squares += v * v;
    }
    CHECK(std::fabs(sum / 8) < 8 * std::numeric_limits<double>::epsilon() * std::sqrt(8.0));
    // norm_eps = 1e-5 takes its share of the variance, which is above 0.01 here.
    CHECK(squares / 8 < 1);
    CHECK(squares / 8 > 1 - 1e-5 / 0.01);
  }
}

TEST_CASE("block: the layer result is what enters the last sum") {
  const auto x = random_numbers(N * S * 8, 4);
  std::vector<double> mlp;
  constexpr BlockConfig fairseq = plain(NormOrder::pre_fairseq);
  const auto p = random_numbers(parameters<fairseq>, 3);
  const auto y = forward<fairseq, false>(p, x, &mlp);
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == mlp[i] + mlp[i]);  // the reference's pre-norm: no residual
  std::vector<double> mlp_again;
  const auto corrected = forward<plain(NormOrder::pre), false>(p, x, &mlp_again);
  CHECK(mlp_again == mlp);  // the orders differ after the MLP only
  CHECK(corrected != y);
}

TEST_CASE("block: zero weights are the identity of the corrected pre-norm block") {
  constexpr BlockConfig c = plain(NormOrder::pre);
  const auto x = random_numbers(N * S * 8, 5);
  CHECK(forward<c, false>(std::vector<double>(parameters<c>), x) == x);
}

TEST_CASE("block: in evaluation, dropouts leave no trace") {
  constexpr BlockConfig none = plain(NormOrder::post), all = with_dropout(NormOrder::post);
  const auto p = random_numbers(parameters<none>, 6), x = random_numbers(N * S * 8, 7);
  CHECK(forward<all, false>(p, x) == forward<none, false>(p, x));
  CHECK(forward<none, true>(p, x) == forward<none, false>(p, x));
  CHECK(forward<all, true>(p, x) != forward<none, false>(p, x));
}
