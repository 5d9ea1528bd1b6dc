// SPDX-License-Identifier: MIT
// How the device's kernels cut their work: every index of every tile, window and gather.
#include <doctest/doctest.h>

#include <set>
#include <vector>

#include <data2vec/device/cuda/tiles.hpp>

using namespace data2vec;
using namespace data2vec::detail::gpu;

namespace {

/// Every pixel and channel belongs to one thread; every tap of every pixel lies in the patch, where the patch has what
/// the window covers.
template <int A, int B, int kh, int kw, int height, int width>
void check_conv(int before_h, int before_w) {
  using L = ConvTile<A, B, kh, kw, height, width>;
  static_assert(L::threads <= 256 && L::shared_floats <= plain_shared_floats && L::weights_first % 4 == 0);
  static_assert(L::c_block % L::c_vec == 0 && L::c_vec % 4 == 0 && L::pixels_per_thread <= 5);
  std::vector<int> seen(height * width);
  for (int line = 0; line < L::line_tiles * L::lines; line += L::lines)
    for (int column = 0; column < L::column_tiles * L::columns; column += L::columns)
      for (int thread = 0; thread < L::pixel_lanes; ++thread)
        for (int i = 0; i < L::pixels_per_thread; ++i) {
          const int p = thread + i * L::pixel_lanes, h = line + p / L::columns, w = column + p % L::columns;
          if (p >= L::pixels || h >= height || w >= width) continue;
          ++seen[static_cast<std::size_t>(h * width + w)];
          for (int tap = 0; tap < L::taps; ++tap) {
            const int place = L::place(p) + L::tap_offset(tap), y = h + tap / kw - before_h,
                      x = w + tap % kw - before_w;
            REQUIRE(place >= 0);
            REQUIRE(place < L::patch);
            const bool inside = y >= 0 && y < height && x >= 0 && x < width;
            REQUIRE(L::pixel(place, line, column, before_h, before_w) == (inside ? y * width + x : -1));
          }
        }
  for (const int count : seen) REQUIRE(count == 1);
  std::set<int> channels;
  for (int block = 0; block < L::c_blocks; ++block)
    for (int c = 0; c < L::channel_lanes * L::c_vec; ++c) channels.insert(block * L::c_block + c);
  CHECK(static_cast<int>(channels.size()) >= B);
}

}  // namespace

TEST_CASE("convolution tiles cover every pixel once, and windows what they should") {
  check_conv<48, 48, 3, 3, 14, 14>(1, 1);
  check_conv<64, 64, 5, 5, 14, 14>(2, 2);
  check_conv<80, 64, 5, 5, 16, 16>(2, 2);
  check_conv<12, 12, 3, 3, 7, 7>(1, 1);
  check_conv<3, 5, 5, 4, 9, 11>(2, 2);
  check_conv<5, 3, 5, 4, 9, 11>(2, 1);  // mirrored
  check_conv<16, 24, 1, 19, 1, 700>(0, 9);
  check_conv<132, 70, 3, 3, 5, 6>(1, 1);
  check_conv<4, 4, 3, 3, 100, 120>(1, 1);
}

TEST_CASE("weights have their place, forwards and mirrored") {
  constexpr int A = 3, B = 5, taps = 6, groups = 2;
  std::set<std::ptrdiff_t> seen;
  for (int g = 0; g < groups; ++g)
    for (int a = 0; a < A; ++a)
      for (int b = 0; b < B; ++b)
        for (int t = 0; t < taps; ++t) {
          const auto place = weight_place<A, B, taps, false>(g, a, b, t);
          CHECK(place == ((g * B + b) * A + a) * taps + t);
          CHECK(weight_place<B, A, taps, true>(g, b, a, taps - 1 - t) == place);
          seen.insert(place);
        }
  CHECK(static_cast<int>(seen.size()) == groups * A * B * taps);
}

