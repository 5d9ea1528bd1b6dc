// SPDX-License-Identifier: MIT
// CTC against the sum over all paths, central differences, the reference's numbers, and its contract.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <data2vec/device/cpu/ctc.hpp>
#include <data2vec/io/safetensors.hpp>

#include "support.hpp"
#include "tests/allocation_counter.hpp"

using namespace data2vec;
using Ints = std::vector<std::int32_t>;

namespace {

constexpr int K = 4, frames = 5, most_labels = 3;

std::vector<double> workspace() { return std::vector<double>(ctc_workspace_size(frames, most_labels), NAN); }

/// Minus the log of the sum over all K^valid paths that give `target`.
double by_paths(const double* logits, int valid, const Ints& target) {
  double sum = 0;
  int paths = 1;
  for (int t = 0; t < valid; ++t) paths *= K;
  for (int path = 0; path < paths; ++path) {
    Ints labels;
    double p = 1;
    for (int t = 0, rest = path, last = 0; t < valid; ++t, rest /= K) {
      const int symbol = rest % K;
      double normaliser = 0;
      for (int k = 0; k < K; ++k) normaliser += std::exp(logits[t * K + k]);
      p *= std::exp(logits[t * K + symbol]) / normaliser;
      if (symbol != 0 && symbol != last) labels.push_back(symbol);
      last = symbol;
    }
    if (labels == target) sum += p;
  }
  return -std::log(sum);
}

struct Row {
  int valid;
  Ints target;
};
const std::vector<Row> rows{{5, {1, 2, 3}}, {5, {2, 2, 2}}, {4, {1, 1}}, {3, {}},
                            {2, {3, 3}},    {0, {}},        {0, {1}},    {3, {1, 2, 3}}};

struct Case {
  Ints targets, target_lengths, input_lengths;
  std::vector<double> logits;
  Case() : logits(support::numbers<double>(rows.size() * frames * K, 3)) {
    for (double& x : logits) x *= 3;
    for (const Row& row : rows) {
      input_lengths.push_back(row.valid);
      target_lengths.push_back(static_cast<std::int32_t>(row.target.size()));
      for (std::size_t i = 0; i < most_labels; ++i) targets.push_back(i < row.target.size() ? row.target[i] : 99);
    }
  }
  CtcSums run(const CtcOptions& options, double weight, double* losses, double* dlogits) const {
    Cpu cpu;
    auto memory = workspace();
    return device::ctc<K>(cpu, static_cast<int>(rows.size()), frames, logits.data(), input_lengths.data(), most_labels,
                          targets.data(), target_lengths.data(), options, weight, losses, dlogits, memory.data());
  }
};

}  // namespace

TEST_CASE("ctc: the loss is minus the log of the sum over all paths") {
  const Case c;
  std::vector<double> losses(rows.size(), NAN), plain(rows.size(), NAN);
  const CtcSums sums = c.run({}, 1, losses.data(), nullptr),
                infinite = c.run({.zero_infinity = false}, 1, plain.data(), nullptr);
  double total = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(i);
    const double expected = by_paths(c.logits.data() + i * frames * K, rows[i].valid, rows[i].target);
    const bool fits =
        ctc_frames_needed(rows[i].target.data(), static_cast<int>(rows[i].target.size())) <= rows[i].valid;
    CHECK(std::isinf(expected) == !fits);
    // Sums of up to 4^5 terms, and the log turns relative errors into absolute ones.
    if (fits)
      CHECK(std::abs(losses[i] - expected) < support::tolerance<double>(1024, expected));
    else
      CHECK(losses[i] == 0);
    CHECK((fits ? plain[i] == losses[i] : plain[i] == std::numeric_limits<double>::infinity()));
    total += losses[i];
  }
  CHECK(sums.loss == total);
  CHECK(sums.impossible == 2);
  CHECK(sums.first_impossible == 4);
  CHECK(infinite.impossible == 2);
  CHECK(std::isinf(infinite.loss));
}

TEST_CASE("ctc: the gradient by central differences, every element, everything written") {
  Case c;
  std::vector<double> gradient(c.logits.size(), std::numeric_limits<double>::infinity()), unweighted(gradient);
  c.run({}, 0.25, nullptr, gradient.data());
  c.run({.zero_infinity = false}, 1, nullptr, unweighted.data());
  const auto loss = [&] { return c.run({}, 1, nullptr, nullptr).loss; };
  for (std::size_t i = 0; i < c.logits.size(); ++i) {
    CAPTURE(i);
    // Steps of 1e-6: rounding 2^-52 * loss (below 64) / 1e-6 = 1.5e-8, times 8; the third derivative adds 1e-12.
    CHECK(std::abs(unweighted[i] - support::central_difference(loss, c.logits[i])) < 1.2e-7);
    CHECK(gradient[i] == 0.25 * unweighted[i]);  // also behind the valid frames, and of impossible rows: 0
  }
  for (std::size_t b = 0; b < rows.size(); ++b)
    for (std::size_t t = 0; t < frames; ++t) {
      double sum = 0;
      for (std::size_t k = 0; k < K; ++k) sum += unweighted[(b * frames + t) * K + k];
      CHECK(std::abs(sum) < support::tolerance<double>(K * frames));  // shares of one
    }
}

