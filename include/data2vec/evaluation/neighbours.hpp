// SPDX-License-Identifier: MIT
// What a search for nearest neighbours is asked, and what it answers: on the CPU (knn.hpp) and on a GPU (cuda_probe.cuh).
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// For each row of `test` the k rows of `train` of the greatest product + offset.
struct KnnQuestion {
  std::span<const float> train, test;  ///< (rows, dim)
  std::span<const float> offset;       ///< per training row
  int dim;
  std::size_t k;
  std::size_t queries() const { return test.size() / static_cast<std::size_t>(dim); }
};

/// The neighbours of one query so far: the k greatest similarities in descending order, equal ones by row.
struct Neighbours {
  std::vector<std::pair<float, int>> found;  ///< similarity, row of the training set

  void offer(float similarity, int row, std::size_t k) {
    if (found.size() == k && !(similarity > found.back().first)) return;
    if (found.size() == k) found.pop_back();
    const auto behind = [](float s, const std::pair<float, int>& other) { return s > other.first; };
    found.insert(std::upper_bound(found.begin(), found.end(), similarity, behind), {similarity, row});
  }
};

}  // namespace data2vec::inline v0
