// SPDX-License-Identifier: MIT
// Tokens that only fill up a row stand at its end; under the exact rule they are zero wherever tokens are mixed.
#pragma once

#include <cstddef>

#include <data2vec/device/elementwise.hpp>

namespace data2vec::inline v0 {

/// Zeroes the tokens from `valid[n]` on of every row n of x (rows, T, C).
template <int T_, int C, Device D, class T>
void clear_padding(D& d, int rows, const int* valid, T* x) {
  for (int n = 0; n < rows; ++n, x += static_cast<std::ptrdiff_t>(T_) * C)
    if (valid[n] < T_)
      device::fill(d, static_cast<std::size_t>(T_ - valid[n]) * C, 0, x + static_cast<std::ptrdiff_t>(valid[n]) * C);
}

}  // namespace data2vec::inline v0
