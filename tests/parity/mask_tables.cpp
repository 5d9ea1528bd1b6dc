// SPDX-License-Identifier: MIT
// The library's masks against the reference's statistics: 10,000 draws of each configuration; see tables.hpp.
#include <array>
#include <cmath>
#include <functional>

#include <data2vec/masking/block.hpp>
#include <data2vec/masking/random.hpp>
#include <data2vec/masking/span.hpp>

#include "mask_statistics.hpp"
#include "tables.hpp"

namespace data2vec::parity {
namespace {

/// One entry of the table: its numbers and its masks.
class Entry {
 public:
  Entry(const Case& c, std::string path, Report& r) : case_(c), path_(std::move(path)), report_(r) {}

  void run() {
    const bool image = case_.has_number(at("grid"));
    if (image) grid_ = Grid(integer("grid"));
    else grid_ = Grid(1, integer("T"));
    draws_ = integer("draws");
    draw_all();
    const MaskStatistics ours = mask_statistics(masks_.data(), draws_, grid_);
    if (image) compare_image(ours);
    else compare_sequence(ours);
  }

 private:
  std::string at(const std::string& key) const { return path_ + "." + key; }
  double number(const std::string& key) const { return case_.number(at(key)); }
  int integer(const std::string& key) const { return static_cast<int>(number(key)); }

  void draw_all() {
    const int tokens = grid_.size();
    const double prob = number("mask_prob");
    const bool image = grid_.height > 1;
    const std::string generator = image ? "block" : case_.text(at("generator"));
    const int rows = generator == "span" ? integer("rows_per_call") : 1;
    const auto marks = std::make_unique<bool[]>(static_cast<std::size_t>(rows * tokens));
    masks_.resize(static_cast<std::size_t>(draws_ * tokens));
    for (int done = 0, call = 0; done < draws_; done += rows, ++call) {
      Rng rng({.seed = 2022, .sample = static_cast<std::uint32_t>(call), .site = Site::masks});
      if (generator == "random") {
        random_mask(rng, tokens, tokens - random_visible(tokens, prob), marks.get());
      } else if (generator == "span") {
        for (int r = 0; r < rows; ++r)
          span_mask(rng, tokens, tokens, prob, integer("mask_length"), marks.get() + r * tokens);
        if (rows > 1) equalise_rows(rng, rows, tokens, case_.flag(at("add_masks")), 0, marks.get());
      } else if (image || generator == "block_1d") {
        draw_blocks(rng, prob, marks.get());
      } else {
        throw std::runtime_error("a generator that is not known: " + generator);
      }
      for (int i = 0; i < std::min(rows, draws_ - done) * tokens; ++i)
        masks_[static_cast<std::size_t>(done * tokens + i)] = marks[static_cast<std::size_t>(i)];
    }
  }

  void draw_blocks(Rng& rng, double prob, bool* marks) {
    const int tokens = grid_.size(), length = integer("mask_length"), dims = grid_.height > 1 ? 2 : 1;
    const bool inverse = case_.flag(at("inverse_mask"));
    const int seeds = block_seeds(tokens, inverse ? 1 - prob : prob, number("mask_prob_adjust"), length, dims);
    if (case_.has_number(at("seeds_drawn"))) seeds_ = seeds;
    if (inverse) {
      inverse_block_mask(rng, grid_, length, seeds, tokens - inverse_block_masked(tokens, prob), marks);
    } else {
      block_mask(rng, grid_, length, seeds, block_masked(tokens, prob), marks);
    }
  }

  /// Two independent estimates agree up to five standard errors of their difference (the table's own rule).
  void agree(const std::string& what, Estimate reference, Estimate ours) {
    const double d = deviation(reference, ours);
    char numbers[120];
    std::snprintf(numbers, sizeof numbers, ": expected %.6g within 5 standard errors, found %.6g at %.1f",
                  reference.value, ours.value, d);
    report_.expect(d <= 5, what + numbers);
  }

  Estimate reference(const std::string& key) const { return {number(key + ".mean"), number(key + ".standard_error")}; }

  void agree_positions(const std::string& key, const MaskStatistics& ours, std::size_t first) {
    const auto expected = case_.numbers(at(key));
    for (std::size_t i = 0; i < expected.size(); ++i)
      agree(key + "." + std::to_string(i), {expected[i], ours.position_standard_error},
            {ours.position_probability.at(first + i), ours.position_standard_error});
  }

