// SPDX-License-Identifier: MIT
// mixup and CutMix: the distribution of what is drawn, and what is done with it.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include <data2vec/finetune/mixup.hpp>

using namespace data2vec;

namespace {

constexpr MixupConfig published{.mixup = 0.7, .cutmix = 1, .mixup_prob = 0.9, .mixup_switch_prob = 0.5,
                                .label_smoothing = 0.1};
constexpr Extent size{8, 12};

/// Samples whose every value says which sample, channel and place it is.
std::vector<float> numbered(int n, int channels) {
  std::vector<float> x(static_cast<std::size_t>(n * channels * size.size()));
  std::iota(x.begin(), x.end(), 1.0f);
  return x;
}

}  // namespace

TEST_CASE("mixup: Beta draws have the moments of their distribution") {
  for (const auto& shape : {std::pair{0.7, 0.7}, {1.0, 1.0}, {0.2, 0.5}, {3.0, 1.5}, {0.01, 0.01}}) {
    const double a = shape.first, b = shape.second;
    CAPTURE(a);
    CAPTURE(b);
    constexpr int n = 20'000;
    double sum = 0, squares = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
      Rng rng({.seed = 11, .sample = i});
      const double x = beta_draw(rng, a, b);
      REQUIRE((x >= 0 && x <= 1));
      sum += x;
      squares += x * x;
    }
    const double mean = a / (a + b), variance = a * b / ((a + b) * (a + b) * (a + b + 1));
    // Five standard errors; for the variance the fourth moment of a value in [0, 1] is at most its second.
    CHECK(std::fabs(sum / n - mean) < 5 * std::sqrt(variance / n));
    CHECK(std::fabs(squares / n - mean * mean - variance) < 5 * std::sqrt(variance / n) * (1 + 2 * mean));
  }
}

TEST_CASE("mixup: a draw is a function of seed and update") {
  const Mix a = draw_mix(published, size, 3, 7), b = draw_mix(published, size, 3, 7),
            c = draw_mix(published, size, 3, 8);
  CHECK(a.lambda == b.lambda);
  CHECK(a.left == b.left);
  CHECK(a.lambda != c.lambda);
}

TEST_CASE("mixup: probabilities of mixing and of switching") {
  constexpr int n = 10'000;
  double mixed = 0, cut = 0;
  for (std::uint32_t update = 0; update < n; ++update) {
    const Mix mix = draw_mix(published, {224, 224}, 1, update);
    cut += mix.cutmix;
    mixed += mix.cutmix || mix.lambda < 1;
  }
  CHECK(std::fabs(mixed / n - 0.9) < 5 * std::sqrt(0.9 * 0.1 / n));
  CHECK(std::fabs(cut / n - 0.45) < 5 * std::sqrt(0.45 * 0.55 / n));
  MixupConfig config = published;
  config.mixup_switch_prob = 0;  // the reference's default: mixup alone
  config.mixup_prob = 1;
  for (std::uint32_t update = 0; update < 100; ++update) CHECK(!draw_mix(config, size, 1, update).cutmix);
  config.mixup = 0;
  for (std::uint32_t update = 0; update < 100; ++update) CHECK(draw_mix(config, size, 1, update).cutmix);
  CHECK(draw_mix({}, size, 1, 0).lambda == 1);
}

TEST_CASE("mixup: samples become lambda of themselves and the rest of their partners") {
  const auto before = numbered(5, 2);
  const std::size_t count = 2 * static_cast<std::size_t>(size.size());
  auto x = before;
  mix_samples<float>({.lambda = 0.25}, 2, size, x);
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j < count; ++j) {
      const float own = before[i * count + j], other = before[(4 - i) * count + j];
      CHECK(x[i * count + j] == (i == 2 ? own : 0.25f * own + 0.75f * other));  // the middle one has no partner
    }
  x = before;
  mix_samples<float>({.lambda = 1}, 2, size, x);
  CHECK(x == before);
}

TEST_CASE("mixup: CutMix swaps a box, and lambda is the area that is left") {
  const auto before = numbered(4, 3);
  const std::size_t plane = static_cast<std::size_t>(size.size()), count = 3 * plane;
  int cut = 0;
  for (std::uint32_t update = 0; update < 60; ++update) {
    const Mix mix = draw_mix({.cutmix = 1}, size, 5, update);
    REQUIRE(mix.cutmix);
    auto x = before;
    mix_samples<float>(mix, 3, size, x);
    int swapped = 0;
    for (std::size_t i = 0; i < 4; ++i)
      for (std::size_t j = 0; j < count; ++j) {
        const auto at = static_cast<int>(j % plane);
        const int row = at / size.width, column = at % size.width;
        const bool inside = row >= mix.top && row < mix.bottom && column >= mix.left && column < mix.right;
        REQUIRE(x[i * count + j] == before[(inside ? 3 - i : i) * count + j]);
        swapped += inside;
      }
    CHECK(mix.lambda == doctest::Approx(1 - swapped / static_cast<double>(x.size())));
    cut += swapped > 0;
  }
  CHECK(cut > 30);
}

TEST_CASE("mixup: soft labels") {
  const std::vector<std::int32_t> labels{0, 2, 2};
  std::vector<double> soft(3 * 4);
  mix_labels<double>({.lambda = 0.75}, labels, 4, 0.2, soft);
  // timm's mixup_target: 0.75 one-hot(own) + 0.25 one-hot(partner), with "on" 0.8 + 0.2 / 4 and "off" 0.2 / 4.
  const double on = 0.85, off = 0.05;
  const std::vector<double> expected{0.75 * on + 0.25 * off, off, 0.75 * off + 0.25 * on, off,
                                     off, off, on, off,
                                     0.75 * off + 0.25 * on, off, 0.75 * on + 0.25 * off, off};
  for (std::size_t i = 0; i < soft.size(); ++i) CHECK(soft[i] == doctest::Approx(expected[i]).epsilon(1e-14));
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(std::accumulate(&soft[4 * i], &soft[4 * i] + 4, 0.0) == doctest::Approx(1).epsilon(1e-14));
}

TEST_CASE("mixup: all of it, and what is refused") {
  auto x = numbered(4, 1);
  const auto before = x;
  const std::vector<std::int32_t> labels{0, 1, 2, 1};
  std::vector<float> soft(12);
  const auto run = [&](const MixupConfig& config) {
    return mixup<float>(config, 1, size, 2, 0, x, labels, 3, soft);
  };
  const Mix mix = run({.mixup = 1});
  CHECK(mix.lambda < 1);
  CHECK(x != before);
  CHECK(soft[0] == doctest::Approx(mix.lambda));
  CHECK(soft[1] == doctest::Approx(1 - mix.lambda));
  CHECK_THROWS_WITH_AS(run({.mixup = -1}), "MixupConfig::mixup: expected 0 or more, found -1.000000", OptionError);
  CHECK_THROWS_AS(run({.mixup_prob = 1.5}), OptionError);
  CHECK_THROWS_AS(run({.label_smoothing = 1}), OptionError);
  soft.resize(11);
  CHECK_THROWS_AS(run({}), MismatchError);
  soft.resize(12);
  x.pop_back();
  CHECK_THROWS_AS(run({}), MismatchError);
  const std::vector<std::int32_t> wrong{0, 1, 3, 1};
  CHECK_THROWS_WITH_AS(mix_labels<float>({}, wrong, 3, 0, soft), "mixup: expected labels from 0 to 2, found 3",
                       OptionError);
}
