// SPDX-License-Identifier: MIT
// Grouped convolutions against double at odd shapes, and what their bits must not depend on.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/conv.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

namespace {

// f(input pixel, output pixel, tap) for every pair inside of the grid.
template <ConvShape S>
void walk(int rows, auto f) {
  for (int r = 0; r < rows; ++r)
    for (int h = 0; h < S.height; ++h)
      for (int w = 0; w < S.width; ++w)
        for (int kh = 0; kh < S.kernel_height; ++kh)
          for (int kw = 0; kw < S.kernel_width; ++kw) {
            const int ih = h + kh - S.kernel_height / 2, iw = w + kw - S.kernel_width / 2;
            if (ih >= 0 && ih < S.height && iw >= 0 && iw < S.width)
              f((r * S.height + ih) * S.width + iw, (r * S.height + h) * S.width + w, kh * S.kernel_width + kw);
          }
}

template <ConvShape S, class Isa, class T>
void check(int rows) {
  constexpr int I = S.in_channels / S.groups, O = S.out_channels / S.groups, taps = S.kernel_height * S.kernel_width;
  const auto pixels = static_cast<std::size_t>(rows * S.height * S.width);
  BasicCpu<Isa> cpu;
  const auto x = numbers<T>(pixels * S.in_channels, 1), w = numbers<T>(std::size_t{S.out_channels} * I * taps, 2),
             b = numbers<T>(S.out_channels, 3), dy = numbers<T>(pixels * S.out_channels, 4);
  std::vector<double> y(dy.size()), dx(x.size()), dw(w.size(), 1), db(b.size(), 1);
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = static_cast<double>(b[i % S.out_channels]);
    db[i % S.out_channels] += static_cast<double>(dy[i]);
  }
  walk<S>(rows, [&](int in, int out, int tap) {
    for (int o = 0; o < S.out_channels; ++o)
      for (int i = 0; i < I; ++i) {
        const auto ix = static_cast<std::size_t>(in * S.in_channels + o / O * I + i),
                   iy = static_cast<std::size_t>(out * S.out_channels + o),
                   iw = static_cast<std::size_t>((o * I + i) * taps + tap);
        const double vx = static_cast<double>(x[ix]), vw = static_cast<double>(w[iw]), vd = static_cast<double>(dy[iy]);
        y[iy] += vx * vw;
        dx[ix] += vd * vw;
        dw[iw] += vd * vx;
      }
  });
  INFO(Isa::name, " in ", S.in_channels, " out ", S.out_channels, " groups ", S.groups, " kernel ", S.kernel_height,
       "x", S.kernel_width);
  std::vector<T> found(y.size(), T(NAN)), dfound(x.size(), T(NAN)), wfound(w.size(), T(1)), bfound(b.size(), T(1));
  device::grouped_conv<S>(cpu, rows, x.data(), w.data(), b.data(), found.data());
  CHECK(support::largest_difference(found, y) < support::tolerance<T>(I * taps + 1, support::largest(y)));
  device::grouped_conv_input_gradient<S>(cpu, rows, dy.data(), w.data(), dfound.data());
  CHECK(support::largest_difference(dfound, dx) < support::tolerance<T>(O * taps, support::largest(dx)));
  device::grouped_conv_weight_gradient<S>(cpu, rows, dy.data(), x.data(), wfound.data(), bfound.data());
  CHECK(support::largest_difference(wfound, dw) < support::tolerance<T>(double(pixels) + 1, support::largest(dw)));
  CHECK(support::largest_difference(bfound, db) < support::tolerance<T>(double(pixels) + 1, support::largest(db)));
  device::grouped_conv_weight_gradient<S>(cpu, rows, dy.data(), x.data(), wfound.data(), nullptr);
}

template <ConvShape S, class T, class Isa = isa::Native>
inline constexpr bool by_tiles =
    detail::WinogradTiles<S, S.in_channels / S.groups, S.out_channels / S.groups, T, Isa>::pays;

}  // namespace

TEST_CASE_TEMPLATE("convolutions agree with double", T, float, double) {
  check<ConvShape{12, 18, 3, 3, 3, 5, 7}, isa::Native, T>(2);        // 4 to 6 channels a group
  check<ConvShape{24, 24, 4, 3, 3, 4, 4}, isa::Native, T>(3);        // 6 channels a group
  check<ConvShape{12, 18, 3, 2, 4, 5, 7}, isa::Native, T>(2);        // even windows
  check<ConvShape{10, 6, 2, 1, 7, 1, 37}, isa::Native, T>(2);        // one dimension
  check<ConvShape{4, 4, 1, 5, 5, 2, 3}, isa::Native, T>(2);          // window larger than the grid
  check<ConvShape{70, 140, 1, 3, 1, 3, 2}, isa::Native, T>(1);       // more than a block of channels on both sides
  check<ConvShape{12, 18, 3, 3, 3, 5, 7}, isa::Portable, T>(2);
}
TEST_CASE("convolutions of the model shapes agree with double") {
  check<ConvShape{96, 96, 8, 3, 3, 7, 7}, isa::Native, float>(2);    // 12 channels a group
  check<ConvShape{48, 48, 1, 3, 3, 14, 14}, isa::Native, float>(1);  // ViT-B, one group
  check<ConvShape{128, 128, 2, 5, 5, 4, 4}, isa::Native, float>(1);  // ViT-L, several blocks of taps
  check<ConvShape{48, 48, 1, 1, 128, 1, 300}, isa::Native, float>(1);  // a long window, several patches
}

