// SPDX-License-Identifier: MIT
// The masks of the other systems against the reference's statistics; see tables.hpp. Spans are drawn by the numbers of
// each entry, rectangles of patches and corrupted tokens likewise. Extremes are not compared: they have no error.
#include <algorithm>
#include <cmath>
#include <functional>

#include <data2vec/masking/beit_block.hpp>
#include <data2vec/masking/bert.hpp>
#include <data2vec/masking/span.hpp>

#include "mask_statistics.hpp"
#include "tables.hpp"

namespace data2vec::parity {
namespace {

constexpr double standard_errors = 5;  // of a difference, as in mask_statistics.json

/// Moments of a quantity, with the standard errors of mean and deviation (from the fourth moment).
struct Moments {
  double mean = 0, std = 0, mean_error = 0, std_error = 0;
  explicit Moments(const std::vector<double>& x) {
    const auto n = static_cast<double>(x.size());
    for (const double v : x) mean += v / n;
    double second = 0, fourth = 0;
    for (const double v : x) {
      const double square = (v - mean) * (v - mean);
      second += square / n;
      fourth += square * square / n;
    }
    std = std::sqrt(second);
    mean_error = std / std::sqrt(n);
    std_error = second > 0 ? std::sqrt(std::max(fourth - second * second, 0.0) / (4 * n * second)) : 0;
  }
};

class Entry {
 public:
  Entry(const Case& c, std::string path, Report& r)
      : case_(c), path_(std::move(path)), report_(r), samples_(integer("samples")) {}

  void run() {
    if (has("grid")) rectangles();
    else if (has("mean_selected")) tokens();
    else spans();
  }

 private:
  std::string at(const std::string& key) const { return path_ + "." + key; }
  bool has(const std::string& key) const { return case_.has_number(at(key)); }
  double number(const std::string& key) const { return case_.number(at(key)); }
  int integer(const std::string& key) const { return static_cast<int>(number(key)); }
  static Rng rng(int call) {
    return Rng({.seed = 2022, .sample = static_cast<std::uint32_t>(call), .site = Site::masks});
  }

  /// Two estimates from as many draws: each has the error that ours has.
  void agree(const std::string& key, double ours, double error) {
    const double d = deviation({number(key), error}, {ours, error});
    char numbers[120];
    std::snprintf(numbers, sizeof numbers, ": expected %.6g within %g standard errors, found %.6g at %.1f", number(key),
                  standard_errors, ours, d);
    report_.expect(d <= standard_errors, key + numbers);
  }
  void agree_share(const std::string& key, double ours, double draws) {
    const double p = std::clamp(number(key), 1 / draws, 1 - 1 / draws);
    agree(key, ours, std::sqrt(p * (1 - p) / draws));
  }
  void agree_counts(const std::string& what, const std::vector<double>& counts) {
    const Moments m(counts);
    agree("mean_" + what, m.mean, m.mean_error);
    agree("std_" + what, m.std, m.std_error);
  }

  void spans() {
    const int batch = integer("batch"), tokens = integer("T");
    const bool same = case_.flag(at("require_same_masks"));
    const double dropout = number("mask_dropout");
    const auto padding = case_.size(at("pad")) > 0 ? case_.numbers(at("pad")) : std::vector<double>();
    std::vector<double> counts, runs, lengths;
    const auto marks = std::make_unique<bool[]>(static_cast<std::size_t>(batch * tokens));
    for (int call = 0; call < samples_; ++call) {
      Rng draws = rng(call);
      for (int r = 0; r < batch; ++r) {
        const int padded = padding.empty() ? 0 : static_cast<int>(padding[static_cast<std::size_t>(r)]);
        span_mask(draws, tokens, tokens - padded, number("mask_prob"), integer("mask_length"), &marks[r * tokens],
                  integer("min_masks"));
        if (!same) equalise_rows(draws, 1, tokens, false, dropout, &marks[r * tokens]);
      }
      if (same) equalise_rows(draws, batch, tokens, false, dropout, marks.get());
      for (int r = 0; r < (same ? 1 : batch); ++r) count(&marks[r * tokens], tokens, counts, runs, lengths);
    }
    agree_counts("masked", counts);
    if (!has("mean_runs")) return;
    const Moments of_runs(runs), of_lengths(lengths);
    agree("mean_runs", of_runs.mean, of_runs.mean_error);
    agree("mean_run_length", of_lengths.mean, of_lengths.mean_error);
    // A median: at most half of the lengths are below it, at least half are not above.
    const double median = number("median_run_length"), all = static_cast<double>(lengths.size());
    const auto share = [&](auto below) { return static_cast<double>(std::ranges::count_if(lengths, below)) / all; };
    const double room = standard_errors * std::sqrt(0.5 / all);
    report_.expect(share([&](double x) { return x < median; }) <= 0.5 + room &&
                       share([&](double x) { return x <= median; }) >= 0.5 - room,
                   "median_run_length: expected about " + std::to_string(median));
  }
  static void count(const bool* marks, int tokens, std::vector<double>& counts, std::vector<double>& runs,
                    std::vector<double>& lengths) {
    double hidden = 0, stretches = 0;
    for (int t = 0; t < tokens; ++t) {
      if (!marks[t]) continue;
      ++hidden;
      if (t == 0 || !marks[t - 1]) ++stretches, lengths.push_back(0);
      ++lengths.back();
    }
    counts.push_back(hidden);
    runs.push_back(stretches);
  }

