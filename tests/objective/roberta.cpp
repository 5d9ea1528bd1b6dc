// SPDX-License-Identifier: MIT
// RoBERTa: gradients of the whole step, the loss by the definition, names, what is drawn.
#include <data2vec/objective/roberta.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/evaluation/fill_mask.hpp>
#include <data2vec/modality/text.hpp>
#include <data2vec/objective/objective.hpp>
#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int B = 2, T_ = 7, vocab = 9;

constexpr Config post{.embed_dim = 4, .depth = 2, .num_heads = 2, .mlp_ratio = 1.5, .norm_eps = 1e-5,
                      .block_names = BlockNames::fairseq};
/// Pre-norm blocks and every dropout.
constexpr Config pre = [] {
  Config c = post;
  c.layer_norm_first = c.pre_norm_mlp_residual = true;
  c.encoder_dropout = c.post_mlp_drop = c.attention_dropout = c.activation_dropout = c.dropout_input = 0.5;
  return c;
}();
constexpr TextConfig texts(Padding padding, bool norm, double dropout) {
  return {.vocab_size = vocab, .tokens = T_, .max_source_positions = T_, .layernorm_embedding = norm,
          .dropout = dropout, .modality = {.padding = padding}};
}
using Masks = TokenMask<T_, TokenMaskConfig{.mask_prob = 0.4}>;
struct Post : MaskedLanguageModel<post, Text<texts(Padding::exact, true, 0)>, Masks> {};
struct Pre : MaskedLanguageModel<pre, Text<texts(Padding::none, false, 0.5)>, Masks, false> {};
static_assert(Objective<Post> && Objective<Pre>);

constexpr std::int32_t ids[B * T_] = {0, 5, 4, 7, 4, 6, 2, 0, 6, 6, 2, 1, 1, 1};
constexpr std::int32_t full_ids[B * T_] = {0, 5, 4, 7, 4, 6, 2, 0, 6, 6, 2, 3, 5, 2};
constexpr int lengths[B] = {7, 4};

/// The step as a layer from parameters to the loss. `rest` is what other chunks add to the sample size.
template <class Model>
struct StepLayer {
  using Step = typename Model::First;
  using Observer = std::function<void(const std::string&, int, const double*, std::size_t)>;
  static constexpr int input_size = 1, output_size = 1, rest = 3;
  static constexpr bool has_input_gradient = false;
  template <class T>
  using Parameters = typename Model::template Parameters<T>;
  template <class T>
  using Tape = typename Step::template Workspace<T, B>;

  static auto indices(int* count) {
    static std::vector<int> memory(buffer_size<typename Step::template Indices<B>>);
    const auto index = bind<typename Step::template Indices<B>>(memory.data());
    *count = index.draw({.seed = 7, .update = 3, .sample_ids = sample_ids.data()}, {Step::padded ? ids : full_ids},
                        Step::padded ? lengths : nullptr, {.mask = vocab - 1, .vocab_size = vocab});
    return index;
  }
  static MaskedLanguageSums step(Cpu& d, const Parameters<const double>& p, const Parameters<double>& gradient,
                                 const Tape<double>& tape, const Observer& observe = [](auto&&...) {}) {
    int count = 0;
    const auto index = indices(&count);
    return Step::step(fixed_pass<true>(d), Model::template weights<0>(p), Model::template weights<0>(gradient), count,
                      count + rest, tape, index, Step::padded ? lengths : nullptr, observe);
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double*, double* y, const Tape<double>& tape) {
    static std::vector<double> unused(buffer_size<Parameters<double>>);
    const MaskedLanguageSums sums = step(d, p, bind<Parameters<double>>(unused.data()), tape);
    *y = sums.loss / (sums.sample_size + rest);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double*, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    static constexpr double start = 0.5;  // the step must add to what is there
    std::vector<double> own(buffer_size<Parameters<double>>, start);
    const auto from = bind<Parameters<double>>(own.data());
    step(d, p, from, tape);
    for_each_tensor(
        [&](const auto&, const Field&, auto& to, auto& added) {
          for (std::size_t i = 0; i < to.size; ++i) to.data[i] += *dy * (added.data[i] - start);
        },
        gradient, from);
  }
};

template <class Model>
std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>)
    all.emplace_back(info.name.view());
  return all;
}

}  // namespace

TEST_CASE("roberta: gradients of the step, post-norm with padding and tied weights") {
  expect_gradients<StepLayer<Post>>();
}

TEST_CASE("roberta: gradients of the step, pre-norm with every dropout and weights of its own") {
  expect_gradients<StepLayer<Pre>>();
}

TEST_CASE("roberta: the loss is that of the predicted positions, of tokens that are no padding") {
  using Layer = StepLayer<Post>;
  Cpu d;
  Rng rng({.seed = 4});
  std::vector<double> weights(buffer_size<Layer::Parameters<double>>), gradient(weights.size()),
      memory(buffer_size<Layer::Tape<double>>);
  for (double& w : weights) w = static_cast<double>(rng.normal());
  int count = 0;
  const auto index = Layer::indices(&count);
  REQUIRE(count > 2);
  for (int i = 0; i < count; ++i) {
    CHECK(index.rows[i] % T_ < lengths[index.rows[i] / T_]);
    CHECK(index.labels[i] == ids[index.rows[i]]);
    CHECK((i == 0 || index.rows[i] > index.rows[i - 1]));
  }
  for (int at = 0; at < B * T_; ++at)
    if (index.seen.data[at] != ids[at]) CHECK(std::count(index.rows.data, index.rows.data + count, at) == 1);
  double loss = 0, correct = 0;
  const auto sums = Layer::step(
      d, bind<Layer::Parameters<const double>>(weights.data()), bind<Layer::Parameters<double>>(gradient.data()),
      bind<Layer::Tape<double>>(memory.data()), [&](const std::string& name, int, const double* v, std::size_t n) {
        if (name != "logits") return;
        REQUIRE(n == static_cast<std::size_t>(count) * vocab);
        for (int i = 0; i < count; ++i, v += vocab) {
          double sum = 0;
          for (int k = 0; k < vocab; ++k) sum += std::exp(v[k]);
          loss += std::log(sum) - v[index.labels[i]];
          correct += std::max_element(v, v + vocab) - v == index.labels[i];
        }
      });
  CHECK(std::fabs(sums.loss - loss) < 8 * std::numeric_limits<double>::epsilon() * vocab * loss);
  CHECK(sums.correct == correct);
  CHECK(sums.sample_size == count);
}

