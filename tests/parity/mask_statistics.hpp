// SPDX-License-Identifier: MIT
// Statistics of many drawn masks, as the reference fixtures record them: where tokens are hidden, how hidden and
// visible tokens cluster on a grid, how long their runs are in a sequence.
#pragma once

#include <cstdint>
#include <vector>

#include <data2vec/core/view.hpp>

namespace data2vec::parity {

/// A mean over the draws and its standard error.
struct Estimate {
  double value = 0, standard_error = 0;
};

/// Mean and standard deviation of a quantity, the standard error of the mean if its values were independent, and its
/// extremes.
struct Summary {
  double mean = 0, std = 0, standard_error = 0, min = 0, max = 0;
  std::int64_t count = 0;
};

/// Runs are maximal stretches of equal tokens in a sequence.
struct RunStatistics {
  Summary length;                                  ///< over all runs of all draws
  std::vector<Estimate> histogram;                 ///< share of runs by length, 0 .. 30; longer ones count as 30
};

/// What `mask_statistics` computes. "Visible" is what a mask does not hide.
struct MaskStatistics {
  int draws = 0;
  Summary masked_count;                            ///< hidden tokens of a draw
  std::vector<double> position_probability;        ///< (tokens) share of the draws that hide a position
  double position_standard_error = 0;              ///< of each of them, from their mean p: sqrt(p (1 - p) / draws)

  // Grids (height above 1). Neighbours are the up to four cells above, below, left and right.
  std::vector<Estimate> ring_probability;          ///< mean over the cells whose distance to the border is 0, 1, ...
  Summary components;                              ///< connected visible components of a draw
  Summary component_size;                          ///< cells of a visible component, over all draws
  Summary largest_component;                       ///< cells of a draw's largest visible component
  Summary equal_neighbours;                        ///< share of a draw's pairs of neighbours with the same mark

  // Sequences (height 1).
  Estimate middle_probability;                     ///< mean over the positions that are not the first or last 16
  RunStatistics masked_runs, visible_runs;
};

/// Statistics of `draws` masks of `grid.size()` tokens, one after the other (draws, height, width), not zero = hidden.
/// A sequence is a grid of height 1.
MaskStatistics mask_statistics(const std::uint8_t* masks, int draws, Grid grid);

/// The difference of two independent estimates in standard errors of that difference; 0 if they are equal, infinite
/// if they differ and have no error. Estimates agree up to 5. Where a fixture states no standard error, both sides
/// have the one found here, given the same number of draws. Rows that were made equal within a call are not
/// independent: take one row of each call, as the errors assume.
double deviation(Estimate a, Estimate b);

inline Estimate estimate(const Summary& s) { return {s.mean, s.standard_error}; }

}  // namespace data2vec::parity
