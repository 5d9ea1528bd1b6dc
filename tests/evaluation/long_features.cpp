// SPDX-License-Identifier: MIT
// Features of recordings of any length: shapes, what windows may change and what not, pooling without padding.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/long_features.hpp>

using namespace data2vec;

namespace {

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                               .average_top_k_layers = 1};
template <int size>
using Waves = Speech<SpeechConfig{.input_size = size,
                                  .feature_encoder_spec = {{8, 6, 4}, {8, 3, 2}},
                                  .conv_pos_width = 6,
                                  .conv_pos_groups = 2,
                                  .conv_pos_depth = 2,
                                  .modality = {.use_alibi_encoder = true, .padding = Padding::exact}}>;
template <int size>
struct Of : Data2Vec2<config, Branch<Waves<size>, RandomMask<Waves<size>::tokens, MaskConfig{.mask_prob = 0.5}>,
                                     Conv1dDecoder<DecoderConfig{.decoder_dim = 4, .decoder_groups = 2,
                                                                 .decoder_kernel = 3, .decoder_layers = 1,
                                                                 .input_dropout = 0}>>> {};
template <int size>
struct Contrasting
    : Wav2Vec2<config, Speech<[] {
                 SpeechConfig c = Waves<size>::speech;
                 c.conv_pos_depth = 1, c.conv_pos_weight_norm = true, c.modality.use_alibi_encoder = false;
                 return c;
               }()>,
               SpanMask<Waves<size>::tokens, MaskConfig{.mask_prob = 0.5, .mask_length = 2}>,
               Wav2Vec2Config{.final_dim = 6, .latent_vars = 5, .latent_groups = 2, .num_negatives = 2}> {};
using Long = LongFeatures<Of<200>>;
static_assert(Long::geometry == FrameGeometry{14, 8} && Long::frames(13) == 0 && Long::frames(14) == 1);
static_assert(Long::frames(200) == Waves<200>::tokens);

/// What reads samples one after the other.
auto reader_of(const std::vector<float>& samples) {
  return [&samples, at = std::size_t{0}](std::span<float> to) mutable {
    const std::size_t n = std::min(to.size(), samples.size() - at);
    std::copy_n(samples.begin() + static_cast<std::ptrdiff_t>(at), n, to.begin());
    at += n;
    return n;
  };
}

struct Recording {
  std::vector<float> samples;
  std::vector<float> weights = std::vector<float>(buffer_size<Of<200>::Parameters<float>>);

  explicit Recording(std::size_t n) : samples(n) {
    Of<200>::initialise(weights.data(), 4);
    Rng rng({.seed = 6});
    for (float& x : samples) x = rng.normal();
  }
  std::vector<float> through_windows(std::int64_t margin, int layer = 2) const {
    Long features(margin, layer);
    std::vector<float> all;
    features.run(bind<Of<200>::Parameters<const float>>(weights.data()), static_cast<std::int64_t>(samples.size()),
                 reader_of(samples),
                 [&](std::int64_t first, std::span<const float> values) {
                   CHECK(first * 16 == static_cast<std::int64_t>(all.size()));
                   all.insert(all.end(), values.begin(), values.end());
                 });
    return all;
  }
  template <int size>
  std::vector<float> whole(int layer = 2) const {
    using F = Features<Of<size>>;
    std::vector<float> padded = samples;
    padded.resize(size);
    Buffer<float> memory(buffer_size<typename F::template Workspace<float>>);
    Buffer<int> index(buffer_size<typename F::Index>);
    Cpu cpu;
    const int length = static_cast<int>(samples.size());
    const auto y = features<Of<size>, 1>(
        cpu, bind<typename Of<size>::template Parameters<const float>>(weights.data()),
        View<const float, 1, size>{padded.data()}, bind<typename F::template Workspace<float>>(memory.data()),
        bind<typename F::Index>(index.data()), layer, &length);
    return {y.data, y.data + Long::frames(length) * 16};
  }
};

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(static_cast<double>(a[i] - b[i])));
  return most;
}

}  // namespace

TEST_CASE("long features: a recording within one window is that of a model of its length") {
  const Recording r(150);
  const auto a = r.through_windows(5), b = r.whole<150>();
  REQUIRE(a.size() == b.size());
  CHECK(difference(a, b) < 1e-5);
  CHECK(r.through_windows(0) == a);
  CHECK(difference(r.through_windows(0, 1), r.whole<150>(1)) < 1e-5);
}

