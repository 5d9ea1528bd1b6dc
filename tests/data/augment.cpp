// SPDX-License-Identifier: MIT
// Random resized crops: bounds, distribution, the exact rule for given draws; the geometry of evaluation; keys.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include <data2vec/data/augment.hpp>

namespace d2v = data2vec;

namespace {

d2v::Image pattern(int height, int width) {
  d2v::Image image{height, width, 3, {}};
  for (int i = 0; i < height * width * 3; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i * 41 + i / 7));
  return image;
}

d2v::Rng stream(std::uint32_t sample) { return d2v::Rng({.seed = 3, .sample = sample, .site = d2v::Site::augment}); }

}  // namespace

TEST_CASE("augment: halves are rounded to even") {
  const double in[] = {0.5, 1.5, 2.5, 2.4999, 2.5001, 3, 16.5, 17.5};
  const int out[] = {0, 2, 2, 2, 3, 3, 16, 18};
  for (std::size_t i = 0; i < 8; ++i) CHECK(d2v::detail::round_even(in[i]) == out[i]);
}

TEST_CASE("augment: a crop is the rule of torchvision applied to the draws of its key") {
  const d2v::RandomResizedCrop options;
  for (std::uint32_t sample = 0; sample < 500; ++sample) {
    auto rng = stream(sample), draws = stream(sample);
    const auto crop = d2v::random_crop(options, {120, 200}, rng);
    bool found = false;
    for (int i = 0; i < 10 && !found; ++i) {
      const double area = 24000 * (0.2 + 0.8 * draws.uniform());
      const double aspect = std::exp(std::log(0.75) + (std::log(4 / 3.0) - std::log(0.75)) * draws.uniform());
      const double w = std::nearbyint(std::sqrt(area * aspect)), h = std::nearbyint(std::sqrt(area / aspect));
      if (w > 200 || h > 120) continue;
      found = true;
      const int height = static_cast<int>(h), width = static_cast<int>(w);
      const int top = static_cast<int>(draws.below(static_cast<std::uint32_t>(121 - height)));
      CHECK(crop == d2v::Rectangle{top, static_cast<int>(draws.below(static_cast<std::uint32_t>(201 - width))), height,
                                   width});
    }
    if (!found) CHECK(crop == d2v::Rectangle{0, 20, 120, 160});
    CHECK(rng.next() == draws.next());  // and not a draw more
  }
}

TEST_CASE("augment: crops lie inside, with the area and aspect asked for, uniform and log-uniform") {
  const d2v::RandomResizedCrop options{.min_area = 0.08, .max_area = 0.5};  // 0.5 always fits: no try is rejected
  const int n = 4000, side = 400;
  std::array<int, 4> areas{}, aspects{}, places{};
  for (int i = 0; i < n; ++i) {
    auto rng = stream(static_cast<std::uint32_t>(i));
    const auto crop = d2v::random_crop(options, side, rng);
    REQUIRE(crop.top >= 0);
    REQUIRE(crop.left >= 0);
    REQUIRE(crop.top + crop.height <= side);
    REQUIRE(crop.left + crop.width <= side);
    const double area = double(crop.height) * crop.width / (side * side), aspect = double(crop.width) / crop.height;
    // Sides are rounded by at most half a pixel of at least 97 (8 % of the area at an aspect of 3/4).
    const double rounding = 1.0 / 97;
    CHECK(area >= 0.08 * (1 - 2 * rounding));
    CHECK(area <= 0.5 * (1 + 2 * rounding));
    CHECK(std::abs(std::log(aspect)) <= std::log(4 / 3.0) + rounding);
    const auto quarter = [](double part) { return static_cast<std::size_t>(std::clamp(part * 4, 0.0, 3.0)); };
    ++areas[quarter((area - 0.08) / 0.42)];
    ++aspects[quarter(std::log(aspect) / (2 * std::log(4 / 3.0)) + 0.5)];
    ++places[quarter((crop.top + 0.5) / (side - crop.height + 1))];
  }
  // Four equally likely bins: 5 standard deviations of a binomial, and 2 % of n for what rounding moves over an edge.
  for (const auto& bins : {areas, aspects, places})
    for (const int count : bins) CHECK(std::abs(count - n / 4) <= 5 * std::sqrt(n * 0.25 * 0.75) + 0.02 * n);
}

