// SPDX-License-Identifier: MIT
// What matrix products are asked for: operands by their strides, and what is done to the result.
#pragma once

#include <cstddef>

#include <data2vec/version.hpp>

namespace data2vec::inline v0::detail {

/// A matrix by its strides, in elements.
template <class T>
struct Strided {
  const T* data;
  std::ptrdiff_t row, column;

  /// What begins at row i and column j.
  Strided from(std::ptrdiff_t i, std::ptrdiff_t j) const { return {data + i * row + j * column, row, column}; }
};

/// The end of a product that only stores it.
struct AsItIs {
  template <class V>
  V operator()(V x) const { return x; }
};

}  // namespace data2vec::inline v0::detail
