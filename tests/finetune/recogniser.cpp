// SPDX-License-Identifier: MIT
// An encoder with CTC: every gradient by finite differences, padding without effect, what is hidden.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/recogniser.hpp>

using namespace data2vec;

namespace {

constexpr SpeechConfig waveforms(int size, Padding padding, int extra_tokens = 0) {
  return {.input_size = size,
          .feature_encoder_spec = {{4, 4, 2}, {4, 3, 2}},
          .conv_pos_width = 6,
          .conv_pos_groups = 2,
          .conv_pos_depth = 2,
          .modality = {.prenet_depth = 1, .num_extra_tokens = extra_tokens, .use_alibi_encoder = true,
                       .learned_alibi_scale = true, .padding = padding}};
}
inline constexpr Config config{.embed_dim = 8, .depth = 1, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                               .average_top_k_layers = 1};
template <SpeechConfig C>
using Waves = Branch<Speech<C>, RandomMask<Speech<C>::tokens, MaskConfig{.mask_prob = 0.5}>,
                     Conv1dDecoder<DecoderConfig{.decoder_dim = 4, .decoder_groups = 2, .decoder_kernel = 3,
                                                 .decoder_layers = 1, .input_dropout = 0}>>;
struct Ragged : Data2Vec2<config, Waves<waveforms(34, Padding::exact)>> {};
struct Extra : Data2Vec2<config, Waves<waveforms(34, Padding::exact, 2)>> {};
struct Whole : Data2Vec2<config, Waves<waveforms(34, Padding::none)>> {};
struct Short : Data2Vec2<config, Waves<waveforms(26, Padding::none)>> {};
constexpr int symbols = 5;
static_assert(Ragged::First::T_ == 7 && Short::First::T_ == 5);

std::vector<double> normal_numbers(std::size_t n, std::uint64_t seed, double scale = 1) {
  Rng rng({.seed = seed});
  std::vector<double> v(n);
  for (double& x : v) x = scale * static_cast<double>(rng.normal());
  return v;
}

/// B utterances through the model: losses and gradients for any weights.
template <class Model, int B>
struct Case {
  using Net = Recogniser<Model, symbols>;
  using Parameters = typename Net::template Parameters<double>;
  using W = typename Net::template Workspace<double, B>;
  using Index = typename Net::template Index<B>;
  static constexpr int size = Net::M::sample_size;

  std::vector<double> samples = normal_numbers(std::size_t{B} * size, 3), noise = normal_numbers(200, 4);
  std::vector<double> workspace = std::vector<double>(buffer_size<W>);
  std::vector<int> indices = std::vector<int>(buffer_size<Index>), lengths = std::vector<int>(B, size);
  std::vector<std::vector<std::int32_t>> targets = std::vector<std::vector<std::int32_t>>(B, {1, 3});
  bool hide = false, frozen = false, zero = false;

  double operator()(const std::vector<double>& weights, std::vector<double>& gradient) {
    CtcBatch batch(B, Net::T_, Net::T_);
    int valid[B];
    Net::template valid_frames<B>(lengths.data(), valid);
    for (int b = 0; b < B; ++b) batch.set(b, targets[static_cast<std::size_t>(b)], valid[b]);
    const auto index = bind<Index>(indices.data());
    index.masks.clear();
    if (hide) {
      index.masks.frames[0][1] = index.masks.frames[0][2] = 1;
      index.masks.channels[0][5] = 1;
      if (B > 1) index.masks.frames[B - 1][0] = index.masks.channels[B - 1][0] = 1;
    }
    std::fill(gradient.begin(), gradient.end(), 0);
    Cpu cpu;
    const std::array<std::uint32_t, B> ids{};
    return Net::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}},
                     bind<typename Net::template Parameters<const double>>(weights.data()),
                     bind<Parameters>(gradient.data()), View<const double, B, size>{samples.data()}, B, batch, 2.0,
                     bind<W>(workspace.data()), index, {.zero = zero, .noise = noise.data()}, lengths.data(), frozen)
               .loss /
           2;
  }
  std::vector<double> weights() const {
    std::vector<double> w = normal_numbers(buffer_size<Parameters>, 5, 0.4);
    for (const TensorInfo& info : tensor_table<Parameters>)
      if (info.name.view().ends_with("norm.weight") || info.name.view().find("norm1.weight") != std::string_view::npos)
        for (std::size_t i = info.offset; i < info.offset + info.size; ++i) w[i] += 1;
    return w;
  }
};

template <class C>
void check_gradients_of(C& c) {
  auto weights = c.weights();
  std::vector<double> gradient(weights.size()), other(weights.size());
  c(weights, gradient);
  double largest = 0;
  for (const double g : gradient) largest = std::max(largest, std::fabs(g));
  CHECK(largest > 0);
  for (const TensorInfo& info : tensor_table<typename C::Parameters>)
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i) {
      const double before = weights[i], h = 1e-5;
      weights[i] = before + h;
      const double up = c(weights, other);
      weights[i] = before - h;
      const double down = c(weights, other);
      weights[i] = before;
      INFO(std::string(info.name.view()), " ", i - info.offset);
      const double expected = c.frozen && info.name.view().starts_with("w2v_model.") ? 0 : (up - down) / (2 * h);
      CHECK(std::fabs(gradient[i] - expected) < 1e-6 * largest);
    }
}

}  // namespace

