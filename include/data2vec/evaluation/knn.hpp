// SPDX-License-Identifier: MIT
// k nearest neighbours: how well features separate classes, without training anything (Wu et al., "Unsupervised
// feature learning via non-parametric instance discrimination", 2018, here with equal votes and no temperature).
// Exact search. Each similarity is computed by one thread in one order, so results do not depend on their number.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// cosine: the cosine of the angle between two vectors (0 if one is zero). euclidean: the nearest by distance; its
/// similarity is minus the squared distance.
enum class Metric { cosine, euclidean };

namespace detail {

/// The neighbours of one query so far: the k greatest similarities in descending order, equal ones by index.
struct Neighbours {
  std::vector<std::pair<float, int>> found;      ///< similarity, row of the training set

  void offer(float similarity, int row, std::size_t k) {
    if (found.size() == k && !(similarity > found.back().first)) return;
    if (found.size() == k) found.pop_back();
    const auto behind = [](float s, const std::pair<float, int>& other) { return s > other.first; };
    found.insert(std::upper_bound(found.begin(), found.end(), similarity, behind), {similarity, row});
  }
};

/// Training rows packed so that one feature of 16 rows lies together: a product with a query then needs no sum across
/// a vector. Rows beyond the end are zero.
class KnnTile {
 public:
  static constexpr int rows = 16, queries = 4, block_tiles = 16;  // 16 tiles of dim 784 are 800 KB
  using Vector = float __attribute__((vector_size(32)));
  static constexpr int lanes = 8;

  static void pack(const float* train, int count, int dim, float* packed) {
    for (int d = 0; d < dim; ++d)
      for (int r = 0; r < rows; ++r)
        packed[d * rows + r] = r < count ? train[static_cast<std::ptrdiff_t>(r) * dim + d] : 0;
  }

  /// products[q][r] = query q . packed row r, summed over the features in their order.
  static void multiply(const float* const (&query)[queries], const float* packed, int dim,
                       float (&products)[queries][rows]) {
    Vector sum[queries][2] = {};
    for (int d = 0; d < dim; ++d) {
      Vector low, high;
      __builtin_memcpy(&low, packed + d * rows, sizeof low);
      __builtin_memcpy(&high, packed + d * rows + lanes, sizeof high);
      for (int q = 0; q < queries; ++q) {
        sum[q][0] += query[q][d] * low;
        sum[q][1] += query[q][d] * high;
      }
    }
    __builtin_memcpy(products, sum, sizeof products);
  }
};

/// Searches for queries [begin, end) of the test set: similarity = product - offset of the training row.
struct KnnSearch {
  std::span<const float> train, test;            ///< (rows, dim)
  std::span<const float> offset;                 ///< per training row, subtracted from the product
  int dim;
  std::size_t k;

  void run(std::size_t begin, std::size_t end, std::vector<Neighbours>& result) const {
    constexpr int block = KnnTile::rows * KnnTile::block_tiles;
    const int train_rows = static_cast<int>(offset.size());
    std::vector<float> packed(static_cast<std::size_t>(block) * static_cast<std::size_t>(dim));
    const auto tile_size = static_cast<std::ptrdiff_t>(KnnTile::rows) * dim;
    for (int first = 0; first < train_rows; first += block) {
      const int tiles = (std::min(block, train_rows - first) + KnnTile::rows - 1) / KnnTile::rows;
      for (int t = 0; t < tiles; ++t) {
        const int row = first + t * KnnTile::rows;
        KnnTile::pack(train.data() + static_cast<std::ptrdiff_t>(row) * dim, std::min(KnnTile::rows, train_rows - row),
                      dim, packed.data() + t * tile_size);
      }
      for (std::size_t q = begin; q < end; q += KnnTile::queries)
        for (int t = 0; t < tiles; ++t)
          match(q, end, first + t * KnnTile::rows, packed.data() + t * tile_size, result);
    }
  }

  void match(std::size_t begin, std::size_t end, int row, const float* packed, std::vector<Neighbours>& result) const {
    const float* query[KnnTile::queries];
    for (std::size_t i = 0; i < KnnTile::queries; ++i)  // short groups repeat their last query
      query[i] = test.data() + std::min(begin + i, end - 1) * static_cast<std::size_t>(dim);
    float products[KnnTile::queries][KnnTile::rows];
    KnnTile::multiply(query, packed, dim, products);
    const int rows = std::min(KnnTile::rows, static_cast<int>(offset.size()) - row);
    for (std::size_t i = 0; i < KnnTile::queries && begin + i < end; ++i)
      for (int r = 0; r < rows; ++r)
        result[begin + i].offer(products[i][r] - offset[static_cast<std::size_t>(row + r)], row + r, k);
  }
};

/// Squared lengths in double; throws where a feature is not finite.
inline std::vector<double> squared_lengths(std::span<const float> features, int dim, const char* what) {
  std::vector<double> lengths;
  for (std::size_t i = 0; i < features.size(); i += static_cast<std::size_t>(dim)) {
    double sum = 0;
    for (const float x : features.subspan(i, static_cast<std::size_t>(dim)))
      sum += static_cast<double>(x) * static_cast<double>(x);
    if (!std::isfinite(sum))
      throw OptionError(std::string("knn: expected finite ") + what + " features, found others in row " +
                        std::to_string(i / static_cast<std::size_t>(dim)));
    lengths.push_back(sum);
  }
  return lengths;
}

inline std::vector<float> unit_rows(std::span<const float> features, int dim, const char* what) {
  const auto lengths = squared_lengths(features, dim, what);
  std::vector<float> unit(features.begin(), features.end());
  for (std::size_t i = 0; i < unit.size(); ++i) {
    const double length = lengths[i / static_cast<std::size_t>(dim)];
    unit[i] = length > 0 ? static_cast<float>(static_cast<double>(unit[i]) / std::sqrt(length)) : 0;
  }
  return unit;
}

/// Most votes; among labels with as many, the greatest sum of similarities; then the smallest label.
inline int vote(const Neighbours& neighbours, std::span<const int> labels) {
  struct Count {
    int label, votes;
    double similarity;
  };
  std::vector<Count> counts;
  for (const auto& [similarity, row] : neighbours.found) {
    const int label = labels[static_cast<std::size_t>(row)];
    auto it = std::find_if(counts.begin(), counts.end(), [label](const Count& c) { return c.label == label; });
    if (it == counts.end()) it = counts.insert(counts.end(), {label, 0, 0});
    ++it->votes;
    it->similarity += static_cast<double>(similarity);
  }
  const auto better = [](const Count& a, const Count& b) {
    if (a.votes != b.votes) return a.votes > b.votes;
    return a.similarity != b.similarity ? a.similarity > b.similarity : a.label < b.label;
  };
  return std::min_element(counts.begin(), counts.end(), better)->label;
}

}  // namespace detail

