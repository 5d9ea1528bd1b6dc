// SPDX-License-Identifier: MIT
// Fixed position tables, computed once when a model is built: 2-D sin-cos for patches (MAE, He et al., 2022), and
// sinusoids for tokens (Vaswani et al., 2017, in fairseq's layout). Both are computed in double and rounded once.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/core/view.hpp>

namespace data2vec::inline v0 {

/// 2-D sin-cos positions of the cells of `grid`, row by row: out (grid.size(), dim). With Q = dim / 4 and
/// w_k = 10000^(-k / Q), the cell at row y, column x has [sin(x w) | cos(x w) | sin(y w) | cos(y w)]: the column comes
/// first, as in MAE's `get_2d_sincos_pos_embed`. Throws OptionError unless dim is a positive multiple of 4.
template <class T>
void sincos_positions(Grid grid, int dim, T* out) {
  if (dim < 4 || dim % 4 != 0)
    throw OptionError("sincos_positions: embed_dim must be a positive multiple of 4, found " + std::to_string(dim));
  const int quarter = dim / 4;
  for (int k = 0; k < quarter; ++k) {
    const double frequency = 1 / std::pow(10000.0, static_cast<double>(k) / quarter);
    for (int y = 0; y < grid.height; ++y)
      for (int x = 0; x < grid.width; ++x) {
        T* const row = out + (static_cast<std::ptrdiff_t>(y) * grid.width + x) * dim;      // (4, Q)
        row[k] = static_cast<T>(std::sin(x * frequency));
        row[quarter + k] = static_cast<T>(std::cos(x * frequency));
        row[2 * quarter + k] = static_cast<T>(std::sin(y * frequency));
        row[3 * quarter + k] = static_cast<T>(std::cos(y * frequency));
      }
  }
}

/// Sinusoids of the position ids 0 .. rows - 1: out (rows, dim), [sin(p w) | cos(p w)] with w_k = 10000^(-k / (h - 1)),
/// k < h = dim / 2; the last column of an odd dim is zero, and so is row `pad` (no such row: pad < 0), as in fairseq's
/// `SinusoidalPositionalEmbedding`. Throws OptionError if dim < 4.
template <class T>
void sinusoid_positions(int rows, int dim, int pad, T* out) {
  if (dim < 4) throw OptionError("sinusoid_positions: embed_dim must be at least 4, found " + std::to_string(dim));
  const int half = dim / 2;
  const double step = std::log(10000.0) / (half - 1);
  for (int p = 0; p < rows; ++p) {
    T* const row = out + static_cast<std::ptrdiff_t>(p) * dim;                             // (2, h)
    for (int k = 0; k < dim; ++k) row[k] = T{0};
    if (p == pad) continue;
    for (int k = 0; k < half; ++k) {
      const double angle = p * std::exp(-k * step);
      row[k] = static_cast<T>(std::sin(angle));
      row[half + k] = static_cast<T>(std::cos(angle));
    }
  }
}

}  // namespace data2vec::inline v0