TEST_CASE("long features: every frame once, nearer to the whole with more context") {
  const Recording r(700);
  const auto whole = r.whole<700>();
  const auto none = r.through_windows(0), some = r.through_windows(9);
  REQUIRE(whole.size() == static_cast<std::size_t>(Long::frames(700) * 16));
  REQUIRE(none.size() == whole.size());
  REQUIRE(some.size() == whole.size());
  CHECK(difference(some, whole) < difference(none, whole));
  CHECK(difference(some, whole) > 0);  // attention sees a window, not all
  CHECK_THROWS_AS(r.through_windows(12), OptionError);
  CHECK_THROWS_AS(Long(0, 3), OptionError);
  CHECK_THROWS_AS(Recording(13).through_windows(0), MismatchError);
}

TEST_CASE("long features: the codes of wav2vec 2.0's quantiser, the best entries of each frame") {
  using Model = Contrasting<200>;
  using F = Features<Model>;
  std::vector<float> weights(buffer_size<Model::Parameters<float>>);
  Model::initialise(weights.data(), 4);
  const auto p = bind<Model::Parameters<const float>>(weights.data());
  const Recording r(150);  // one window, padded
  LongFeatures<Model> features(0);
  std::vector<int> codes;
  features.codes(p, 150, reader_of(r.samples), [&](std::int64_t first, std::span<const int> found) {
    CHECK(first * 2 == static_cast<std::int64_t>(codes.size()));
    codes.insert(codes.end(), found.begin(), found.end());
  });
  REQUIRE(codes.size() == static_cast<std::size_t>(LongFeatures<Model>::frames(150) * 2));

  std::vector<float> padded = r.samples;
  padded.resize(200);
  Buffer<float> memory(buffer_size<F::Workspace<float>>);
  Buffer<int> index(buffer_size<F::Index>);
  Cpu cpu;
  const int length = 150;
  const auto w = bind<F::Workspace<float>>(memory.data());
  data2vec::features<Model, 1>(cpu, p, View<const float, 1, 200>{padded.data()}, w, bind<F::Index>(index.data()),
                               F::last_layer, &length);
  const auto& scores = Model::weights<0>(p).branch.quantizer.weight_proj;
  std::vector<int> seen(5);
  for (int t = 0; t < static_cast<int>(codes.size()) / 2; ++t)
    for (int g = 0; g < 2; ++g) {
      double logits[5];
      for (int v = 0; v < 5; ++v) {
        logits[v] = static_cast<double>(scores.bias[5 * g + v]);
        for (int c = 0; c < 8; ++c)
          logits[v] += static_cast<double>(scores.weight[5 * g + v][c]) *
                       static_cast<double>(w.local_tape.normed[0][t][c]);
      }
      const auto best = std::max_element(logits, logits + 5) - logits;
      CHECK(codes[static_cast<std::size_t>(2 * t + g)] == best);
      ++seen[static_cast<std::size_t>(best)];
    }
  CHECK(std::count(seen.begin(), seen.end(), 0) < 3);  // not one code for all
  std::int64_t frames = 0;
  features.codes(p, 700, reader_of(Recording(700).samples),
                 [&](std::int64_t, std::span<const int> found) { frames += static_cast<std::int64_t>(found.size()) / 2; });
  CHECK(frames == Long::frames(700));
}

TEST_CASE("features: stretches of what is no padding") {
  using F = Features<Of<200>, 2>;
  std::vector<float> tokens(2 * F::S * F::D), pooled(2 * 3 * F::D);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<float>(i / F::D % F::S);  // its place
  const int lengths[2] = {14 + 5 * 8, 14};
  Cpu cpu;
  F::pool_stretches(cpu, View<const float, 2, F::S, F::D>{tokens.data()}, 3, pooled.data(), lengths);
  const auto value = [&](std::size_t b, std::size_t part) { return pooled[(b * 3 + part) * F::D + 7]; };
  CHECK(value(0, 0) == 0.5f);  // of six tokens: two each
  CHECK(value(0, 1) == 2.5f);
  CHECK(value(0, 2) == 4.5f);
  for (std::size_t part = 0; part < 3; ++part) CHECK(value(1, part) == 0);  // one token
  std::vector<float> by_hand(3 * F::D);
  pool_frames(std::span<const float>(tokens).first(6 * F::D), F::D, 3, by_hand.data());
  for (std::size_t i = 0; i < by_hand.size(); ++i) CHECK(by_hand[i] == doctest::Approx(pooled[i]));
  F::mean_pool(cpu, View<const float, 2, F::S, F::D>{tokens.data()}, pooled.data(), lengths);
  CHECK(pooled[3] == 2.5f);
  CHECK(pooled[F::D + 3] == 0);
}