TEST_CASE("recogniser: gradients are those of finite differences, with masks and ragged lengths") {
  Case<Ragged, 2> c;
  c.lengths = {34, 27};
  c.targets = {{1, 3, 3}, {2}};
  check_gradients_of(c);
  c.hide = true;
  check_gradients_of(c);
  c.zero = true;
  c.frozen = true;
  check_gradients_of(c);
}

TEST_CASE("recogniser: gradients with extra tokens, which the head does not see") {
  Case<Extra, 2> c;
  c.lengths = {34, 30};
  check_gradients_of(c);
}

TEST_CASE("recogniser: a padded utterance counts as one of its own length, whatever the padding is") {
  Case<Ragged, 1> ragged;
  Case<Short, 1> full;
  const auto weights = ragged.weights();
  std::copy_n(ragged.samples.begin(), 26, full.samples.begin());
  ragged.lengths = {26};
  std::vector<double> a(weights.size()), b(weights.size()), c(weights.size());
  const double loss = ragged(weights, a), expected = full(weights, b);
  std::fill(ragged.samples.begin() + 26, ragged.samples.end(), 7);
  CHECK(ragged(weights, c) == loss);
  CHECK(a == c);
  CHECK(loss == doctest::Approx(expected).epsilon(1e-12));
  double largest = 0;
  for (const double g : b) largest = std::max(largest, std::fabs(g));
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::fabs(a[i] - b[i]) < 1e-11 * largest);
}

TEST_CASE("recogniser: rows that only fill up have no part in loss and gradient") {
  Case<Whole, 1> one;
  Case<Whole, 2> two;
  const auto weights = one.weights();
  std::vector<double> a(weights.size()), b(weights.size());
  std::copy_n(one.samples.begin(), 34, two.samples.begin());
  two.targets = {{1, 3}, {1, 3}};
  const double loss = one(weights, a), both = two(weights, b);
  CHECK(both > loss);
  using Net = Recogniser<Whole, symbols>;
  CtcBatch batch(2, Net::T_, Net::T_);
  for (int row = 0; row < 2; ++row) batch.set(row, two.targets[0], Net::T_);
  std::fill(b.begin(), b.end(), 0);
  Cpu cpu;
  const std::array<std::uint32_t, 2> ids{};
  const auto index = bind<Net::Index<2>>(two.indices.data());
  index.masks.clear();
  const double first = Net::step(Pass<Cpu, true>{cpu, {.sample_ids = ids.data()}},
                                 bind<Net::Parameters<const double>>(weights.data()),
                                 bind<Net::Parameters<double>>(b.data()),
                                 View<const double, 2, 34>{two.samples.data()}, 1, batch, 2.0,
                                 bind<Net::Workspace<double, 2>>(two.workspace.data()), index, {})
                           .loss / 2;
  CHECK(first == doctest::Approx(loss).epsilon(1e-12));
  double largest = 0;
  for (const double g : a) largest = std::max(largest, std::fabs(g));
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::fabs(a[i] - b[i]) < 1e-11 * largest);
}

TEST_CASE("masks of tokens: a function of the utterance alone, within its frames, never all of it") {
  constexpr int B = 3, T_ = 40, D = 24;
  using Masks = TokenMasks<B, T_, D>;
  std::vector<int> memory(buffer_size<Masks>), again(buffer_size<Masks>);
  const auto masks = bind<Masks>(memory.data()), other = bind<Masks>(again.data());
  const TokenMaskOptions options{
      .mask_prob = 0.5, .mask_length = 4, .mask_channel_prob = 0.4, .mask_channel_length = 3};
  const std::uint32_t ids[B] = {7, 8, 9}, turned[B] = {9, 8, 7};
  const int valid[B] = {40, 20, 3}, turned_valid[B] = {3, 20, 40};
  long hidden = 0, channels = 0;
  for (std::uint32_t update = 0; update < 500; ++update) {
    masks.draw({.seed = 1, .update = update, .sample_ids = ids}, options, valid);
    other.draw({.seed = 1, .update = update, .sample_ids = turned}, options, turned_valid);
    for (int b = 0; b < B; ++b) {
      int count = 0;
      for (int t = 0; t < T_; ++t) {
        CHECK(masks.frames[b][t] == other.frames[B - 1 - b][t]);
        if (t >= valid[b]) CHECK(masks.frames[b][t] == 0);
        count += masks.frames[b][t];
      }
      CHECK(count < valid[b]);
      for (int c = 0; c < D; ++c) channels += masks.channels[b][c];
      if (b == 0) hidden += count;
    }
  }
  // 5 spans of 4 among 40 frames hide 16.2 on average (with some overlap), 3.2 spans of 3 of 24 channels 8.
  CHECK(static_cast<double>(hidden) / 500 == doctest::Approx(expected_span_tokens(40, 4, 5)).epsilon(0.02));
  CHECK(static_cast<double>(channels) / 1500 > 6);
  CHECK(static_cast<double>(channels) / 1500 < 9);
  masks.draw({.sample_ids = ids}, {}, valid);
  CHECK(std::all_of(memory.begin(), memory.end(), [](int m) { return m == 0; }));
  CHECK_THROWS_WITH_AS((TokenMaskOptions{.mask_prob = 1}.validate()),
                       "TokenMaskOptions::mask_prob: expected 0 or more, below 1, found 1.000000", OptionError);
}
