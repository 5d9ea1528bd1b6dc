// SPDX-License-Identifier: MIT
// k nearest neighbours: what frozen features are worth without any training.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cpu/threads.hpp>

namespace data2vec::inline v0 {

enum class Metric { cosine, euclidean };

/// Classifies by majority among the `k` nearest of labelled vectors. A tie goes to the class whose nearest member is
/// nearest; among equally near vectors the earlier one counts. The result does not depend on the number of threads.
template <int dim>
class NearestNeighbours {
 public:
  static constexpr int most_neighbours = 64;

  /// `bank` (n, dim) with `labels` (n), non-negative. Copies the vectors. Throws OptionError if the counts differ.
  NearestNeighbours(std::span<const float> bank, std::span<const std::int32_t> labels, Metric metric)
      : metric_(metric), labels_(labels.begin(), labels.end()) {
    if (bank.size() != labels.size() * dim || labels.empty())
      throw OptionError("nearest neighbours: expected " + std::to_string(labels.size()) + " vectors of " +
                        std::to_string(dim) + ", found " + std::to_string(bank.size()) + " numbers");
    const std::size_t blocks = (labels.size() + block - 1) / block;
    bank_.assign(blocks * block * dim, 0.0f);
    offset_.assign(blocks * block, 0.0f);
    for (std::size_t i = 0; i < labels.size(); ++i) {
      float* row = &bank_[i * dim];
      std::copy_n(bank.data() + i * dim, dim, row);
      if (metric == Metric::cosine) normalise(row);
      else offset_[i] = static_cast<float>(-0.5 * squared(row));
    }
  }

  /// The class of each of the `queries` (n, dim) into `found` (n).
  void classify(ThreadTeam& team, std::span<const float> queries, int k, std::span<std::int32_t> found) const {
    if (k < 1 || k > most_neighbours)
      throw OptionError("nearest neighbours: expected k between 1 and " + std::to_string(most_neighbours) + ", found " +
                        std::to_string(k));
    const std::size_t n = queries.size() / dim;
    const int tasks = static_cast<int>((n + batch - 1) / batch);
    team.for_each_task(tasks, [&](int, int task) {
      const std::size_t first = static_cast<std::size_t>(task) * batch;
      classify_batch(queries.data() + first * dim, static_cast<int>(std::min<std::size_t>(batch, n - first)), k,
                     found.data() + first);
    });
  }

  /// Fraction of `queries` whose class is found.
  double accuracy(ThreadTeam& team, std::span<const float> queries, std::span<const std::int32_t> labels, int k) const {
    std::vector<std::int32_t> found(labels.size());
    if (queries.size() != labels.size() * dim)
      throw OptionError("nearest neighbours: queries and labels differ in number");
    classify(team, queries, k, found);
    std::size_t right = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) right += found[i] == labels[i];
    return static_cast<double>(right) / static_cast<double>(labels.size());
  }

 private:
  static constexpr int block = 256, batch = 32;
  struct Neighbour {
    float score;
    std::int32_t label;
  };
  using Neighbours = std::array<Neighbour, most_neighbours>;

  static double squared(const float* x) {
    double sum = 0;
    for (int i = 0; i < dim; ++i) sum += static_cast<double>(x[i]) * x[i];
    return sum;
  }
  static void normalise(float* x) {
    const auto factor = static_cast<float>(1 / std::max(std::sqrt(squared(x)), 1e-12));
    for (int i = 0; i < dim; ++i) x[i] *= factor;
  }

  /// Scores are q . b (cosine: of normalised vectors; Euclidean: minus |b|^2 / 2): larger is nearer for a given query.
  void classify_batch(const float* queries, int count, int k, std::int32_t* found) const {
    Cpu device;
    alignas(64) float scores[batch * block];
    std::array<Neighbours, batch> nearest;
    std::array<int, batch> known{};
    for (std::size_t first = 0; first < labels_.size(); first += block) {
      device::linear<dim, block>(device, count, queries, &bank_[first * dim], &offset_[first], scores);
      const int rows = static_cast<int>(std::min<std::size_t>(block, labels_.size() - first));
      for (int q = 0; q < count; ++q)
        for (int i = 0; i < rows; ++i)
          insert(nearest[static_cast<std::size_t>(q)], known[static_cast<std::size_t>(q)], k,
                 {scores[q * block + i], labels_[first + static_cast<std::size_t>(i)]});
    }
    for (int q = 0; q < count; ++q)
      found[q] = vote(nearest[static_cast<std::size_t>(q)], known[static_cast<std::size_t>(q)]);
  }

  static void insert(Neighbours& nearest, int& known, int k, Neighbour candidate) {
    if (known == k && !(candidate.score > nearest[static_cast<std::size_t>(k - 1)].score)) return;
    int at = known < k ? known++ : k - 1;
    for (; at > 0 && candidate.score > nearest[static_cast<std::size_t>(at - 1)].score; --at)
      nearest[static_cast<std::size_t>(at)] = nearest[static_cast<std::size_t>(at - 1)];
    nearest[static_cast<std::size_t>(at)] = candidate;
  }

  static std::int32_t vote(const Neighbours& nearest, int known) {
    std::int32_t winner = -1;
    int most = 0;
    for (int i = 0; i < known; ++i) {
      int votes = 0;
      for (int j = 0; j < known; ++j)
        votes += nearest[static_cast<std::size_t>(j)].label == nearest[static_cast<std::size_t>(i)].label;
      if (votes > most) {
        most = votes;
        winner = nearest[static_cast<std::size_t>(i)].label;
      }
    }
    return winner;
  }

  Metric metric_;
  std::vector<std::int32_t> labels_;
  std::vector<float> bank_, offset_;
};

}  // namespace data2vec::inline v0
