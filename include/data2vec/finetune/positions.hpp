// SPDX-License-Identifier: MIT
// A table of positions of one grid for another: an encoder of small images is fine-tuned on larger ones.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <data2vec/core/view.hpp>

namespace data2vec::inline v0 {

/// Whether a parameter is a table of positions, (1, E + height x width, D).
constexpr bool is_position_table(std::string_view name) {
  return name == "pos_embed" || name.ends_with("fixed_positional_encoder.positions");
}

/// The square grid of `tokens`, if they make one.
inline std::optional<Grid> square_grid(std::int64_t tokens) {
  if (tokens < 1 || tokens > 1'000'000) return std::nullopt;
  const auto side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(tokens))));
  return side * side == tokens ? std::optional<Grid>(side) : std::nullopt;
}

namespace detail {

/// For each of `to` places the four of `from` that it is made of, and their weights; beyond an edge the edge counts.
struct CubicTap {
  std::array<int, 4> from;
  std::array<float, 4> weight;
};
inline std::vector<CubicTap> cubic_taps(int from, int to) {
  constexpr float a = -0.75f;
  const auto near = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };       // 0 <= x <= 1
  const auto far = [](float x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };  // 1 <= x <= 2
  std::vector<CubicTap> taps;
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  for (int i = 0; i < to; ++i) {
    const float place = scale * (static_cast<float>(i) + 0.5f) - 0.5f, left = std::floor(place), t = place - left;
    CubicTap tap{{}, {far(t + 1), near(t), near(1 - t), far(2 - t)}};
    for (int k = 0; k < 4; ++k)
      tap.from[static_cast<std::size_t>(k)] = std::clamp(static_cast<int>(left) + k - 1, 0, from - 1);
    taps.push_back(tap);
  }
  return taps;
}

}  // namespace detail

/// A table (extra + from.size(), D) resampled to (extra + to.size(), D): bicubic with a = -0.75, centres of patches on
/// centres, as MAE's fine-tuning does it with PyTorch's interpolate(mode="bicubic", align_corners=False). The rows of
/// `extra` tokens, in front, stay.
inline std::vector<float> resample_positions(std::span<const float> table, int extra, Grid from, Grid to) {
  const std::size_t dim = table.size() / static_cast<std::size_t>(extra + from.size());
  std::vector<float> result(static_cast<std::size_t>(extra + to.size()) * dim);
  const std::size_t first = static_cast<std::size_t>(extra) * dim;
  std::copy_n(table.begin(), first, result.begin());
  const auto rows = detail::cubic_taps(from.height, to.height), columns = detail::cubic_taps(from.width, to.width);
  float* out = result.data() + first;
  for (const auto& row : rows)
    for (const auto& column : columns)
      for (std::size_t d = 0; d < dim; ++d) {
        float sum = 0;
        for (std::size_t r = 0; r < 4; ++r) {
          float line = 0;
          for (std::size_t c = 0; c < 4; ++c)
            line += column.weight[c] *
                    table[first + static_cast<std::size_t>(row.from[r] * from.width + column.from[c]) * dim + d];
          sum += row.weight[r] * line;
        }
        *out++ = sum;
      }
  return result;
}

}  // namespace data2vec::inline v0
