// SPDX-License-Identifier: MIT
// Grouped convolutions on the processor, channels last.
#pragma once

#include <algorithm>

#include <data2vec/device/conv.hpp>
#include <data2vec/device/cpu/vec.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::GroupedConv<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <ConvShape S, class T>
  static void forward(Cpu&, int rows, const T* x, const T* weight, const T* bias, T* y) {
    constexpr int I = S.in_channels / S.groups, O = S.out_channels / S.groups;
    constexpr Index pixels = Index{S.height} * S.width;
    for (Index p = 0; p < rows * pixels; ++p)
      for (int o = 0; o < S.out_channels; ++o) y[p * S.out_channels + o] = bias ? bias[o] : T(0);
    walk<S>(rows, [&](Index in, Index out, int tap) {
      for (int o = 0; o < S.out_channels; ++o) {
        T sum{};
        for (int i = 0; i < I; ++i)
          sum += x[in * S.in_channels + o / O * I + i] * weight[(Index{o} * I + i) * taps<S> + tap];
        y[out * S.out_channels + o] += sum;
      }
    });
  }

  template <ConvShape S, class T>
  static void input_gradient(Cpu&, int rows, const T* dy, const T* weight, T* dx) {
    constexpr int I = S.in_channels / S.groups, O = S.out_channels / S.groups;
    std::fill(dx, dx + Index{rows} * S.height * S.width * S.in_channels, T(0));
    walk<S>(rows, [&](Index in, Index out, int tap) {
      for (int o = 0; o < S.out_channels; ++o)
        for (int i = 0; i < I; ++i)
          dx[in * S.in_channels + o / O * I + i] +=
              dy[out * S.out_channels + o] * weight[(Index{o} * I + i) * taps<S> + tap];
    });
  }

  template <ConvShape S, class T>
  static void weight_gradient(Cpu&, int rows, const T* dy, const T* x, T* dweight, T* dbias) {
    constexpr int I = S.in_channels / S.groups, O = S.out_channels / S.groups;
    walk<S>(rows, [&](Index in, Index out, int tap) {
      for (int o = 0; o < S.out_channels; ++o)
        for (int i = 0; i < I; ++i)
          dweight[(Index{o} * I + i) * taps<S> + tap] +=
              dy[out * S.out_channels + o] * x[in * S.in_channels + o / O * I + i];
    });
    if (dbias)
      for (Index p = 0; p < Index{rows} * S.height * S.width; ++p)
        for (int o = 0; o < S.out_channels; ++o) dbias[o] += dy[p * S.out_channels + o];
  }

 private:
  template <ConvShape S>
  static constexpr int taps = S.kernel_height * S.kernel_width;

  // f(input pixel, output pixel, tap) for every pair inside of the grid.
  template <ConvShape S, class F>
  static void walk(int rows, F f) {
    for (int r = 0; r < rows; ++r)
      for (int h = 0; h < S.height; ++h)
        for (int w = 0; w < S.width; ++w)
          for (int kh = 0; kh < S.kernel_height; ++kh)
            for (int kw = 0; kw < S.kernel_width; ++kw) {
              const int ih = h + kh - S.kernel_height / 2, iw = w + kw - S.kernel_width / 2;
              if (ih < 0 || ih >= S.height || iw < 0 || iw >= S.width) continue;
              f((Index{r} * S.height + ih) * S.width + iw, (Index{r} * S.height + h) * S.width + w,
                kh * S.kernel_width + kw);
            }
  }
};

}  // namespace data2vec::inline v0