TEST_CASE("augment: what fits nowhere is the central crop of the nearest aspect") {
  const d2v::RandomResizedCrop all{.min_area = 1};
  for (const auto& [height, width, expected] :
       {std::tuple{100, 300, d2v::Rectangle{0, 83, 100, 133}}, {300, 100, d2v::Rectangle{83, 0, 133, 100}},
        {1, 5000, d2v::Rectangle{0, 2499, 1, 1}}, {5000, 1, d2v::Rectangle{2499, 0, 1, 1}}}) {
    auto rng = stream(0);
    CHECK(d2v::random_crop(all, {height, width}, rng) == expected);
  }
  auto rng = stream(0);
  CHECK(d2v::random_crop({.tries = 0}, {90, 100}, rng) == d2v::Rectangle{0, 0, 90, 100});
  CHECK(d2v::random_crop({}, 1, rng) == d2v::Rectangle{0, 0, 1, 1});
}

TEST_CASE("augment: evaluation resizes the short side to int(size / 0.875) and keeps the centre") {
  const auto geometry = [](d2v::Extent size, double keep, d2v::Extent image) {
    return d2v::evaluation_geometry({.size = size, .keep = keep}, image);
  };
  auto g = geometry(224, 0, {500, 375});
  CHECK(g.resized == d2v::Extent{341, 256});  // int(256 * 500 / 375)
  CHECK(g.window == d2v::Rectangle{58, 16, 224, 224});  // 58.5 to even
  g = geometry(224, 0, {375, 503});
  CHECK(g.resized == d2v::Extent{256, 343});
  CHECK(g.window == d2v::Rectangle{16, 60, 224, 224});  // 59.5 to even
  CHECK(geometry(384, 0, {100, 200}).resized == d2v::Extent{384, 768});  // above 224: the size itself
  CHECK(geometry(32, 0, 32).resized == d2v::Extent{36});
  CHECK(geometry(32, 1, 32).resized == d2v::Extent{32});
  g = geometry({16, 24}, 1, {10, 10});  // oblong: covered
  CHECK(g.resized == d2v::Extent{24, 24});
  CHECK(g.window == d2v::Rectangle{4, 0, 16, 24});
}

TEST_CASE("augment: a sample is a function of seed, epoch and sample, half of them mirrored") {
  const auto image = pattern(40, 30);
  d2v::ImageTransform transform({.size = 16});
  REQUIRE(transform.sample_size(3) == 768);
  std::vector<float> a(768), b(768), other(768);
  transform.train(image, 1, 2, 3, a.data());
  transform.train(image, 1, 2, 4, other.data());
  CHECK(a != other);
  transform.train(image, 1, 3, 3, other.data());
  CHECK(a != other);
  transform.train(image, 2, 2, 3, other.data());
  CHECK(a != other);
  d2v::ImageTransform fresh({.size = 16});
  fresh.train(image, 1, 2, 3, b.data());
  CHECK(a == b);

  // The whole image, not resized: what is left is the flip.
  d2v::ImageTransform flips({.size = {40, 30}, .crop = {.tries = 0}});
  std::vector<float> plain(3600), mirrored(3600), sample(3600);
  const d2v::PixelTable table(d2v::imagenet_statistics);
  table.apply(image, false, plain.data());
  table.apply(image, true, mirrored.data());
  int count = 0;
  const int n = 400;
  for (int i = 0; i < n; ++i) {
    flips.train(image, 7, 0, static_cast<std::uint32_t>(i), sample.data());
    CHECK((sample == plain || sample == mirrored));
    count += sample == mirrored;
  }
  CHECK(std::abs(count - n / 2) <= 5 * std::sqrt(n * 0.25));
}

TEST_CASE("augment: evaluation of an image of the model's own size changes nothing but the numbers") {
  const auto image = pattern(32, 32);
  d2v::ImageTransform transform({.size = 32, .keep = 1});
  std::vector<float> out(3072), expected(3072);
  transform.evaluate(image, out.data());
  d2v::PixelTable(d2v::imagenet_statistics).apply(image, false, expected.data());
  CHECK(out == expected);
  std::vector<float> wide(3 * 224 * 224);  // 1 x 5000: resized it would have 256 x 1,280,000 pixels
  d2v::ImageTransform({.size = 224}).evaluate(pattern(1, 5000), wide.data());
  const auto largest = std::max_element(wide.begin(), wide.end());
  CHECK(*largest <= (1 - 0.406f) / 0.225f);
}

TEST_CASE("augment: options outside of their range are named") {
  using Crop = d2v::RandomResizedCrop;
  for (const Crop crop : {Crop{.min_area = 0}, Crop{.min_area = 0.5, .max_area = 0.4}, Crop{.max_area = 1.1},
                          Crop{.min_aspect = 0}, Crop{.min_aspect = 2}, Crop{.tries = -1}})
    CHECK_THROWS_AS(d2v::ImageTransform({.crop = crop}), d2v::OptionError);
  CHECK_THROWS_AS(d2v::ImageTransform({.size = 0}), d2v::OptionError);
  CHECK_THROWS_AS(d2v::ImageTransform({.keep = 1.5}), d2v::OptionError);
}
