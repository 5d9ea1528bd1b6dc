// SPDX-License-Identifier: MIT
// Moving rows by index, and arithmetic on whole arrays.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Elementwise;
}

namespace device {

/// y[i] = x[index[i]] for `count` rows of C elements; a negative index gives a row of zeros.
template <int C, Device D, class T>
void gather_rows(D& d, int count, In<T> x, const int* index, T* y) {
  kernel::Elementwise<D>::template gather_rows<C, T>(d, count, x, index, y);
}

/// y[index[i]] += x[i], in the order of i; rows with a negative index go nowhere.
template <int C, Device D, class T>
void scatter_add_rows(D& d, int count, In<T> x, const int* index, T* y) {
  kernel::Elementwise<D>::template scatter_add_rows<C, T>(d, count, x, index, y);
}

/// y = a + b; y may be a or b.
template <Device D, class T>
void add(D& d, std::size_t count, In<T> a, In<T> b, T* y) {
  kernel::Elementwise<D>::template add<T>(d, count, a, b, y);
}

/// y = x + repeated for each of `rows` stretches of `width` elements; y may be x.
template <Device D, class T>
void add_repeated(D& d, int rows, int width, In<T> x, In<T> repeated, T* y) {
  kernel::Elementwise<D>::template add_repeated<T>(d, rows, width, x, repeated, y);
}

/// y (groups, C) = the mean of each group of `rows` rows of x (groups, rows, C), added in order.
template <int C, Device D, class T>
void mean_rows(D& d, int groups, int rows, In<T> x, T* y) {
  kernel::Elementwise<D>::template mean_rows<C, T>(d, groups, rows, x, y);
}

/// y (rows, C) = x times `scales` (C), channel by channel; y may be x.
template <int C, Device D, class T>
void scale_channels(D& d, int rows, In<T> x, In<T> scales, T* y) {
  kernel::Elementwise<D>::template scale_channels<C, T>(d, rows, x, scales, y);
}

/// dots (C) += for each channel the sum of x y over `rows` rows, added in order.
template <int C, Device D, class T>
void channel_dots(D& d, int rows, In<T> x, In<T> y, T* dots) {
  kernel::Elementwise<D>::template channel_dots<C, T>(d, rows, x, y, dots);
}

/// y += alpha x.
template <Device D, class T>
void add_scaled(D& d, std::size_t count, double alpha, In<T> x, T* y) {
  kernel::Elementwise<D>::template add_scaled<T>(d, count, alpha, x, y);
}

/// y *= alpha.
template <Device D, class T>
void scale(D& d, std::size_t count, double alpha, T* y) {
  kernel::Elementwise<D>::template scale<T>(d, count, alpha, y);
}

template <Device D, class T>
void fill(D& d, std::size_t count, double value, T* y) {
  kernel::Elementwise<D>::template fill<T>(d, count, value, y);
}

template <Device D, class T>
void copy(D& d, std::size_t count, In<T> x, T* y) {
  kernel::Elementwise<D>::template copy<T>(d, count, x, y);
}

/// Copies `rows` stretches of `width` elements, `x_stride` and `y_stride` elements apart.
template <Device D, class T>
void copy_strided(D& d, int rows, int width, In<T> x, std::ptrdiff_t x_stride, T* y, std::ptrdiff_t y_stride) {
  kernel::Elementwise<D>::template copy_strided<T>(d, rows, width, x, x_stride, y, y_stride);
}

}  // namespace device
}  // namespace data2vec::inline v0
