// SPDX-License-Identifier: MIT
// What features are worth: nearest neighbours and a linear probe. Neighbours and penalty are chosen on a part of the
// training rows; the test rows are used once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/evaluation/knn.hpp>
#include <data2vec/evaluation/metrics.hpp>
#include <data2vec/evaluation/probe.hpp>
#include <data2vec/io/json.hpp>

#include "examples/common/device_judging.hpp"
#include "examples/common/program.hpp"

namespace demo {

/// Rows of features and their labels.
struct Rows {
  std::vector<float> values;  ///< (n, width)
  std::vector<int> labels;    ///< (n)
};

struct JudgeOptions {
  double validation = 0.2;             ///< share of the training rows that choose neighbours and penalty
  std::size_t most_queries = 2'000;    ///< rows that choose the neighbours, at most
  std::size_t most_rows = 20'000;      ///< rows on which penalties are tried, at most
  std::uint64_t seed = 1;
  int threads = 0;
  const DeviceJudging* device = nullptr;  ///< a GPU does it instead of the threads
};

struct Judgement {
  std::string name;
  int k = 0;
  double knn_validation = 0, penalty = 0, probe_validation = 0;
  d2v::Confusion knn, linear;
};

/// Judges features of training rows, whose order must be random or balanced, by test rows. The validation part are the
/// last of the training rows for neighbours, and a random part of the first ones for the penalty. With too few rows
/// nothing is chosen: k = 1, penalty 0.01.
inline Judgement judge(const std::string& name, const Rows& train, const Rows& test, std::size_t columns,
                       d2v::Metric metric, int class_count, const JudgeOptions& o) {
  const int dim = static_cast<int>(columns);
  const std::size_t n = train.labels.size();
  const auto held_out = static_cast<std::size_t>(o.validation * static_cast<double>(n));
  const std::size_t queries = std::min(held_out, o.most_queries), fitted = n - queries;
  const std::span<const float> values(train.values);
  const std::span<const int> labels(train.labels);
  const auto neighbours = [&](std::size_t rows, std::span<const float> queries_of, int k) {
    return o.device ? d2v::knn_predict(o.device->search, values.first(rows * columns), labels.first(rows), queries_of,
                                       dim, k, metric)
                    : d2v::knn_predict(values.first(rows * columns), labels.first(rows), queries_of, dim, k, metric,
                                       o.threads);
  };
  Judgement result{name, 1, 0, 0.01, 0, d2v::Confusion(class_count), d2v::Confusion(class_count)};
  for (const int k : {1, 5, 10, 20, 50}) {
    if (queries == 0 || static_cast<std::size_t>(k) > fitted || interrupted) break;
    const auto found = neighbours(fitted, values.subspan(fitted * columns), k);
    const double accuracy = d2v::Confusion(labels.subspan(fitted), found, class_count).accuracy();
    if (accuracy > result.knn_validation) result.knn_validation = accuracy, result.k = k;
  }
  if (interrupted) return result;
  result.knn = {test.labels, neighbours(n, test.values, result.k), class_count};
  if (interrupted) return result;
  d2v::ProbeOptions options{.validation = o.validation, .seed = o.seed, .threads = o.threads};
  d2v::LinearProbe probe;
  const auto fit = [&](std::size_t rows) {
    return o.device ? probe.fit(o.device->sums, values.first(rows * columns), labels.first(rows), dim, options)
                    : probe.fit(values.first(rows * columns), labels.first(rows), dim, options);
  };
  if (held_out > 0) {
    const d2v::ProbeReport choice = fit(std::min(n, o.most_rows));
    result.penalty = choice.penalty, result.probe_validation = choice.validation_accuracy;
  }
  if (interrupted) return result;
  options.penalties = {result.penalty};
  fit(n);
  result.linear = {test.labels, probe.predict(test.values), class_count};
  return result;
}

/// Counts samples by their labels and what rows of logits (n, outputs) say of them, of the classes that are counted.
inline void count_rows(d2v::Confusion& confusion, std::span<const int> labels, const float* logits,
                       std::size_t outputs) {
  for (const int label : labels) {
    confusion.add(label, static_cast<int>(std::max_element(logits, logits + confusion.classes()) - logits));
    logits += outputs;
  }
}

/// Rows of counts by predicted class, and back.
inline d2v::Json counts_of(const d2v::Confusion& confusion) {
  d2v::Json counts = d2v::Json::array();
  for (int t = 0; t < confusion.classes(); ++t) {
    d2v::Json row = d2v::Json::array();
    for (int p = 0; p < confusion.classes(); ++p) row.push_back(confusion.count(t, p));
    counts.push_back(std::move(row));
  }
  return counts;
}
inline d2v::Confusion confusion_of(const d2v::Json& counts) {
  d2v::Confusion confusion(static_cast<int>(counts.size()));
  for (int t = 0; t < confusion.classes(); ++t)
    for (int p = 0; p < confusion.classes(); ++p)
      for (auto n = counts.at(static_cast<std::size_t>(t)).at(static_cast<std::size_t>(p)).get<int>(); n > 0; --n)
        confusion.add(t, p);
  return confusion;
}

inline d2v::Json json_of(const Judgement& j) {
  return {{"features", j.name},
          {"knn", {{"accuracy", j.knn.accuracy()}, {"k", j.k}, {"validation_accuracy", j.knn_validation}}},
          {"probe",
           {{"accuracy", j.linear.accuracy()},
            {"penalty", j.penalty},
            {"validation_accuracy", j.probe_validation}}}};
}

inline void print(const Judgement& j) {
  std::printf("%-32s %7.2f %% (k %2d) %14.2f %% (penalty %g)\n", j.name.c_str(), 100 * j.knn.accuracy(), j.k,
              100 * j.linear.accuracy(), j.penalty);
  std::fflush(stdout);
}

/// For each query the five rows of `train` with the greatest cosine: [[[row, cosine], ...], ...].
inline d2v::Json nearest_rows(const std::vector<float>& train, const std::vector<float>& test, std::size_t columns,
                              const std::vector<std::size_t>& queries) {
  const auto product = [&](const float* a, const float* b) {
    double sum = 0;
    for (std::size_t i = 0; i < columns; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
  };
  const std::size_t rows = train.size() / columns, most = std::min<std::size_t>(5, rows);
  std::vector<double> cosines(rows), lengths(rows);
  for (std::size_t r = 0; r < rows; ++r) lengths[r] = std::sqrt(product(&train[r * columns], &train[r * columns]));
  d2v::Json out = d2v::Json::array();
  for (const std::size_t q : queries) {
    const float* const query = &test[q * columns];
    const double length = std::sqrt(product(query, query));
    for (std::size_t r = 0; r < rows; ++r) {
      const double scale = length * lengths[r];
      cosines[r] = scale > 0 ? product(query, &train[r * columns]) / scale : 0;
    }
    std::vector<std::size_t> order(rows);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most), order.end(),
                      [&](std::size_t a, std::size_t b) {
                        return cosines[a] != cosines[b] ? cosines[a] > cosines[b] : a < b;
                      });
    d2v::Json found = d2v::Json::array();
    for (std::size_t i = 0; i < most; ++i) found.push_back({order[i], cosines[order[i]]});
    out.push_back(std::move(found));
  }
  return out;
}

}  // namespace demo
