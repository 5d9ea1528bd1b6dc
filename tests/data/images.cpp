// SPDX-License-Identifier: MIT
// Order and augmentation of small images: exact, and functions of seed, epoch and sample alone.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include <data2vec/data/images.hpp>

using namespace data2vec;

namespace {

std::vector<std::uint32_t> order_of(std::uint32_t count, std::uint64_t seed, std::uint32_t epoch) {
  EpochOrder order(count, seed);
  const auto ids = order.of(epoch);
  return {ids.begin(), ids.end()};
}

constexpr Extent size{4, 5};
constexpr std::size_t pixels = 20;
using Picture = std::array<std::uint8_t, pixels>;
using Numbers = std::array<float, pixels>;
constexpr ChannelStatistics identity{{}, {1.0f / 255, 1, 1}};  // numbers are then the bytes, black is 0

constexpr Picture picture = [] {
  Picture p{};
  for (std::size_t i = 0; i < pixels; ++i) p[i] = static_cast<std::uint8_t>(10 + i);
  return p;
}();

Numbers run(const ShiftAndFlip& augment, std::uint64_t seed, std::uint32_t epoch, std::uint32_t sample,
            const ChannelStatistics& statistics = identity) {
  Numbers out;
  shifted_image(picture.data(), size, 1, statistics, augment, seed, epoch, sample, out.data());
  return out;
}

/// The picture moved by (down, right) and then, perhaps, mirrored; what comes in is black.
Numbers moved(int down, int right, bool mirrored) {
  Numbers out;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x) {
      const int seen = mirrored ? size.width - 1 - x : x, from_y = y - down, from_x = seen - right;
      const bool inside = from_y >= 0 && from_y < size.height && from_x >= 0 && from_x < size.width;
      const auto from = static_cast<std::size_t>(from_y * size.width + from_x);
      out[static_cast<std::size_t>(y * size.width + x)] = inside ? static_cast<float>(picture[from]) : 0;
    }
  return out;
}

bool close(const Numbers& a, const Numbers& b) {
  // One product and one sum are rounded, on numbers below 256.
  for (std::size_t i = 0; i < pixels; ++i)
    if (!(std::fabs(a[i] - b[i]) <= 4 * 256 * std::numeric_limits<float>::epsilon())) return false;
  return true;
}

}  // namespace

TEST_CASE("the order of an epoch is a permutation") {
  for (const std::uint32_t count : {1u, 2u, 7u, 1000u}) {
    auto ids = order_of(count, 3, 5);
    CHECK(ids.size() == count);
    std::sort(ids.begin(), ids.end());
    for (std::uint32_t i = 0; i < count; ++i) CHECK(ids[i] == i);
  }
  CHECK(order_of(0, 3, 5).empty());
}

TEST_CASE("the order is a function of seed and epoch, whatever was asked before") {
  const auto expected = order_of(100, 3, 5);
  EpochOrder order(100, 3);
  for (const std::uint32_t epoch : {0u, 7u, 5u, 5u, 4u, 5u}) {
    const auto ids = order.of(epoch);
    CHECK(std::equal(ids.begin(), ids.end(), expected.begin()) == (epoch == 5));
  }
  CHECK(order_of(100, 4, 5) != expected);
  std::set<std::vector<std::uint32_t>> epochs;
  for (std::uint32_t epoch = 0; epoch < 50; ++epoch) epochs.insert(order_of(100, 3, epoch));
  CHECK(epochs.size() == 50);
}

TEST_CASE("all orders are equally likely") {
  // 4! = 24 orders in n epochs: the chi-square sum has 23 degrees of freedom; 5 standard deviations above its mean.
  constexpr int n = 24'000;
  std::array<int, 256> counts{};
  EpochOrder order(4, 9);
  for (std::uint32_t epoch = 0; epoch < n; ++epoch) {
    unsigned code = 0;
    for (const std::uint32_t id : order.of(epoch)) code = 4 * code + id;
    ++counts[code];
  }
  double chi = 0;
  int seen = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    ++seen;
    chi += std::pow(count - n / 24.0, 2) / (n / 24.0);
  }
  CHECK(seen == 24);
  CHECK(chi < 23 + 5 * std::sqrt(2.0 * 23));
}

TEST_CASE("normalised pixels have mean 0 and deviation 1") {
  ChannelMoments moments;
  moments.add(Image{size.height, size.width, 1, {picture.begin(), picture.end()}});
  const Numbers out = run({}, 0, 0, 0, moments.statistics());
  double sum = 0, squares = 0;
  for (const float x : out) {
    sum += static_cast<double>(x);
    squares += static_cast<double>(x) * static_cast<double>(x);
  }
  CHECK(sum / pixels == doctest::Approx(0).epsilon(1e-5));
  CHECK(squares / pixels == doctest::Approx(1).epsilon(1e-5));
}