TEST_CASE("roberta: hidden tokens are filled with what the step's head finds most likely") {
  using Step = Post::First;
  constexpr std::int32_t mask = MaskFiller<Post>::mask;
  std::vector<float> weights(buffer_size<Post::Parameters<float>>), gradient(weights.size());
  Rng rng({.seed = 4});
  for (float& w : weights) w = static_cast<float>(rng.normal());
  const std::vector<std::int32_t> text{0, mask, 4, mask, 2};
  MaskFiller<Post> fill(weights.data());
  const auto guesses = fill(text, vocab);
  REQUIRE(guesses.size() == 2);

  std::vector<float> memory(buffer_size<Step::Workspace<float, 1>>);
  std::vector<int> numbers(buffer_size<Step::Indices<1>>);
  const auto index = bind<Step::Indices<1>>(numbers.data());
  for (int t = 0; t < T_; ++t) index.seen[0][t] = t < 5 ? text[static_cast<std::size_t>(t)] : 1;
  index.rows[0] = 1, index.rows[1] = 3, index.labels[0] = index.labels[1] = 0;
  const int length = 5;
  std::vector<float> logits;
  Cpu d;
  Step::step(fixed_pass<true>(d), Post::weights<0>(bind<Post::Parameters<const float>>(weights.data())),
             Post::weights<0>(bind<Post::Parameters<float>>(gradient.data())), 2, 2,
             bind<Step::Workspace<float, 1>>(memory.data()), index, &length,
             [&](const std::string& name, int, const float* v, std::size_t n) {
               if (name == "logits") logits.assign(v, v + n);
             });
  REQUIRE(logits.size() == 2 * vocab);
  for (std::size_t i = 0; i < 2; ++i) {
    double sum = 0, of_all = 0;
    for (std::size_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(logits[i * vocab + v]));
    for (std::size_t k = 0; k < vocab; ++k) {
      const TokenGuess& guess = guesses[i][k];
      const auto logit = static_cast<double>(logits[i * vocab + static_cast<std::size_t>(guess.token)]);
      CHECK(guess.probability == doctest::Approx(std::exp(logit) / sum).epsilon(1e-4));
      CHECK((k == 0 || guess.probability <= guesses[i][k - 1].probability));
      of_all += guess.probability;
    }
    CHECK(of_all == doctest::Approx(1));
  }
  CHECK(fill(text, 1)[1][0].token == guesses[1][0].token);
  CHECK(fill(std::vector<std::int32_t>{0, 4, 2}, 1).empty());
  CHECK_THROWS_AS(fill(std::vector<std::int32_t>(8, 4), 1), OptionError);
  CHECK_THROWS_AS(fill(std::vector<std::int32_t>{0, vocab, 2}, 1), OptionError);
  CHECK_THROWS_AS(fill(text, 0), OptionError);
  Buffer<float> others(buffer_size<Pre::Parameters<float>>);
  MaskFiller<Pre> full(others.data());
  CHECK_THROWS_AS(full(text, 1), OptionError);  // a model without padding
  CHECK(full(std::vector<std::int32_t>(T_, mask), 2).size() == T_);
}

TEST_CASE("roberta: names of the reference") {
  const auto all = names<Post>();
  for (const char* name :
       {"encoder.sentence_encoder.embed_tokens.weight", "encoder.sentence_encoder.embed_positions.weight",
        "encoder.sentence_encoder.layernorm_embedding.bias", "encoder.sentence_encoder.layers.1.self_attn.k_proj.bias",
        "encoder.sentence_encoder.layers.0.final_layer_norm.weight", "encoder.lm_head.bias",
        "encoder.lm_head.dense.weight", "encoder.lm_head.layer_norm.weight"})
    CHECK(std::count(all.begin(), all.end(), name) == 1);
  CHECK(std::count(all.begin(), all.end(), "encoder.lm_head.weight") == 0);
  const auto other = names<Pre>();
  CHECK(std::count(other.begin(), other.end(), "encoder.lm_head.weight") == 1);
  CHECK(std::count(other.begin(), other.end(), "encoder.sentence_encoder.layer_norm.weight") == 1);
  CHECK(Post::in_decoder("encoder.lm_head.bias"));
  CHECK_FALSE(Post::in_decoder("encoder.sentence_encoder.embed_tokens.weight"));
}

TEST_CASE("roberta: initial weights") {
  std::vector<float> weights(buffer_size<Post::Parameters<float>>);
  Post::initialise(weights.data(), 3);
  const auto p = bind<Post::Parameters<float>>(weights.data());
  const auto& local = p.encoder.front_end.local_encoder;
  for (int i = 0; i < 4; ++i) {
    CHECK(local.embed_tokens.weight[1][i] == 0);  // <pad>
    CHECK(local.embed_tokens.weight[2][i] != 0);
    CHECK(p.lm_head.layer_norm.weight[i] == 1);
    CHECK(p.lm_head.bias[i] == 0);
  }
}
