// SPDX-License-Identifier: MIT
// Patch embedding: parameter gradients, with and without projection, and the convolution it stands for.
#include <data2vec/modality/vision.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

template <VisionConfig C, int D, int B>
struct PatchEmbedding {
  using Local = typename Vision<C>::template LocalEncoder<D>;
  static constexpr int T_ = Vision<C>::tokens, size = Vision<C>::sample_size;
  static constexpr int input_size = B * size, output_size = B * T_ * D;
  static constexpr bool has_input_gradient = false;
  template <class T>
  using Parameters = typename Local::template Parameters<T>;
  template <class T>
  using Tape = typename Local::template Tape<T, B>;

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    Local::forward(d, p, View<const double, B, size>{x}, View<double, B, T_, D>{y}, tape);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    Local::backward(d, p, View<const double, B, size>{x}, View<const double, B, T_, D>{dy}, gradient, tape);
  }
};

constexpr VisionConfig grey{.input_size = {6, 4}, .patch_size = {3, 2}, .in_chans = 1};
constexpr VisionConfig colour{.input_size = {4, 6}, .patch_size = 2, .in_chans = 3};
constexpr VisionConfig projected(VisionConfig c) {
  c.embed_dim = 5;
  return c;
}

}  // namespace

static_assert(Modality<Vision<grey>> && Modality<Vision<colour>>);
static_assert(Vision<grey>::grid == Grid{2, 2} && Vision<grey>::tokens == 4 && Vision<grey>::patch_values == 6);
static_assert(Vision<colour>::grid == Grid{2, 3} && Vision<colour>::patch_values == 12);

TEST_CASE("vision: parameter gradients of the patch embedding") {
  expect_gradients<PatchEmbedding<grey, 4, 2>>();
  expect_gradients<PatchEmbedding<colour, 4, 2>>();
}

TEST_CASE("vision: parameter gradients with a projection from another width") {
  expect_gradients<PatchEmbedding<projected(grey), 3, 2>>();
  expect_gradients<PatchEmbedding<projected(colour), 8, 1>>();
}

TEST_CASE("vision: every token is the convolution at its place of the image") {
  constexpr int D = 3, B = 2;
  using L = PatchEmbedding<colour, D, B>;
  std::vector<double> weights(buffer_size<L::Parameters<double>>), x(L::input_size), y(L::output_size);
  std::vector<double> tape(buffer_size<L::Tape<double>>);
  Rng rng({.seed = 2});
  for (double& v : weights) v = static_cast<double>(rng.normal());
  for (double& v : x) v = static_cast<double>(rng.normal());
  Cpu d;
  const auto p = bind<L::Parameters<const double>>(weights.data());
  L::forward(d, p, x.data(), y.data(), bind<L::Tape<double>>(tape.data()));
  for (int b = 0; b < B; ++b)
    for (int row = 0; row < 2; ++row)
      for (int column = 0; column < 3; ++column)
        for (int o = 0; o < D; ++o) {
          double expected = p.proj.bias[o];
          for (int c = 0; c < 3; ++c)
            for (int i = 0; i < 2; ++i)
              for (int j = 0; j < 2; ++j)
                expected += p.proj.weight[o][c][i][j] *
                            x[static_cast<std::size_t>(((b * 3 + c) * 4 + 2 * row + i) * 6 + 2 * column + j)];
          const double found = y[static_cast<std::size_t>((b * 6 + row * 3 + column) * D + o)];
          // 13 terms of at most some 3 x 3.
          CHECK(std::fabs(found - expected) < 8 * std::numeric_limits<double>::epsilon() * std::sqrt(13.0) * 9);
        }
}

TEST_CASE("vision: names of the parameters, with and without projection") {
  const auto names = []<class P>(P*) {
    std::vector<std::string> all;
    for (const TensorInfo& info : tensor_table<P>) all.emplace_back(info.name.view());
    return all;
  };
  using Plain = Vision<grey>::LocalEncoder<4>::Parameters<float>;
  using Projected = Vision<projected(grey)>::LocalEncoder<4>::Parameters<float>;
  CHECK(names(static_cast<Plain*>(nullptr)) == std::vector<std::string>{"proj.weight", "proj.bias"});
  CHECK(names(static_cast<Projected*>(nullptr)) ==
        std::vector<std::string>{"0.proj.weight", "0.proj.bias", "1.weight", "1.bias"});
}