TEST_CASE("without augmentation an image is itself, whatever seed, epoch and sample") {
  for (std::uint32_t i = 0; i < 5; ++i) CHECK(close(run({}, i, i + 1, i + 2), moved(0, 0, false)));
}

TEST_CASE("shift and flip: exactly the moved and mirrored images, all of them, black where nothing comes in") {
  // Shifts of -2 .. 2 on both axes and a flip: 50 images, in n draws.
  constexpr std::uint32_t n = 5000;
  std::array<int, 50> counts{};
  int unknown = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    const Numbers out = run({.shift = 2, .flip = true}, 1, i % 10, i / 10);
    int found = -1;
    for (int k = 0; k < 50 && found < 0; ++k)
      if (close(out, moved(k / 10 - 2, k / 2 % 5 - 2, k % 2 == 1))) found = k;
    if (found < 0) ++unknown;
    else ++counts[static_cast<std::size_t>(found)];
  }
  CHECK(unknown == 0);
  double chi = 0;
  for (const int count : counts) chi += std::pow(count - n / 50.0, 2) / (n / 50.0);
  CHECK(chi < 49 + 5 * std::sqrt(2.0 * 49));  // equally likely, as above
}

TEST_CASE("shift alone never mirrors, flip alone never shifts") {
  bool mirrored = false, plain = false;
  for (std::uint32_t i = 0; i < 100; ++i) {
    const Numbers flipped = run({.flip = true}, 1, 0, i);
    const bool is_plain = close(flipped, moved(0, 0, false)), is_mirrored = close(flipped, moved(0, 0, true));
    CHECK(is_plain != is_mirrored);
    plain = plain || is_plain;
    mirrored = mirrored || is_mirrored;
    int matches = 0;
    for (int k = 0; k < 9; ++k) matches += close(run({.shift = 1}, 1, 0, i), moved(k / 3 - 1, k % 3 - 1, false));
    CHECK(matches == 1);
  }
  CHECK(plain);
  CHECK(mirrored);
}

TEST_CASE("augmentation is a function of seed, epoch and sample") {
  const ShiftAndFlip augment{.shift = 2, .flip = true};
  CHECK(run(augment, 3, 4, 5) == run(augment, 3, 4, 5));
  int seeds = 0, epochs = 0, samples = 0;
  for (std::uint32_t i = 1; i <= 20; ++i) {
    seeds += run(augment, 3 + i, 4, 5) != run(augment, 3, 4, 5);
    epochs += run(augment, 3, 4 + i, 5) != run(augment, 3, 4, 5);
    samples += run(augment, 3, 4, 5 + i) != run(augment, 3, 4, 5);
  }
  for (const int differ : {seeds, epochs, samples}) CHECK(differ >= 15);  // each of 20 is equal with probability 1 / 50
}

TEST_CASE("black is the number of a black pixel") {
  const ChannelStatistics statistics{{0.3f}, {0.2f, 1, 1}};
  Numbers out;
  const Picture black{};
  shifted_image(black.data(), size, 1, statistics, {.shift = 2}, 1, 2, 3, out.data());
  for (const float x : out) CHECK(x == doctest::Approx(-1.5).epsilon(1e-6));
}

TEST_CASE("the channels of a picture are moved together, each with its own statistics") {
  const ChannelStatistics statistics{{0.1f, 0.2f, 0.3f}, {0.5f, 0.25f, 0.125f}};
  const ShiftAndFlip augment{.shift = 2, .flip = true};
  std::array<std::uint8_t, 3 * pixels> colour{};
  std::array<Picture, 3> planes{};
  for (std::size_t i = 0; i < pixels; ++i)
    for (std::size_t c = 0; c < 3; ++c)
      colour[3 * i + c] = planes[c][i] = static_cast<std::uint8_t>(picture[i] + 50 * c);
  std::array<float, 3 * pixels> out{};
  shifted_image(colour.data(), size, 3, statistics, augment, 5, 6, 7, out.data());
  for (std::size_t c = 0; c < 3; ++c) {
    Numbers plane;
    shifted_image(planes[c].data(), size, 1, {{statistics.mean[c]}, {statistics.deviation[c], 1, 1}}, augment, 5, 6, 7,
                  plane.data());
    CHECK(std::equal(plane.begin(), plane.end(), out.begin() + static_cast<std::ptrdiff_t>(c * pixels)));
  }
}
