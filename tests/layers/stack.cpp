// SPDX-License-Identifier: MIT
// Stacks of blocks: gradients with stochastic depth and layer drop, taps, and layer drop as one draw for a batch.
#include <data2vec/layers/stack.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int N = 2, S = 3, dim = 4;
constexpr BlockConfig plain{.dim = dim, .num_heads = 2, .mlp_dim = 6, .norm_eps = 1e-5};
constexpr BlockConfig all_dropouts{.dim = dim, .num_heads = 2, .mlp_dim = 6, .norm_eps = 1e-5,
                                   .attention_dropout = true, .encoder_dropout = true, .activation_dropout = true,
                                   .post_mlp_drop = true, .drop_path = true};

bool dropped(int layer, std::uint32_t update = 3) {
  return layer_dropped({.seed = 7, .update = update}, layer, some_rates.layerdrop);
}

std::vector<double> random_numbers(std::size_t count, std::uint64_t seed) {
  Rng rng({.seed = seed});
  std::vector<double> numbers(count);
  for (double& v : numbers) v = 0.5 * static_cast<double>(rng.normal());
  return numbers;
}

}  // namespace

TEST_CASE("stack: gradients") {
  expect_gradients<StackLayer<plain, 1, N, S, false>>();
  expect_gradients<StackLayer<plain, 2, N, S, false>>();
  expect_gradients<StackLayer<all_dropouts, 3, N, S, true>>();
}

TEST_CASE("stack: gradients where blocks are dropped") {
  // The draws of the adaptors drop some of layers 1 to 4, and not all.
  CHECK(dropped(1) + dropped(2) + dropped(3) + dropped(4) > 0);
  CHECK(dropped(1) + dropped(2) + dropped(3) + dropped(4) < 4);
  expect_gradients<StackLayer<plain, 4, N, S, true, true>>();
}

TEST_CASE("stack: without blocks it is the identity") {
  expect_gradients<StackLayer<plain, 0, N, S, false>>();
}

TEST_CASE("stack: stochastic depth goes linearly from the first rate to the last") {
  CHECK(spread_rate(0.1, 0.4, 0, 4) == 0.1);
  CHECK(spread_rate(0.1, 0.4, 3, 4) == doctest::Approx(0.4));
  CHECK(spread_rate(0.0, 0.5, 1, 5) == 0.125);
  CHECK(spread_rate(0.3, 0.9, 0, 1) == 0.3);
}

TEST_CASE("stack: layer drop leaves out the same blocks for every row of a batch") {
  constexpr int depth = 4, rows = 3;
  using Layers = Stack<plain, depth, true>;
  using One = BlockLayer<plain, rows, S, true>;
  Cpu d;
  const auto weights = random_numbers(buffer_size<StackLayer<plain, depth, rows, S, true>::Parameters<double>>, 8);
  const auto p = bind<StackLayer<plain, depth, rows, S, true>::Parameters<const double>>(weights.data());
  auto x = random_numbers(rows * S * dim, 9);
  for (int r = 1; r < rows; ++r) std::copy_n(x.begin(), S * dim, x.begin() + r * S * dim);  // rows alike, samples not
  Buffer<double> tape(buffer_size<Layers::Tape<double, rows, S>>);
  Buffer<double> scratch(buffer_size<Layers::Scratch<double, rows, S>>);
  bool patterns_differ = false;
  for (std::uint32_t update = 0; update < 8; ++update) {
    const Pass<Cpu, true> pass{d, {.seed = 7, .update = update, .sample_ids = sample_ids.data()}, some_rates};
    NoBias bias;
    std::vector<int> taps;
    const auto y = Layers::forward(pass, p.blocks, {.layerdrop = some_rates.layerdrop},
                                   View<const double, rows, S, dim>{x.data()},
                                   bind<Layers::Tape<double, rows, S>>(tape.data()),
                                   bind<Layers::Scratch<double, rows, S>>(scratch.data()), AttentionExtras<double>{},
                                   bias, [&](int layer, const auto&, const auto&) { taps.push_back(layer); });
    std::vector<double> state = x, next(x.size());
    std::vector<int> expected;
    for (int i = 0; i < depth; ++i) {
      if (dropped(i, update)) continue;
      expected.push_back(i);
      Buffer<double> memory(buffer_size<One::Tape<double>>);
      One::forward(d, p.blocks[static_cast<std::size_t>(i)], state.data(), next.data(),
                   bind<One::Tape<double>>(memory.data()));
      state = next;
    }
    CHECK(taps == expected);
    CHECK(std::equal(state.begin(), state.end(), y.data));
    CHECK(std::equal(y.data, y.data + S * dim, y.data + (rows - 1) * S * dim));
    patterns_differ = patterns_differ || taps.size() != static_cast<std::size_t>(depth);
  }
  CHECK(patterns_differ);
}

TEST_CASE("stack: inference keeps two states and gives the same bits as training without dropout") {
  constexpr int depth = 3;
  using Layers = Stack<plain, depth>;
  Cpu d;
  const auto weights = random_numbers(buffer_size<StackLayer<plain, depth, N, S, true>::Parameters<double>>, 10);
  const auto p = bind<StackLayer<plain, depth, N, S, true>::Parameters<const double>>(weights.data());
  const auto x = random_numbers(N * S * dim, 11);
  const View<const double, N, S, dim> input{x.data()};
  Buffer<double> tape(buffer_size<Layers::Tape<double, N, S>>), memory(buffer_size<Layers::Inference<double, N, S>>);
  Buffer<double> scratch(buffer_size<Layers::Scratch<double, N, S>>);
  const auto s = bind<Layers::Scratch<double, N, S>>(scratch.data());
  NoBias bias;
  std::vector<std::vector<double>> outputs[2];
  const auto keep = [&](int which) {
    return [&outputs, which](int, const auto& mlp, const auto& out) {
      outputs[which].emplace_back(mlp.data, mlp.data + mlp.size);
      outputs[which].emplace_back(out.data, out.data + out.size);
    };
  };
  Layers::forward(fixed_pass<true>(d), p.blocks, {}, input, bind<Layers::Tape<double, N, S>>(tape.data()), s,
                  AttentionExtras<double>{}, bias, keep(0));
  Layers::forward(fixed_pass<false>(d), p.blocks, {}, input, bind<Layers::Inference<double, N, S>>(memory.data()), s,
                  AttentionExtras<double>{}, bias, keep(1));
  CHECK(outputs[0].size() == 2 * depth);
  CHECK(outputs[0] == outputs[1]);
}
