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
using Long = LongFeatures<Of<200>>;
static_assert(Long::geometry == FrameGeometry{14, 8} && Long::frames(13) == 0 && Long::frames(14) == 1);
static_assert(Long::frames(200) == Waves<200>::tokens);

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
    std::size_t at = 0;
    features.run(bind<Of<200>::Parameters<const float>>(weights.data()), static_cast<std::int64_t>(samples.size()),
                 [&](std::span<float> to) {
                   const std::size_t n = std::min(to.size(), samples.size() - at);
                   std::copy_n(samples.begin() + static_cast<std::ptrdiff_t>(at), n, to.begin());
                   at += n;
                   return n;
                 },
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