  void rectangles() {
    const Grid grid(integer("grid"));
    const BeitMaskConfig config{.num_mask_patches = integer("num_mask_patches"),
                                .min_mask_patches_per_block = integer("min_block"),
                                .max_mask_patches_per_block = integer("max_block")};
    std::vector<double> counts;
    double exact = 0, centre = 0, corner = 0;
    const auto hidden = std::make_unique<bool[]>(static_cast<std::size_t>(grid.size()));
    for (int call = 0; call < samples_; ++call) {
      Rng draws = rng(call);
      const int found = beit_block_mask(draws, grid, config, hidden.get());
      counts.push_back(found);
      exact += found == config.num_mask_patches;
      const auto four = [&](int y, int x) {  // the mean over a cell's mirror images, which are equally likely
        const int bottom = grid.height - 1 - y, right = grid.width - 1 - x, w = grid.width;
        return (hidden[y * w + x] + hidden[y * w + right] + hidden[bottom * w + x] + hidden[bottom * w + right]) / 4.0;
      };
      centre += four(grid.height / 2, grid.width / 2);
      corner += four(0, 0);
    }
    agree_counts("masked", counts);
    agree_share("exact_fraction", exact / samples_, samples_);
    agree_share("centre_frequency", centre / samples_, samples_);
    agree_share("corner_frequency", corner / samples_, samples_);
  }

  void tokens() {
    const int T = integer("T");
    const TokenMasking masking{T, {.mask_prob = number("mask_prob"),
                                   .leave_unmasked_prob = number("leave_unmasked_prob"),
                                   .random_token_prob = number("random_token_prob"),
                                   .mask_multiple_length = integer("mask_multiple_length")}};
    const TokenIds ids{.mask = 999, .vocab_size = 1000};
    const auto n = static_cast<std::size_t>(T);
    std::vector<std::int32_t> row(n, 500), seen(n);
    std::vector<TokenAction> actions(n);
    std::vector<int> positions(static_cast<std::size_t>(masking.most()));
    std::vector<double> counts, specials;
    double masked = 0, kept = 0, random = 0;
    for (int call = 0; call < samples_; ++call) {
      Rng draws = rng(call);
      counts.push_back(masking.sample(draws, T, ids, row.data(), actions.data(), seen.data(), positions.data()));
      specials.push_back((actions.front() != TokenAction::none) + (actions.back() != TokenAction::none));
      for (const TokenAction action : actions) {
        masked += action == TokenAction::mask;
        kept += action == TokenAction::keep;
        random += action == TokenAction::random;
      }
    }
    const double all = masked + kept + random;
    agree_counts("selected", counts);
    agree_share("frac_mask", masked / all, all);
    agree_share("frac_kept", kept / all, all);
    agree_share("frac_random", random / all, all);
    const Moments of_specials(specials);
    agree("mean_special_tokens_selected_of_2", of_specials.mean, of_specials.mean_error);
  }

  const Case& case_;
  std::string path_;
  Report& report_;
  int samples_;
};

}  // namespace

std::vector<CaseResult> check_baseline_masks(const Case& c) {
  std::vector<CaseResult> results;
  for (const std::string& key : c.keys(""))
    results.push_back(run_case(c.name() + "/" + key, [&](Report& r) { Entry(c, key, r).run(); }));
  return results;
}

}  // namespace data2vec::parity