  void compare_image(const MaskStatistics& ours) {
    if (case_.has_number(at("seeds_drawn")))
      report_.check_value(Quantity::exact, "seeds_drawn", number("seeds_drawn"), seeds_);
    report_.check_value(Quantity::exact, "masked_count_min", number("masked_count_min"), ours.masked_count.min);
    report_.check_value(Quantity::exact, "masked_count_max", number("masked_count_max"), ours.masked_count.max);
    agree_positions("per_position_mask_probability", ours, 0);
    for (std::size_t i = 0; i < case_.size(at("mean_mask_probability_by_ring")); ++i) {
      const std::string ring = "mean_mask_probability_by_ring." + std::to_string(i);
      const auto index = static_cast<std::size_t>(number(ring + ".ring"));
      const double error = ours.ring_probability.at(index).standard_error;  // the same number of draws on both sides
      agree(ring, {number(ring + ".mean"), error}, ours.ring_probability[index]);
    }
    agree("visible_components_per_sample", reference("visible_components_per_sample"), estimate(ours.components));
    agree("visible_component_size", reference("visible_component_size"), estimate(ours.component_size));
    agree("largest_visible_component", reference("largest_visible_component"), estimate(ours.largest_component));
    agree("equal_neighbour_fraction", reference("equal_neighbour_fraction"), estimate(ours.equal_neighbours));
  }

  void compare_sequence(const MaskStatistics& ours) {
    agree("masked_count", reference("masked_count"), estimate(ours.masked_count));
    if (number("masked_count.std") == 0) {
      report_.check_value(Quantity::exact, "masked_count.min", number("masked_count.min"), ours.masked_count.min);
      report_.check_value(Quantity::exact, "masked_count.max", number("masked_count.max"), ours.masked_count.max);
    }
    agree_positions("per_position_mask_probability_first_16", ours, 0);
    agree_positions("per_position_mask_probability_last_16", ours, static_cast<std::size_t>(grid_.size()) - 16);
    agree("per_position_mask_probability_middle_mean",
          {number("per_position_mask_probability_middle_mean"), ours.middle_probability.standard_error},
          ours.middle_probability);
    compare_runs("masked_run_length", ours.masked_runs);
    compare_runs("visible_run_length", ours.visible_runs);
  }

  void compare_runs(const std::string& key, const RunStatistics& ours) {
    agree(key, reference(key), estimate(ours.length));
    const auto expected = case_.numbers(at(key + "_histogram_cap30"));
    for (std::size_t i = 0; i < expected.size() && i < ours.histogram.size(); ++i)
      agree(key + "_histogram_cap30." + std::to_string(i), {expected[i], ours.histogram[i].standard_error},
            ours.histogram[i]);
  }

  const Case& case_;
  std::string path_;
  Report& report_;
  Grid grid_{1};
  int draws_ = 0, seeds_ = 0;
  std::vector<std::uint8_t> masks_;
};

void check_rounding(const Case& c, Report& r) {
  for (std::size_t i = 0; i < c.size("count_rounding"); ++i) {
    const std::string path = "count_rounding." + std::to_string(i);
    const int tokens = static_cast<int>(c.number(path + ".L"));
    const double prob = c.number(path + ".mask_prob");
    r.check_value(Quantity::exact, path + ".random_masked", c.number(path + ".random_masked"),
                  tokens - random_visible(tokens, prob));
    r.check_value(Quantity::exact, path + ".block_inverse_masked", c.number(path + ".block_inverse_masked"),
                  inverse_block_masked(tokens, prob));
    r.check_value(Quantity::exact, path + ".block_masked", c.number(path + ".block_masked"),
                  block_masked(tokens, prob));
  }
}

}  // namespace

std::vector<CaseResult> check_mask_statistics(const Case& c) {
  std::vector<CaseResult> results;
  for (const std::string& key : c.keys("")) {
    if (key == "tolerance") continue;
    results.push_back(run_case(c.name() + "/" + key, [&](Report& r) {
      if (key == "count_rounding") check_rounding(c, r);
      else Entry(c, key, r).run();
    }));
  }
  return results;
}

}  // namespace data2vec::parity