TEST_CASE("tiles of weight gradients cover all channels and keep to their memory") {
  const auto check = [](auto tile, int A, int B) {
    using L = decltype(tile);
    CHECK(L::threads <= 256);
    CHECK(L::threads == L::lanes * L::split);
    CHECK(L::a_tiles * L::a_block >= A);
    CHECK(L::b_tiles * L::b_block >= B);
    CHECK((L::a_tiles - 1) * L::a_block < A);
    CHECK((L::b_tiles - 1) * L::b_block < B);
    CHECK(L::shared_floats <= plain_shared_floats);
  };
  check(WeightTile<48, 48>(), 48, 48);
  check(WeightTile<12, 12>(), 12, 12);
  check(WeightTile<4, 4>(), 4, 4);
  check(WeightTile<3, 5>(), 3, 5);
  check(WeightTile<132, 70>(), 132, 70);
}

TEST_CASE("chunks of rows cover every row once") {
  for (const int rows : {0, 1, 31, 32, 33, 1000, 16384, 16385, 40960, 200704, 12845056}) {
    CAPTURE(rows);
    const ColumnPlan c(rows);
    CHECK(static_cast<long>(c.chunks) * c.chunk_rows >= rows);
    CHECK(static_cast<long>(c.chunks - 1) * c.chunk_rows < rows);
    CHECK(c.chunks <= 512);
    const WeightChunks w(rows);
    CHECK(w.chunks <= 32);
    CHECK(static_cast<long>(w.chunks) * w.chunk_rows >= rows);
    CHECK(static_cast<long>(w.chunks - 1) * w.chunk_rows < rows);
  }
}

TEST_CASE("attention: every query has a warp, blocks keep to the memory that there is") {
  for (const std::size_t limit : {std::size_t{48} << 10, std::size_t{99} << 10, std::size_t{227} << 10})
    for (const int head_dim : {5, 32, 64, 80})
      for (int arrays = 1; arrays <= 2; ++arrays)
        for (int S = 1; S < 9000; S += S < 300 ? 1 : 371) {
          const AttentionPlan plan(S, head_dim, arrays, limit);
          if (plan.warps == 0) {
            REQUIRE(S > 700);  // what models are made of always fits
            continue;
          }
          REQUIRE(plan.warps <= 16);
          REQUIRE(plan.shared_bytes <= limit);
          REQUIRE(plan.warps * plan.blocks * AttentionPlan::per_warp >= S);
          REQUIRE(plan.warps * (plan.blocks - 1) * AttentionPlan::per_warp < S);
        }
  CHECK(AttentionPlan(40, 64, 2, std::size_t{227} << 10).blocks == 1);  // the student's sequence in one block
}

TEST_CASE("patches: every value of the images once, in both orders") {
  constexpr int C = 3, height = 6, width = 8, patch_h = 2, patch_w = 4, rows = 2;
  constexpr std::size_t size = rows * C * height * width;
  std::set<std::size_t> first, last;
  std::size_t i = 0;
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t ty = 0; ty < height; ty += patch_h)
      for (std::size_t tx = 0; tx < width; tx += patch_w)
        for (std::size_t c = 0; c < C; ++c)
          for (std::size_t y = 0; y < patch_h; ++y)
            for (std::size_t x = 0; x < patch_w; ++x, ++i) {
              const std::size_t source = ((row * C + c) * height + ty + y) * width + tx + x;
              const std::size_t start = i / (C * patch_h * patch_w) * (C * patch_h * patch_w);
              CHECK(patch_source<C, height, width, patch_h, patch_w, false>(i) == source);
              CHECK(patch_source<C, height, width, patch_h, patch_w, true>(start + (y * patch_w + x) * C + c) ==
                    source);
            }
  CHECK(i == size);
}

TEST_CASE("places in a bias, and division in 32 bits and in 64") {
  std::size_t i = 0;
  for (int row = 0; row < 2; ++row)
    for (int head = 0; head < 3; ++head)
      for (int query = 0; query < 5; ++query)
        for (int key = 0; key < 5; ++key) {
          const BiasPlace p(i++, 3, 5);
          CHECK(p.row == row);
          CHECK(p.head == head);
          CHECK(p.query == query);
          CHECK(p.key == key);
        }
  for (const std::size_t n : {std::size_t{0}, std::size_t{12345}, (std::size_t{1} << 32) - 1, std::size_t{1} << 32,
                              (std::size_t{1} << 40) + 17})
    for (const int by : {1, 7, 768}) {
      const Divided d = divide(n, by);
      CHECK(d.quotient * static_cast<std::size_t>(by) + static_cast<std::size_t>(d.rest) == n);
      CHECK(d.rest < by);
    }
}
