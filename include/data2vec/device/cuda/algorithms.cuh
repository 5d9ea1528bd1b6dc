// SPDX-License-Identifier: MIT
// The memory of which algorithm each matrix product runs by.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <cublasLt.h>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// A product c (m, n) = a (m, k) b (k, n) in column-major terms, and what tells its algorithms apart.
struct ProductKey {
  int m, n, k;
  bool transposes_a = false, transposes_b = false;
  bool adds = false;        ///< to what is in c
  bool rows_are_n = false;  ///< n is a number of rows: in deterministic mode it does not tell algorithms apart
  int batch = 1;            ///< so many products, their matrices at equal distances
  bool has_bias = false, half = false, tf32 = false;
  bool wide = false;       ///< c is in fp32, whatever a and b are
  unsigned alignment = 0;  ///< bytes, of the least aligned column of the matrices
  friend constexpr bool operator==(const ProductKey&, const ProductKey&) = default;
};

/// A few dozen products at most: a list.
class Algorithms {
 public:
  std::optional<cublasLtMatmulAlgo_t> find(const ProductKey& key) const {
    for (const auto& [known, algorithm] : list_)
      if (known == key) return algorithm;
    return {};
  }
  cublasLtMatmulAlgo_t add(const ProductKey& key, const cublasLtMatmulAlgo_t& algorithm) {
    list_.emplace_back(key, algorithm);
    return algorithm;
  }
  std::size_t size() const { return list_.size(); }

 private:
  std::vector<std::pair<ProductKey, cublasLtMatmulAlgo_t>> list_;
};

}  // namespace data2vec::inline v0
