// SPDX-License-Identifier: MIT
// k nearest neighbours against a search by brute force, the rules for ties, and threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/data/idx.hpp>
#include <data2vec/evaluation/knn.hpp>

namespace d2v = data2vec;

namespace {

/// The definition: every similarity in double, a stable sort, votes.
std::vector<int> by_brute_force(const std::vector<float>& train, const std::vector<int>& labels,
                                const std::vector<float>& test, int dim, int k, d2v::Metric metric) {
  const auto width = static_cast<std::size_t>(dim);
  std::vector<int> result;
  for (std::size_t q = 0; q < test.size() / width; ++q) {
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t r = 0; r < labels.size(); ++r) {
      double dot = 0, a = 0, b = 0, distance = 0;
      for (std::size_t d = 0; d < width; ++d) {
        const double x = static_cast<double>(test[q * width + d]), y = static_cast<double>(train[r * width + d]);
        dot += x * y;
        a += x * x;
        b += y * y;
        distance += (x - y) * (x - y);
      }
      const double cosine = a * b > 0 ? dot / std::sqrt(a * b) : 0;
      order.emplace_back(metric == d2v::Metric::cosine ? cosine : -distance, r);
    }
    std::stable_sort(order.begin(), order.end(), [](const auto& x, const auto& y) { return x.first > y.first; });
    std::map<int, std::pair<int, double>> votes;
    for (int i = 0; i < k; ++i) {
      auto& vote = votes[labels[order[static_cast<std::size_t>(i)].second]];
      ++vote.first;
      vote.second += order[static_cast<std::size_t>(i)].first;
    }
    auto best = votes.begin();
    for (auto it = votes.begin(); it != votes.end(); ++it)
      if (it->second > best->second) best = it;
    result.push_back(best->first);
  }
  return result;
}

/// Small whole numbers: products and distances are exact in float, so that ties are ties.
std::vector<float> whole_numbers(std::uint32_t stream, std::size_t count, std::uint32_t below) {
  d2v::Rng rng({.seed = 3, .sample = stream});
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.below(below));
  return values;
}

std::vector<int> random_labels(std::size_t count) {
  d2v::Rng rng({.seed = 4});
  std::vector<int> labels(count);
  for (int& label : labels) label = static_cast<int>(rng.below(5)) - 2;
  return labels;
}

}  // namespace

TEST_CASE("knn: Euclidean neighbours are those of brute force, ties included") {
  for (const int dim : {1, 3, 7, 40})
    for (const std::size_t rows : {1u, 15u, 16u, 300u}) {
      const auto width = static_cast<std::size_t>(dim);
      const auto train = whole_numbers(1, rows * width, 4), test = whole_numbers(2, 13 * width, 4);
      const auto labels = random_labels(rows);
      for (const int k : {1, 2, 5, 20}) {
        if (static_cast<std::size_t>(k) > rows) continue;
        CAPTURE(dim);
        CAPTURE(rows);
        CAPTURE(k);
        CHECK(d2v::knn_predict(train, labels, test, dim, k, d2v::Metric::euclidean, 1) ==
              by_brute_force(train, labels, test, dim, k, d2v::Metric::euclidean));
      }
    }
}

TEST_CASE("knn: cosine neighbours are those of brute force, whatever the lengths") {
  constexpr int dim = 24;
  const auto labels = random_labels(500);
  d2v::Rng rng({.seed = 5});
  std::vector<float> train(500 * dim), test(50 * dim);
  for (float& x : train) x = rng.normal();
  for (float& x : test) x = rng.normal();
  for (std::size_t i = 0; i < train.size(); ++i) train[i] *= static_cast<float>(1 + i / dim % 7);
  std::fill(train.begin(), train.begin() + dim, 0.0f);  // a zero vector is at right angles to all
  for (const int k : {1, 5, 20})
    CHECK(d2v::knn_predict(train, labels, test, dim, k, d2v::Metric::cosine, 1) ==
          by_brute_force(train, labels, test, dim, k, d2v::Metric::cosine));
}

