// SPDX-License-Identifier: MIT
// Text: gradients of the embedding, its values by the definition, names, and what padding may not change.
#include <data2vec/modality/text.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <data2vec/layers/position.hpp>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int samples = 3, T_ = 6, vocab = 8;
constexpr TextConfig learned{.vocab_size = vocab, .tokens = T_, .max_source_positions = 7};
constexpr TextConfig fixed{.vocab_size = vocab, .tokens = T_, .learned_pos = false, .no_scale_embedding = false,
                           .layernorm_embedding = false};
constexpr TextConfig placeless{.vocab_size = vocab, .tokens = T_, .no_token_positional_embeddings = true};
constexpr TextConfig padded_at_zero{.vocab_size = vocab, .tokens = T_, .pad = 0, .max_source_positions = 6,
                                    .no_scale_embedding = false};

template <TextConfig C>
std::vector<std::int32_t> ids() {
  std::vector<std::int32_t> all{4, 2, 7, 7, C.pad, C.pad, 3, 4, 5, 6, 7, 2, 5, C.pad, C.pad, C.pad, C.pad, C.pad};
  return all;
}

template <TextConfig C, int D>
struct TokenEmbedding {
  using Local = typename Text<C>::template LocalEncoder<D>;
  static constexpr int input_size = samples * T_, output_size = samples * T_ * D;
  static constexpr bool has_input_gradient = false;
  template <class T>
  using Parameters = typename Local::template Parameters<T>;
  template <class T>
  using Tape = typename Local::template Tape<T, samples>;

  static void forward(Cpu& d, const Parameters<const double>& p, const double*, double* y, const Tape<double>& tape) {
    const auto texts = ids<C>();
    Local::forward(d, p, View<const std::int32_t, samples, T_>{texts.data()}, View<double, samples, T_, D>{y}, tape);
    // The gradients of pad rows are dropped: nothing may be seen of them here.
    for (std::size_t i = 0; i < texts.size(); ++i)
      for (std::size_t c = 0; c < D && texts[i] == C.pad; ++c) y[i * D + c] = 0;
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double*, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    const auto texts = ids<C>();
    for (std::size_t i = 0; i < texts.size(); ++i)
      for (std::size_t c = 0; c < D && texts[i] == C.pad; ++c) dy[i * D + c] = 0;
    Local::backward(d, p, View<const std::int32_t, samples, T_>{texts.data()},
                    View<const double, samples, T_, D>{dy}, gradient, tape);
  }
};

template <class P>
std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const TensorInfo& info : tensor_table<P>) all.emplace_back(info.name.view());
  return all;
}

/// What the definition says of a text's embedding, in double.
template <TextConfig C, int D>
std::vector<double> by_definition(const typename TokenEmbedding<C, D>::template Parameters<const double>& p) {
  const auto texts = ids<C>();
  std::vector<double> table((T_ + C.pad + 1) * D), y(texts.size() * D);
  if constexpr (!C.learned_pos) sinusoid_positions(T_ + C.pad + 1, D, C.pad, table.data());
  for (int b = 0; b < samples; ++b)
    for (int t = 0, count = 0; t < T_; ++t) {
      const std::size_t at = static_cast<std::size_t>(b * T_ + t);
      count += texts[at] != C.pad;
      const int place = texts[at] == C.pad ? C.pad : C.pad + count;
      double mean = 0, variance = 0;
      for (int c = 0; c < D; ++c) {
        double& value = y[at * D + static_cast<std::size_t>(c)];
        value = p.embed_tokens.weight[texts[at]][c] * (C.no_scale_embedding ? 1 : std::sqrt(D));
        if constexpr (C.no_token_positional_embeddings) value += 0;
        else if constexpr (C.learned_pos) value += p.embed_positions.weight[place][c];
        else value += table[static_cast<std::size_t>(place * D + c)];
        mean += value / D;
      }
      if constexpr (C.layernorm_embedding) {
        for (int c = 0; c < D; ++c) variance += std::pow(y[at * D + static_cast<std::size_t>(c)] - mean, 2) / D;
        for (int c = 0; c < D; ++c) {
          double& value = y[at * D + static_cast<std::size_t>(c)];
          value = (value - mean) / std::sqrt(variance + 1e-5) * p.layernorm_embedding.weight[c] +
                  p.layernorm_embedding.bias[c];
        }
      }
    }
  return y;
}

