// SPDX-License-Identifier: MIT
// Statistics of many drawn masks; see mask_statistics.hpp.
#include "mask_statistics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace data2vec::parity {
namespace {

constexpr int longest_run = 30;                    // the fixtures' histograms end here
constexpr int edge = 16;                           // and call these first and last positions the edges

class Accumulator {
 public:
  void add(double x) {
    low_ = count_ == 0 ? x : std::min(low_, x);
    high_ = count_ == 0 ? x : std::max(high_, x);
    ++count_;
    const double step = x - mean_;                 // Welford, 1962
    mean_ += step / static_cast<double>(count_);
    squares_ += step * (x - mean_);
  }

  Summary summary() const {
    if (count_ == 0) return {};
    const double n = static_cast<double>(count_), std = std::sqrt(squares_ / n);
    return {mean_, std, std / std::sqrt(n), low_, high_, count_};
  }

 private:
  std::int64_t count_ = 0;
  double mean_ = 0, squares_ = 0, low_ = 0, high_ = 0;
};

// Shares of runs by length. Runs of one draw depend on each other, so the error is that of a ratio of two sums over
// draws (Cochran, Sampling Techniques, section 2.11), and at least that of one run in the bin.
class RunHistogram {
 public:
  void add_draw(const std::array<int, longest_run + 1>& bins) {
    double total = 0;
    for (const int b : bins) total += b;
    runs_ += total;
    total_squares_ += total * total;
    for (std::size_t i = 0; i < bins.size(); ++i) {
      sum_[i] += bins[i];
      squares_[i] += static_cast<double>(bins[i]) * bins[i];
      product_[i] += bins[i] * total;
    }
  }

  std::vector<Estimate> shares() const {
    std::vector<Estimate> result(sum_.size());
    if (runs_ == 0) return result;
    for (std::size_t i = 0; i < sum_.size(); ++i) {
      const double p = sum_[i] / runs_;
      const double ratio = (squares_[i] - 2 * p * product_[i] + p * p * total_squares_) / (runs_ * runs_);
      result[i] = {p, std::sqrt(std::max(ratio, std::max(p, 1 / runs_) / runs_))};
    }
    return result;
  }

 private:
  double runs_ = 0, total_squares_ = 0;
  std::array<double, longest_run + 1> sum_{}, squares_{}, product_{};
};

struct Runs {
  Accumulator length;
  RunHistogram histogram;

  void add_draw(const std::uint8_t* mask, int tokens, bool hidden) {
    std::array<int, longest_run + 1> bins{};
    for (int begin = 0; begin < tokens;) {
      int end = begin + 1;
      while (end < tokens && (mask[end] != 0) == (mask[begin] != 0)) ++end;
      if ((mask[begin] != 0) == hidden) {
        length.add(end - begin);
        ++bins[static_cast<std::size_t>(std::min(end - begin, longest_run))];
      }
      begin = end;
    }
    histogram.add_draw(bins);
  }

  RunStatistics statistics() const { return {length.summary(), histogram.shares()}; }
};

struct Cells {
  Grid grid;
  std::vector<Accumulator> rings;
  Accumulator components, component_size, largest, equal;
  std::vector<std::uint8_t> seen;
  std::vector<int> stack;

  explicit Cells(Grid g) : grid(g), rings(static_cast<std::size_t>((std::min(g.height, g.width) + 1) / 2)) {}

  void add_draw(const std::uint8_t* mask) {
    std::vector<double> hidden(rings.size()), cells(rings.size());
    int equal_pairs = 0, pairs = 0;
    for (int y = 0; y < grid.height; ++y)
      for (int x = 0; x < grid.width; ++x) {
        const int at = y * grid.width + x;
        const auto ring = static_cast<std::size_t>(std::min({y, x, grid.height - 1 - y, grid.width - 1 - x}));
        hidden[ring] += mask[at] != 0;
        cells[ring] += 1;
        if (x + 1 < grid.width) ++pairs, equal_pairs += (mask[at] != 0) == (mask[at + 1] != 0);
        if (y + 1 < grid.height) ++pairs, equal_pairs += (mask[at] != 0) == (mask[at + grid.width] != 0);
      }
    for (std::size_t r = 0; r < rings.size(); ++r) rings[r].add(hidden[r] / cells[r]);
    equal.add(static_cast<double>(equal_pairs) / pairs);
    add_components(mask);
  }

  void add_components(const std::uint8_t* mask) {
    seen.assign(mask, mask + grid.size());
    int count = 0, most = 0;
    for (int start = 0; start < grid.size(); ++start) {
      if (seen[static_cast<std::size_t>(start)]) continue;
      int size = 0;
      visit(start);
      while (!stack.empty()) {
        const int at = stack.back(), x = at % grid.width;
        stack.pop_back();
        ++size;
        if (x > 0) visit(at - 1);
        if (x + 1 < grid.width) visit(at + 1);
        if (at >= grid.width) visit(at - grid.width);
        if (at + grid.width < grid.size()) visit(at + grid.width);
      }
      ++count;
      most = std::max(most, size);
      component_size.add(size);
    }
    components.add(count);
    largest.add(most);
  }

  void visit(int at) {
    auto& s = seen[static_cast<std::size_t>(at)];
    if (!s) stack.push_back(at);
    s = 1;
  }
};

}  // namespace

MaskStatistics mask_statistics(const std::uint8_t* masks, int draws, Grid grid) {
  const int tokens = grid.size();
  MaskStatistics result;
  result.draws = draws;
  std::vector<std::int64_t> hidden(static_cast<std::size_t>(tokens));
  Accumulator masked_count, middle;
  Runs masked_runs, visible_runs;
  Cells cells(grid);
  for (int d = 0; d < draws; ++d, masks += tokens) {
    int count = 0, inside = 0;
    for (int t = 0; t < tokens; ++t) {
      if (masks[t] == 0) continue;
      ++hidden[static_cast<std::size_t>(t)];
      ++count;
      if (t >= edge && t < tokens - edge) ++inside;
    }
    masked_count.add(count);
    if (grid.height > 1) {
      cells.add_draw(masks);
    } else {
      if (tokens > 2 * edge) middle.add(static_cast<double>(inside) / (tokens - 2 * edge));
      masked_runs.add_draw(masks, tokens, true);
      visible_runs.add_draw(masks, tokens, false);
    }
  }
  result.masked_count = masked_count.summary();
  for (const auto h : hidden) result.position_probability.push_back(static_cast<double>(h) / draws);
  const double p = result.masked_count.mean / tokens;
  result.position_standard_error = std::sqrt(p * (1 - p) / draws);
  if (grid.height > 1) {
    for (const Accumulator& ring : cells.rings) result.ring_probability.push_back(estimate(ring.summary()));
    result.components = cells.components.summary();
    result.component_size = cells.component_size.summary();
    result.largest_component = cells.largest.summary();
    result.equal_neighbours = cells.equal.summary();
  } else {
    result.middle_probability = estimate(middle.summary());
    result.masked_runs = masked_runs.statistics();
    result.visible_runs = visible_runs.statistics();
  }
  return result;
}

double deviation(Estimate a, Estimate b) {
  const double difference = std::abs(a.value - b.value);
  if (difference == 0) return 0;
  const double error = std::hypot(a.standard_error, b.standard_error);
  return error > 0 ? difference / error : std::numeric_limits<double>::infinity();
}

}  // namespace data2vec::parity