/// The class of each test row by a majority vote of its k nearest training rows. `train` and `test` are (rows, dim).
/// Equal similarities: the training row of the smaller index is nearer. Equal votes: the class whose neighbours have
/// the greater sum of similarities, then the smaller label. Similarities are float: features that differ by less than
/// about 1e-6 of their length squared may change places. `threads` 0: as many as processors; the result does not
/// depend on it. Throws OptionError or MismatchError if k, sizes or features are out of range.
inline std::vector<int> knn_predict(std::span<const float> train, std::span<const int> train_labels,
                                    std::span<const float> test, int dim, int k, Metric metric, int threads = 0) {
  if (dim < 1) throw OptionError("knn: expected dim of at least 1, found " + std::to_string(dim));
  const auto width = static_cast<std::size_t>(dim);
  if (train.size() != train_labels.size() * width)
    throw MismatchError("knn: expected " + std::to_string(train_labels.size() * width) +
                        " training features (labels x dim), found " + std::to_string(train.size()));
  if (test.size() % width != 0)
    throw MismatchError("knn: expected a multiple of " + std::to_string(dim) + " test features, found " +
                        std::to_string(test.size()));
  if (k < 1 || static_cast<std::size_t>(k) > train_labels.size())
    throw OptionError("knn: expected k from 1 to the number of training rows, " + std::to_string(train_labels.size()) +
                      ", found " + std::to_string(k));
  // Cosine: products of unit vectors. Euclidean: q . x - |x|^2 / 2 orders rows x as -|q - x|^2 does, and for one query
  // sums of equally many of them too.
  std::vector<float> unit_train, unit_test, offset(train_labels.size(), 0.0f);
  if (metric == Metric::cosine) {
    unit_train = detail::unit_rows(train, dim, "training");
    unit_test = detail::unit_rows(test, dim, "test");
    train = unit_train;
    test = unit_test;
  } else {
    const auto lengths = detail::squared_lengths(train, dim, "training");
    detail::squared_lengths(test, dim, "test");
    std::transform(lengths.begin(), lengths.end(), offset.begin(), [](double l) { return static_cast<float>(l / 2); });
  }
  const std::size_t queries = test.size() / width;
  std::vector<detail::Neighbours> neighbours(queries);
  const detail::KnnSearch search{train, test, offset, dim, static_cast<std::size_t>(k)};
  const std::size_t wanted = threads > 0 ? static_cast<std::size_t>(threads)
                                         : std::max<std::size_t>(1, std::thread::hardware_concurrency());
  const std::size_t groups = (queries + detail::KnnTile::queries - 1) / detail::KnnTile::queries;
  const std::size_t workers = std::max<std::size_t>(1, std::min(wanted, groups));
  const auto part = [&](std::size_t i) { return std::min(queries, groups * i / workers * detail::KnnTile::queries); };
  std::vector<std::jthread> pool;
  for (std::size_t i = 1; i < workers; ++i)
    pool.emplace_back([&, i] { search.run(part(i), part(i + 1), neighbours); });
  search.run(part(0), part(1), neighbours);
  pool.clear();
  std::vector<int> labels;
  for (const detail::Neighbours& n : neighbours) labels.push_back(detail::vote(n, train_labels));
  return labels;
}

/// The fraction of test rows whose class knn_predict finds, 0 to 1.
inline double knn_accuracy(std::span<const float> train, std::span<const int> train_labels, std::span<const float> test,
                           std::span<const int> test_labels, int dim, int k, Metric metric, int threads = 0) {
  if (dim < 1 || test.size() != test_labels.size() * static_cast<std::size_t>(dim) || test_labels.empty())
    throw MismatchError("knn: expected test features of as many rows as labels, at least one, found " +
                        std::to_string(test.size()) + " features and " + std::to_string(test_labels.size()) +
                        " labels of dim " + std::to_string(dim));
  const auto labels = knn_predict(train, train_labels, test, dim, k, metric, threads);
  std::size_t right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) right += labels[i] == test_labels[i];
  return static_cast<double>(right) / static_cast<double>(labels.size());
}

}  // namespace data2vec::inline v0
