// SPDX-License-Identifier: MIT
// Cutting images into patches.
#pragma once

#include <cstddef>

#include <data2vec/core/view.hpp>
#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Patches;
}

namespace device {

/// images (rows, C, height, width) -> patches (rows, T, C * patch height * patch width), each ordered (channel, pixel
/// row, pixel column) as a convolution's weight is. T = tokens of the grid, row-major.
template <int C, Extent input, Extent patch, Device D, class T>
void patches(D& d, int rows, In<T> images, T* out) {
  kernel::Patches<D>::template channels_first<C, input, patch, T>(d, rows, images, out);
}

/// The same, each patch ordered (pixel row, pixel column, channel).
template <int C, Extent input, Extent patch, Device D, class T>
void pixel_patches(D& d, int rows, In<T> images, T* out) {
  kernel::Patches<D>::template channels_last<C, input, patch, T>(d, rows, images, out);
}

/// Those, normalised by its own mean and unbiased
/// variance: (v - mean) / sqrt(variance + 1e-6). The targets of pixel reconstruction.
template <int C, Extent input, Extent patch, Device D, class T>
void normalised_patches(D& d, int rows, In<T> images, T* out) {
  kernel::Patches<D>::template normalised<C, input, patch, T>(d, rows, images, out);
}

}  // namespace device
}  // namespace data2vec::inline v0
