// SPDX-License-Identifier: MIT
// Strided convolutions on the processor. Channels last, the window of a frame is contiguous, and windows are a matrix
// whose rows overlap: one product each way, without a copy of the input.
#pragma once

#include <algorithm>

#include <data2vec/device/cpu/product.hpp>
#include <data2vec/device/strided_conv.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::StridedConv<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;
  template <class T>
  using Product = detail::Product<T, Isa>;

  template <StridedConvShape S, class T>
  static void order(Cpu& d, const T* weight, T* ordered) {
    detail::share(d, S.out_channels, 8, [=](Index first, Index end) {
      for (Index o = first; o < end; ++o)
        for (int c = 0; c < S.in_channels; ++c)
          for (int k = 0; k < S.kernel; ++k)
            ordered[o * S.window() + k * S.in_channels + c] = weight[o * S.window() + c * S.kernel + k];
    });
  }

  template <StridedConvShape S, class T>
  static void forward(Cpu& d, int rows, const T* x, const T* ordered, T* y, const T* bias) {
    for (int r = 0; r < rows; ++r, x += in<S>, y += out<S>)
      Product<T>::run(d, S.out_length(), S.out_channels, S.window(), {x, step<S>, 1}, {ordered, 1, S.window()}, bias,
                      false, y, S.out_channels);
  }

  // Places stride * t + k, k < stride, of all frames t are rows of `step` numbers. Taps are taken a stride's worth at a
  // time: the first such block writes the places, the next ones, that many strides further on, are added.
  template <StridedConvShape S, class T>
  static void input_gradient(Cpu& d, int rows, const T* dy, const T* ordered, T* dx) {
    constexpr int frames = S.out_length(), first = std::min(S.kernel, S.stride);
    for (int r = 0; r < rows; ++r, dy += out<S>, dx += in<S>) {
      if constexpr (S.kernel < S.stride || S.length > S.stride * frames) {
        const Index written = S.kernel < S.stride ? 0 : step<S> * frames;
        detail::share(d, in<S> - written, 4096, [=](Index begin, Index end) {
          std::fill(dx + written + begin, dx + written + end, T(0));
        });
      }
      for (int k = 0; k < S.kernel; k += first) {
        const int taps = std::min(first, S.kernel - k);
        Product<T>::run(d, frames, taps * S.in_channels, S.out_channels, {dy, S.out_channels, 1},
                        {ordered + Index{k} * S.in_channels, S.window(), 1}, nullptr, k > 0,
                        dx + Index{k} * S.in_channels, step<S>);
      }
    }
  }

  template <StridedConvShape S, class T>
  static void weight_gradient(Cpu& d, int rows, const T* dy, const T* x, T* dweight, T* scratch,
                              T* dbias) {
    if (dbias) detail::column_sums(d, Index{rows} * S.out_length(), S.out_channels, dy, dbias);
    for (int r = 0; r < rows; ++r, x += in<S>, dy += out<S>)
      Product<T>::run(d, S.out_channels, S.window(), S.out_length(), {dy, 1, S.out_channels}, {x, step<S>, 1}, nullptr,
                      r > 0, scratch, S.window());
    detail::share(d, S.out_channels, 8, [=](Index first, Index end) {
      for (Index o = first; o < end; ++o)
        for (int c = 0; c < S.in_channels; ++c)
          for (int k = 0; k < S.kernel; ++k)
            dweight[o * S.window() + c * S.kernel + k] += scratch[o * S.window() + k * S.in_channels + c];
    });
  }

 private:
  template <StridedConvShape S>
  static constexpr Index in = Index{S.length} * S.in_channels;
  template <StridedConvShape S>
  static constexpr Index out = Index{S.out_length()} * S.out_channels;
  template <StridedConvShape S>
  static constexpr Index step = Index{S.stride} * S.in_channels;
};

}  // namespace data2vec::inline v0
