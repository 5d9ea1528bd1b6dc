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
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/device/cpu/product.hpp>
#include <data2vec/device/cpu/threads.hpp>
#include <data2vec/evaluation/neighbours.hpp>

namespace data2vec::inline v0 {

/// cosine: the cosine of the angle between two vectors (0 if one is zero). euclidean: the nearest by distance; its
/// similarity is minus the squared distance.
enum class Metric { cosine, euclidean };

namespace detail {

/// The search on the threads of a team. The products are the library's own (device/cpu/product.hpp): the bits of one do
/// not depend on its neighbours.
struct KnnSearch {
  ThreadTeam& team;
  static constexpr int rows = 512, group = 64;  // of a block of products

  void operator()(const KnnQuestion& question, std::span<Neighbours> result) const {
    const std::size_t queries = question.queries();
    team.for_each_task(static_cast<int>((queries + group - 1) / group), [&](int, int task) {
      const std::size_t first = static_cast<std::size_t>(task) * group;
      run(question, first, std::min(queries, first + group), result);
    });
  }

 private:

  static void run(const KnnQuestion& q, std::size_t begin, std::size_t end,
                  std::span<Neighbours> result) {
    using Products = Product<float, isa::Native>;
    float products[rows * group];
    const int count = static_cast<int>(q.offset.size()), n = static_cast<int>(end - begin);
    const float* const query = q.test.data() + begin * static_cast<std::size_t>(q.dim);
    for (int row = 0; row < count; row += rows) {
      const int m = std::min(rows, count - row);
      const float* const block = q.train.data() + static_cast<std::ptrdiff_t>(row) * q.dim;
      Products::run(n, m, q.dim, {query, q.dim, 1}, {block, 1, q.dim}, q.offset.data() + row, false, products, m);
      for (int i = 0; i < n; ++i)
        for (int r = 0; r < m; ++r)
          result[begin + static_cast<std::size_t>(i)].offer(products[i * m + r], row + r, q.k);
    }
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
/// about 1e-6 of their length squared may change places. `search` finds the neighbours: CudaKnnSearch
/// (cuda_probe.cuh), or what has its function. Throws OptionError or MismatchError if k, sizes or features are out of
/// range.
template <class Search>
std::vector<int> knn_predict(Search&& search, std::span<const float> train, std::span<const int> train_labels,
                             std::span<const float> test, int dim, int k, Metric metric) {
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
    std::transform(lengths.begin(), lengths.end(), offset.begin(), [](double l) { return static_cast<float>(-l / 2); });
  }
  std::vector<Neighbours> neighbours(test.size() / width);
  search(KnnQuestion{train, test, offset, dim, static_cast<std::size_t>(k)}, std::span<Neighbours>(neighbours));
  std::vector<int> labels;
  for (const Neighbours& n : neighbours) labels.push_back(detail::vote(n, train_labels));
  return labels;
}

/// On `threads` threads, 0: as many as processors; the result does not depend on it.
inline std::vector<int> knn_predict(std::span<const float> train, std::span<const int> train_labels,
                                    std::span<const float> test, int dim, int k, Metric metric, int threads = 0) {
  ThreadTeam team(threads);
  return knn_predict(detail::KnnSearch{team}, train, train_labels, test, dim, k, metric);
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