template <TextConfig C>
void check_values() {
  constexpr int D = 6;
  using L = TokenEmbedding<C, D>;
  using Parameters = typename L::template Parameters<const double>;
  std::vector<double> weights(buffer_size<Parameters>), y(L::output_size);
  std::vector<double> tape(buffer_size<typename L::template Tape<double>>);
  Rng rng({.seed = 2});
  for (double& v : weights) v = static_cast<double>(rng.normal());
  Cpu d;
  const auto p = bind<Parameters>(static_cast<const double*>(weights.data()));
  const auto texts = ids<C>();
  L::Local::forward(d, p, View<const std::int32_t, samples, T_>{texts.data()}, View<double, samples, T_, D>{y.data()},
                    bind<typename L::template Tape<double>>(tape.data()));
  const auto expected = by_definition<C, D>(p);
  // Values of some 3 in front of a norm over 6 channels, which divides by a deviation of some 0.3 at least.
  for (std::size_t i = 0; i < y.size(); ++i)
    CHECK(std::fabs(y[i] - expected[i]) <= 8 * std::numeric_limits<double>::epsilon() * std::sqrt(6.0) * 3 * 10);
}

}  // namespace

static_assert(Modality<Text<learned>> && Modality<Text<fixed>>);
static_assert(Text<learned>::grid == Grid{1, T_} && Text<learned>::sample_size == T_);
static_assert(std::is_same_v<SampleOf<Text<learned>, float>, std::int32_t>);
static_assert(Text<TextConfig{}>::config.padding == Padding::exact);

TEST_CASE("text: parameter gradients of the embedding") {
  expect_gradients<TokenEmbedding<learned, 4>>();
  expect_gradients<TokenEmbedding<fixed, 4>>();
  expect_gradients<TokenEmbedding<padded_at_zero, 5>>();
  expect_gradients<TokenEmbedding<placeless, 4>>();
}

TEST_CASE("text: embeddings are table, positions and norm as defined") {
  check_values<learned>();
  check_values<fixed>();
  check_values<padded_at_zero>();
  check_values<placeless>();
}

TEST_CASE("text: names and initial values; pad rows are zero") {
  using Learned = Text<learned>::LocalEncoder<4>::Parameters<float>;
  using Fixed = Text<fixed>::LocalEncoder<4>::Parameters<float>;
  CHECK(names<Learned>() == std::vector<std::string>{"embed_tokens.weight", "embed_positions.weight",
                                                     "layernorm_embedding.weight", "layernorm_embedding.bias"});
  CHECK(names<Fixed>() == std::vector<std::string>{"embed_tokens.weight"});
  CHECK(names<Text<placeless>::LocalEncoder<4>::Parameters<float>>() ==
        std::vector<std::string>{"embed_tokens.weight", "layernorm_embedding.weight", "layernorm_embedding.bias"});
  for (const TensorInfo& info : tensor_table<Learned>) {
    if (info.rank != 2) continue;
    CHECK(info.init.kind == Distribution::normal);
    CHECK(info.init.scale == 0.02);
    CHECK(info.init.zero_row == learned.pad);
  }
  CHECK(tensor_table<Learned>[1].shape[0] == 7 + learned.pad + 1);
}

TEST_CASE("text: a sample says how long it is") {
  const auto texts = ids<learned>();
  CHECK(Text<learned>::length_of(texts.data()) == 4);
  CHECK(Text<learned>::length_of(texts.data() + T_) == T_);
  CHECK(Text<learned>::length_of(texts.data() + 2 * T_) == 1);
  const std::vector<std::int32_t> nothing(T_, learned.pad), gap{3, learned.pad, 4, learned.pad, learned.pad, learned.pad};
  CHECK(Text<learned>::length_of(nothing.data()) == 0);
  CHECK(Text<learned>::length_of(gap.data()) == 3);
}
