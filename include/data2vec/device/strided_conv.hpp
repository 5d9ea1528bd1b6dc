// SPDX-License-Identifier: MIT
// Strided convolutions of sequences, channels last, without padding or groups: what turns waveforms into frames.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct StridedConv;
}

/// A convolution of a sequence of `length` places: out_length() = (length - kernel) / stride + 1 frames.
struct StridedConvShape {
  int in_channels, out_channels, kernel, stride, length;
  constexpr int out_length() const { return length < kernel ? 0 : (length - kernel) / stride + 1; }
  constexpr int window() const { return in_channels * kernel; }
  constexpr int weight_size() const { return out_channels * window(); }
  friend constexpr bool operator==(const StridedConvShape&, const StridedConvShape&) = default;
};

namespace device {

/// Weights (out_channels, in_channels, kernel) in the order of a window in memory, (out_channels, kernel, in_channels):
/// what the products below read. Overwrites `ordered`.
template <StridedConvShape S, Device D, class T>
void strided_conv_order(D& d, In<T> weight, T* ordered) {
  kernel::StridedConv<D>::template order<S, T>(d, weight, ordered);
}

/// y[t][o] = b[o] + sum over the window and its channels of w x. x (rows, length, in_channels), ordered weights,
/// bias (out_channels) or null, y (rows, out_length, out_channels).
template <StridedConvShape S, Device D, class T>
void strided_conv(D& d, int rows, In<T> x, In<T> ordered, T* y, In<T> bias = nullptr) {
  kernel::StridedConv<D>::template forward<S, T>(d, rows, x, ordered, y, bias);
}

/// dx (rows, length, in_channels), overwritten.
template <StridedConvShape S, Device D, class T>
void strided_conv_input_gradient(D& d, int rows, In<T> dy, In<T> ordered, T* dx) {
  kernel::StridedConv<D>::template input_gradient<S, T>(d, rows, dy, ordered, dx);
}

/// dweight (out_channels, in_channels, kernel) and, unless null, dbias (out_channels), accumulated; `scratch` has as
/// many elements as dweight.
template <StridedConvShape S, Device D, class T>
void strided_conv_weight_gradient(D& d, int rows, In<T> dy, In<T> x, T* dweight, Out<T> scratch,
                                  Out<T> dbias = nullptr) {
  kernel::StridedConv<D>::template weight_gradient<S, T>(d, rows, dy, x, dweight, scratch, dbias);
}

}  // namespace device
}  // namespace data2vec::inline v0
