// SPDX-License-Identifier: MIT
// Classes of utterances: pooling over the frames that are no padding, in training and evaluation.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/finetuner.hpp>

using namespace data2vec;

namespace {

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                               .average_top_k_layers = 1};
template <int size, Padding padding>
using Waves = Speech<SpeechConfig{.input_size = size,
                                  .feature_encoder_spec = {{8, 6, 4}, {8, 3, 2}},
                                  .conv_pos_width = 6,
                                  .conv_pos_groups = 2,
                                  .conv_pos_depth = 2,
                                  .modality = {.use_alibi_encoder = true, .padding = padding}}>;
template <int size, Padding padding>
struct Of : Data2Vec2<config, Branch<Waves<size, padding>,
                                     RandomMask<Waves<size, padding>::tokens, MaskConfig{.mask_prob = 0.5}>,
                                     Conv1dDecoder<DecoderConfig{.decoder_dim = 4, .decoder_groups = 2,
                                                                 .decoder_kernel = 3, .decoder_layers = 1,
                                                                 .input_dropout = 0}>>> {};
constexpr int classes = 3;
constexpr ClassifierConfig head{.num_classes = classes};
using Padded = FineTuner<Of<160, Padding::exact>, head, Cpu>;
using Full = FineTuner<Of<120, Padding::none>, head, Cpu>;

FineTunerOptions options() {
  FineTunerOptions o;
  o.schedule = ConstantSchedule{3e-3};
  o.optimizer.weight_decay = 0;
  o.threads = 1;
  return o;
}

/// Tones of 120 samples in rows of `size`, `behind` behind them.
std::vector<float> tones(std::size_t n, std::size_t size, float behind) {
  std::vector<float> x(n * size, behind);
  for (std::size_t i = 0; i < n; ++i) {
    Rng rng({.seed = 2, .sample = static_cast<std::uint32_t>(i)});
    for (std::size_t t = 0; t < 120; ++t)
      x[i * size + t] = std::sin(0.3f * static_cast<float>((1 + i % classes) * t)) + 0.2f * rng.normal();
  }
  return x;
}

}  // namespace

TEST_CASE("utterances: padding has no part in classes, and they are learnt") {
  constexpr std::size_t n = 11;
  const auto zeros = tones(n, 160, 0), others = tones(n, 160, 3), full = tones(n, 120, 0);
  std::vector<std::int32_t> labels(n);
  std::vector<std::uint32_t> ids(n);
  for (std::size_t i = 0; i < n; ++i)
    labels[i] = static_cast<std::int32_t>(i % classes), ids[i] = static_cast<std::uint32_t>(i);
  const std::vector<int> lengths(n, 120);
  Padded a(options()), b(options());
  Full c(options());
  for (int i = 0; i < 60; ++i) {
    const auto x = a.step({zeros, ids, labels, {}, {}, lengths});
    CHECK(b.step({others, ids, labels, {}, {}, lengths}).loss == x.loss);
    const double loss = c.step({full, ids, labels}).loss;
    if (i == 0) CHECK(loss == doctest::Approx(x.loss).epsilon(1e-5));
  }
  std::vector<float> p(n * classes), q(n * classes);
  a.logits(zeros, p, lengths);
  a.logits(others, q, lengths);
  CHECK(p == q);
  for (std::size_t i = 0; i < n; ++i)
    CHECK(std::max_element(&p[i * classes], &p[i * classes] + classes) - &p[i * classes] == labels[i]);
  CHECK_THROWS_AS(a.logits(zeros, p, std::vector<int>(n, 13)), OptionError);
  CHECK_THROWS_AS(a.logits(zeros, p, std::vector<int>(1, 120)), OptionError);
}
