// SPDX-License-Identifier: MIT
// Channels, statistics and normalisation of images of bytes.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <data2vec/data/pixels.hpp>

namespace d2v = data2vec;

TEST_CASE("pixels: grey to RGB and back is the identity, luma weighs the channels") {
  d2v::Image grey{16, 16, 1, {}};
  for (int p = 0; p < 256; ++p) grey.pixels.push_back(static_cast<std::uint8_t>(p));
  const auto rgb = d2v::with_channels(grey, 3);
  CHECK(rgb.pixels.size() == 768);
  CHECK(d2v::with_channels(rgb, 1) == grey);
  CHECK(d2v::with_channels(rgb, 3) == rgb);
  // round(255 * {0.299, 0.587, 0.114})
  CHECK(d2v::with_channels({1, 3, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255}}, 1).pixels ==
        std::vector<std::uint8_t>{76, 150, 29});
  CHECK_THROWS_AS(d2v::with_channels(grey, 2), d2v::OptionError);
}

TEST_CASE("pixels: moments are those of the definition, in any order of images") {
  const d2v::Image a{1, 2, 3, {10, 20, 30, 50, 20, 0}}, b{1, 1, 3, {0, 20, 255}};
  d2v::ChannelMoments ab, ba, none;
  ab.add(a), ab.add(b), ba.add(b), ba.add(a);
  const auto statistics = ab.statistics();
  CHECK(statistics == ba.statistics());
  CHECK(statistics.mean[0] == static_cast<float>(20.0 / 255));
  CHECK(statistics.mean[2] == static_cast<float>(95.0 / 255));
  CHECK(statistics.deviation[0] == doctest::Approx(std::sqrt((100 + 900 + 400) / 3.0) / 255).epsilon(1e-6));
  CHECK(statistics.deviation[1] == 1.0f);  // no variance
  CHECK(none.statistics() == d2v::ChannelStatistics{});
}

TEST_CASE("pixels: grey has its statistics in the first channel, and never a deviation of 0") {
  d2v::ChannelMoments few, ramp, flat;
  few.add({2, 2, 1, {0, 255, 255, 0}});
  CHECK(few.statistics() == d2v::ChannelStatistics{{0.5f, 0, 0}, {0.5f, 1, 1}});
  d2v::Image grey{4, 5, 1, {}};
  for (int p = 10; p < 30; ++p) grey.pixels.push_back(static_cast<std::uint8_t>(p));
  ramp.add(grey);  // variance (20^2 - 1) / 12
  CHECK(ramp.statistics().mean[0] == doctest::Approx(19.5 / 255).epsilon(1e-6));
  CHECK(ramp.statistics().deviation[0] == doctest::Approx(std::sqrt(399.0 / 12) / 255).epsilon(1e-6));
  flat.add({5, 10, 1, std::vector<std::uint8_t>(50, 128)});
  CHECK(flat.statistics().mean[0] == doctest::Approx(128.0 / 255).epsilon(1e-6));
  CHECK(flat.statistics().deviation[0] == 1.0f);
}

TEST_CASE("pixels: normalised, by channel and mirrored") {
  const d2v::PixelTable table(d2v::imagenet_statistics);
  const d2v::Image image{1, 2, 3, {0, 128, 255, 7, 8, 9}};
  std::vector<float> plain(6), mirrored(6);
  table.apply(image, false, plain.data());
  table.apply(image, true, mirrored.data());
  CHECK(plain[0] == -0.485f / 0.229f);
  CHECK(plain[2] == (128 / 255.0f - 0.456f) / 0.224f);
  CHECK(plain[4] == (1.0f - 0.406f) / 0.225f);
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(plain[2 * c] == mirrored[2 * c + 1]);
    CHECK(plain[2 * c + 1] == mirrored[2 * c]);
  }
  CHECK_THROWS_AS(d2v::PixelTable({{}, {1, 0, 1}}), d2v::OptionError);
  CHECK_THROWS_AS(d2v::PixelTable({{}, {1, 1, std::numeric_limits<float>::quiet_NaN()}}), d2v::OptionError);
}
