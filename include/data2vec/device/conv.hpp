// SPDX-License-Identifier: MIT
// Grouped convolutions on channels-last grids: tokens never change their layout.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct GroupedConv;
}

/// A "same" convolution of a height x width grid: zero padding of kernel / 2 on both sides, and for even kernels the
/// last output row and column dropped. One dimension: height = kernel_height = 1.
struct ConvShape {
  int in_channels, out_channels, groups, kernel_height, kernel_width, height, width;
  friend constexpr bool operator==(const ConvShape&, const ConvShape&) = default;
};

namespace device {

/// y[o] = b[o] + sum over the group's channels and the window of w x. x (rows, height, width, in_channels),
/// weight (out_channels, in_channels / groups, kernel_height, kernel_width), bias (out_channels),
/// y (rows, height, width, out_channels).
template <ConvShape S, Device D, class T>
void grouped_conv(D& d, int rows, In<T> x, In<T> weight, In<T> bias, T* y) {
  kernel::GroupedConv<D>::template forward<S, T>(d, rows, x, weight, bias, y);
}

/// dx, overwritten or accumulated.
template <ConvShape S, Grad G = Grad::overwrite, Device D, class T>
void grouped_conv_input_gradient(D& d, int rows, In<T> dy, In<T> weight, T* dx) {
  kernel::GroupedConv<D>::template input_gradient<S, G, T>(d, rows, dy, weight, dx);
}

/// dweight and dbias, accumulated.
template <ConvShape S, Device D, class T>
void grouped_conv_weight_gradient(D& d, int rows, In<T> dy, In<T> x, T* dweight, Out<T> dbias) {
  kernel::GroupedConv<D>::template weight_gradient<S, T>(d, rows, dy, x, dweight, dbias);
}

}  // namespace device
}  // namespace data2vec::inline v0