TEST_CASE("ctc: long sequences neither overflow nor vanish, in float too") {
  constexpr int long_frames = 1500, labels = 300;
  Cpu cpu;
  auto logits = support::numbers<float>(long_frames * K, 9);
  for (float& x : logits) x = 40 * x + 1000;  // probabilities down to e^-80
  Ints targets;
  for (int i = 0; i < labels; ++i) targets.push_back(1 + i % 3);
  const std::int32_t target_length = labels, input_length = long_frames;
  std::vector<double> memory(ctc_workspace_size(long_frames, labels));
  std::vector<float> gradient(logits.size());
  double loss = 0;
  const auto run = [&] {
    device::ctc<K>(cpu, 1, long_frames, logits.data(), &input_length, labels, targets.data(), &target_length, {}, 1,
                   &loss, gradient.data(), memory.data());
  };
#ifdef D2V_COUNTS_ALLOCATIONS
  CHECK(allocations_of(run) == 0);
#else
  run();
#endif
  CHECK(std::isfinite(loss));
  CHECK(loss > 1000);
  for (std::size_t t = 0; t < long_frames; ++t) {
    double sum = 0;
    for (std::size_t k = 0; k < K; ++k) sum += double{gradient[t * K + k]};
    REQUIRE(std::abs(sum) < support::tolerance<float>(K));
  }
  logits[700] = NAN;  // not taken for an impossible target
  run();
  CHECK(std::isnan(loss));
}

TEST_CASE("ctc: the reference's numbers") {
  const char* const given = std::getenv("D2V_SHARED");
  const auto shared =
      given ? std::filesystem::path(given) : std::filesystem::path(D2V_SOURCE_DIR).parent_path() / "shared";
  const auto path = shared / "fixtures" / "data2vec2" / "ctc_basic.safetensors";
  if (!std::filesystem::exists(path)) {
    std::printf("SKIPPED: device/ctc, the reference's numbers: no fixtures (%s)\n", path.c_str());
    return;
  }
  const auto file = SafetensorsFile::open(path.string());
  constexpr int T = 12, B = 4, C = 6, most = 12;
  const auto by_time = file.at("in.logits").copy<float>(), expected = file.at("out.loss_per_example").copy<float>();
  const auto infinite = file.at("out.loss_per_example_without_zero_infinity").copy<float>();
  const auto gradient = file.at("grad.logits").copy<float>();
  REQUIRE(by_time.size() == T * B * C);
  std::vector<float> logits(T * B * C), dlogits(T * B * C);
  const auto at = [](std::size_t t, std::size_t b, std::size_t k) { return (b * T + t) * C + k; };
  for (std::size_t i = 0; i < by_time.size(); ++i) logits[at(i / (B * C), i / C % B, i % C)] = by_time[i];
  const auto targets = file.at("in.targets").copy<std::int32_t>(),
             lengths = file.at("in.target_lengths").copy<std::int32_t>(),
             inputs = file.at("in.input_lengths").copy<std::int32_t>();
  Cpu cpu;
  std::vector<double> losses(B), plain(B), memory(ctc_workspace_size(T, most));
  const CtcSums sums = device::ctc<C>(cpu, B, T, logits.data(), inputs.data(), most, targets.data(), lengths.data(), {},
                                      1, losses.data(), dlogits.data(), memory.data());
  device::ctc<C>(cpu, B, T, logits.data(), inputs.data(), most, targets.data(), lengths.data(),
                 {.zero_infinity = false}, 1, plain.data(), nullptr, memory.data());
  // Bounds of the fixtures: losses 2e-6 relative, gradients 3e-5 of the largest.
  for (std::size_t b = 0; b < B; ++b) {
    CHECK(std::abs(losses[b] - double{expected[b]}) <= 2e-6 * double{expected[b]});
    CHECK(std::isinf(plain[b]) == std::isinf(infinite[b]));
  }
  CHECK(sums.impossible == 1);
  const double total = double{file.at("out.loss_total").copy<float>()[0]};
  CHECK(std::abs(sums.loss - total) <= 2e-6 * total);
  for (std::size_t i = 0; i < gradient.size(); ++i)
    CHECK(std::abs(dlogits[at(i / (B * C), i / C % B, i % C)] - gradient[i]) <= 3e-5 * support::largest(gradient));
}