TEST_CASE_TEMPLATE("convolutions by tiles of 2 x 2 agree with double", T, float, double) {
  constexpr ConvShape odd{24, 40, 2, 3, 3, 7, 9}, lines{34, 26, 2, 3, 3, 6, 14}, one{20, 12, 1, 3, 3, 2, 2};
  static_assert(by_tiles<odd, T> && by_tiles<lines, T> && by_tiles<one, T>);
  check<odd, isa::Native, T>(2);    // 12 to 20 channels a group, half a tile beyond both borders
  check<lines, isa::Native, T>(3);  // 17 to 13 channels, lines of tiles in turns, the last turn shorter
  check<one, isa::Native, T>(2);    // one tile
  check<odd, isa::Portable, T>(2);
  static_assert(by_tiles<ConvShape{96, 96, 8, 3, 3, 7, 7}, T> && !by_tiles<ConvShape{96, 96, 8, 3, 3, 5, 5}, T> &&
                !by_tiles<ConvShape{96, 96, 8, 5, 5, 8, 8}, T> && !by_tiles<ConvShape{64, 64, 8, 3, 3, 8, 8}, T>);
}

template <ConvShape S, class T>
void check_bits() {
  constexpr std::size_t in = S.height * S.width * S.in_channels, out = S.height * S.width * S.out_channels;
  Cpu cpu;
  const auto x = numbers<T>(3 * in, 1), w = numbers<T>(S.out_channels * (S.in_channels / S.groups) * 9, 2),
             b = numbers<T>(S.out_channels, 3);
  std::vector<T> y(3 * out), one(out), dx(3 * in), done(in);
  device::grouped_conv<S>(cpu, 3, x.data(), w.data(), b.data(), y.data());
  device::grouped_conv_input_gradient<S>(cpu, 3, y.data(), w.data(), dx.data());
  for (std::size_t r = 0; r < 3; ++r) {
    device::grouped_conv<S>(cpu, 1, x.data() + r * in, w.data(), b.data(), one.data());
    CHECK(support::same_bits(one.data(), y.data() + r * out, out));
    device::grouped_conv_input_gradient<S>(cpu, 1, y.data() + r * out, w.data(), done.data());
    CHECK(support::same_bits(done.data(), dx.data() + r * in, in));
  }
  for (std::size_t offset = 0; offset < 8; ++offset) {
    support::Shifted<T> sx(x, offset), sw(w, 7 - offset), sy(y, offset);
    std::fill(sy.data(), sy.data() + y.size(), T(0));
    device::grouped_conv<S>(cpu, 3, sx.data(), sw.data(), b.data(), sy.data());
    CHECK((sy == y));
  }
}

TEST_CASE_TEMPLATE("a sample has the same bits alone, in any batch, at any alignment", T, float, double) {
  check_bits<ConvShape{18, 12, 3, 3, 3, 5, 7}, T>();
  check_bits<ConvShape{24, 40, 2, 3, 3, 7, 9}, T>();  // by tiles
}

TEST_CASE("an input gradient is added to what is there") {
  const auto check_added = []<ConvShape S>(std::integral_constant<ConvShape, S>) {
    Cpu cpu;
    const std::size_t pixels = 2 * S.height * S.width;
    const auto w = numbers<float>(S.out_channels * (S.in_channels / S.groups) * 9, 2),
               dy = numbers<float>(pixels * S.out_channels, 4), before = numbers<float>(pixels * S.in_channels, 5);
    std::vector<float> alone(before.size()), sum = before;
    device::grouped_conv_input_gradient<S>(cpu, 2, dy.data(), w.data(), alone.data());
    device::grouped_conv_input_gradient<S, Grad::accumulate>(cpu, 2, dy.data(), w.data(), sum.data());
    for (std::size_t i = 0; i < sum.size(); ++i) REQUIRE(sum[i] == before[i] + alone[i]);
  };
  check_added(std::integral_constant<ConvShape, ConvShape{12, 18, 3, 3, 3, 5, 7}>());
  check_added(std::integral_constant<ConvShape, ConvShape{24, 40, 2, 3, 3, 7, 9}>());
}