TEST_CASE("knn: equal votes go to the nearer class, then to the smaller label") {
  const std::vector<float> train{1, 2, -1, -3};
  const std::vector<int> labels{7, 7, 4, 4};
  const std::vector<float> origin{0};
  CHECK(d2v::knn_predict(train, labels, origin, 1, 4, d2v::Metric::euclidean) == std::vector<int>{7});  // 1+4 < 1+9
  const std::vector<float> even{1, 2, -1, -2};
  CHECK(d2v::knn_predict(even, labels, origin, 1, 4, d2v::Metric::euclidean) == std::vector<int>{4});
  CHECK(d2v::knn_predict(even, labels, origin, 1, 1, d2v::Metric::euclidean) == std::vector<int>{7});  // the first row
}

TEST_CASE("knn: the number of threads changes nothing") {
  constexpr int dim = 31;
  d2v::Rng rng({.seed = 6});
  std::vector<float> train(777 * dim), test(101 * dim);
  for (float& x : train) x = rng.normal();
  for (float& x : test) x = rng.normal();
  const auto labels = random_labels(777);
  for (const auto metric : {d2v::Metric::cosine, d2v::Metric::euclidean}) {
    const auto one = d2v::knn_predict(train, labels, test, dim, 9, metric, 1);
    for (const int threads : {2, 3, 64}) CHECK(d2v::knn_predict(train, labels, test, dim, 9, metric, threads) == one);
  }
}

TEST_CASE("knn: accuracy, and what is refused") {
  const std::vector<float> train{0, 10}, test{1, 9, 2, 8};
  const std::vector<int> labels{0, 1}, truth{0, 1, 1, 1};
  CHECK(d2v::knn_accuracy(train, labels, test, truth, 1, 1, d2v::Metric::euclidean) == 0.75);
  const auto predict = [&](std::span<const float> features, int dim, int k) {
    return d2v::knn_predict(features, labels, test, dim, k, d2v::Metric::euclidean);
  };
  CHECK_THROWS_WITH_AS(predict(train, 1, 3),
                       "knn: expected k from 1 to the number of training rows, 2, found 3", d2v::OptionError);
  CHECK_THROWS_AS(predict(train, 1, 0), d2v::OptionError);
  CHECK_THROWS_AS(predict(train, 0, 1), d2v::OptionError);
  CHECK_THROWS_AS(predict(train, 2, 1), d2v::MismatchError);
  const std::vector<float> broken{0, std::nanf("")};
  CHECK_THROWS_WITH_AS(predict(broken, 1, 1), "knn: expected finite training features, found others in row 1",
                       d2v::OptionError);
  CHECK_THROWS_AS(d2v::knn_accuracy(train, labels, test, labels, 1, 1, d2v::Metric::cosine), d2v::MismatchError);
}

TEST_CASE("knn: classes of real images") {
  const char* folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) {
    std::printf("SKIPPED: knn: classes of real images: no %s\n", folder);
    return;
  }
  const auto data = d2v::read_idx_dataset(folder);
  const auto features = [](const d2v::IdxImages& images, std::size_t count) {
    return std::vector<float>(images.pixels.begin(), images.pixels.begin() + static_cast<std::ptrdiff_t>(count * 784));
  };
  const auto classes = [](const std::vector<std::uint8_t>& labels, std::size_t count) {
    return std::vector<int>(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(count));
  };
  const auto train = features(data.train.images, 1000), test = features(data.test.images, 200);
  const auto labels = classes(data.train.labels, 1000);
  for (const auto metric : {d2v::Metric::euclidean, d2v::Metric::cosine})
    CHECK(d2v::knn_predict(train, labels, test, 784, 5, metric) == by_brute_force(train, labels, test, 784, 5, metric));
}
