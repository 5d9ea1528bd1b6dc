// SPDX-License-Identifier: MIT
// Strided convolutions against sums in double at odd shapes, and what their bits must not depend on.
#include <doctest/doctest.h>

#include <data2vec/device/cpu/strided_conv.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

namespace {

/// f(input, output, weight) by index for every product of the definition.
template <StridedConvShape S>
void walk(int rows, auto f) {
  for (int r = 0; r < rows; ++r)
    for (int t = 0; t < S.out_length(); ++t)
      for (int o = 0; o < S.out_channels; ++o)
        for (int c = 0; c < S.in_channels; ++c)
          for (int k = 0; k < S.kernel; ++k)
            f(static_cast<std::size_t>((r * S.length + t * S.stride + k) * S.in_channels + c),
              static_cast<std::size_t>((r * S.out_length() + t) * S.out_channels + o),
              static_cast<std::size_t>((o * S.in_channels + c) * S.kernel + k));
}

template <StridedConvShape S, class Isa, class T>
void check(int rows) {
  BasicCpu<Isa> cpu;
  const auto frames = static_cast<std::size_t>(rows * S.out_length());
  const auto x = numbers<T>(static_cast<std::size_t>(rows * S.length * S.in_channels), 1);
  const auto w = numbers<T>(S.weight_size(), 2), dy = numbers<T>(frames * S.out_channels, 3);
  std::vector<double> y(dy.size()), dx(x.size()), dw(w.size(), 1);
  walk<S>(rows, [&](std::size_t in, std::size_t out, std::size_t tap) {
    const auto vx = static_cast<double>(x[in]), vw = static_cast<double>(w[tap]), vd = static_cast<double>(dy[out]);
    y[out] += vx * vw;
    dx[in] += vd * vw;
    dw[tap] += vd * vx;
  });
  INFO(Isa::name, " channels ", S.in_channels, " to ", S.out_channels, ", kernel ", S.kernel, ", stride ", S.stride,
       ", length ", S.length);
  std::vector<T> ordered(w.size()), found(y.size(), T(NAN)), dfound(x.size(), T(NAN)), wfound(w.size(), T(1)),
      scratch(w.size(), T(NAN));
  device::strided_conv_order<S>(cpu, w.data(), ordered.data());
  device::strided_conv<S>(cpu, rows, x.data(), ordered.data(), found.data());
  CHECK(support::largest_difference(found, y) < support::tolerance<T>(S.window(), support::largest(y)));
  device::strided_conv_input_gradient<S>(cpu, rows, dy.data(), ordered.data(), dfound.data());
  const double terms = S.out_channels * ((S.kernel + S.stride - 1) / S.stride);
  CHECK(support::largest_difference(dfound, dx) < support::tolerance<T>(terms, support::largest(dx)));
  device::strided_conv_weight_gradient<S>(cpu, rows, dy.data(), x.data(), wfound.data(), scratch.data());
  CHECK(support::largest_difference(wfound, dw) <
        support::tolerance<T>(static_cast<double>(frames) + 1, support::largest(dw)));
}

}  // namespace

static_assert(StridedConvShape{1, 512, 10, 5, 320'000}.out_length() == 63'999);
static_assert(StridedConvShape{1, 1, 3, 2, 2}.out_length() == 0);

TEST_CASE_TEMPLATE("strided convolutions agree with double", T, float, double) {
  check<StridedConvShape{1, 6, 10, 5, 61}, isa::Native, T>(2);    // waveforms; one place behind the last window
  check<StridedConvShape{6, 5, 3, 2, 22}, isa::Native, T>(3);     // a window of more than one stride, not of two
  check<StridedConvShape{4, 7, 2, 2, 9}, isa::Native, T>(2);      // windows side by side
  check<StridedConvShape{3, 4, 2, 3, 13}, isa::Native, T>(2);     // places between the windows
  check<StridedConvShape{3, 4, 7, 2, 20}, isa::Native, T>(1);     // four windows at each place
  check<StridedConvShape{5, 3, 4, 1, 4}, isa::Native, T>(2);      // a single frame
  check<StridedConvShape{6, 5, 3, 2, 22}, isa::Portable, T>(2);
}
TEST_CASE("strided convolutions of the published extractor agree with double") {
  check<StridedConvShape{1, 512, 10, 5, 405}, isa::Native, float>(1);
  check<StridedConvShape{64, 64, 3, 2, 80}, isa::Native, float>(2);
}

TEST_CASE_TEMPLATE("a recording has the same bits alone, in any batch, at any alignment", T, float, double) {
  constexpr StridedConvShape S{6, 10, 3, 2, 41};
  constexpr std::size_t in = 41 * 6, out = static_cast<std::size_t>(S.out_length()) * 10;
  Cpu cpu;
  const auto x = numbers<T>(3 * in, 1), w = numbers<T>(S.weight_size(), 2);
  std::vector<T> ordered(w.size()), y(3 * out), one(out), dx(3 * in), done(in);
  device::strided_conv_order<S>(cpu, w.data(), ordered.data());
  device::strided_conv<S>(cpu, 3, x.data(), ordered.data(), y.data());
  device::strided_conv_input_gradient<S>(cpu, 3, y.data(), ordered.data(), dx.data());
  for (std::size_t r = 0; r < 3; ++r) {
    device::strided_conv<S>(cpu, 1, x.data() + r * in, ordered.data(), one.data());
    CHECK(support::same_bits(one.data(), y.data() + r * out, out));
    device::strided_conv_input_gradient<S>(cpu, 1, y.data() + r * out, ordered.data(), done.data());
    CHECK(support::same_bits(done.data(), dx.data() + r * in, in));
  }
  for (std::size_t offset = 0; offset < 8; ++offset) {
    support::Shifted<T> sx(x, offset), sw(ordered, 7 - offset), sy(y, offset);
    std::fill(sy.data(), sy.data() + y.size(), T(0));
    device::strided_conv<S>(cpu, 3, sx.data(), sw.data(), sy.data());
    CHECK((sy == y));
  }
}
