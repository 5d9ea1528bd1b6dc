// SPDX-License-Identifier: MIT
// What every chart needs: numbers as a person writes them, the same in all locales; ticks at round values; an axis.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// With a comma between thousands.
inline std::string grouped_number(std::int64_t x) {
  std::string text = std::to_string(x);
  for (std::size_t at = text.size(), first = x < 0 ? 1 : 0; at > first + 3;) text.insert(at -= 3, 1, ',');
  return text;
}

/// With so many decimals; "n/a" for what is not finite.
inline std::string fixed_number(double x, int decimals) {
  if (!std::isfinite(x)) return "n/a";
  std::array<char, 400> text{};  // the greatest double has 309 digits before the point
  const auto end = std::to_chars(text.data(), text.data() + text.size(), x, std::chars_format::fixed,
                                 std::clamp(decimals, 0, 60)).ptr;
  std::string out(text.data(), end);
  if (out.find_first_not_of("-0.") == std::string::npos && out[0] == '-') out.erase(0, 1);  // no minus zero
  const std::size_t first = out[0] == '-' ? 1 : 0;
  for (std::size_t at = std::min(out.find('.'), out.size()); at > first + 3;) out.insert(at -= 3, 1, ',');
  return out;
}

/// With so many significant digits, without trailing zeros; with an exponent below 1e-4 and from 1e7 on; "n/a" for what
/// is not finite.
inline std::string short_number(double x, int digits = 4) {
  if (!std::isfinite(x)) return "n/a";
  if (x == 0) return "0";
  const auto trimmed = [](std::string text) {
    if (text.find('.') == std::string::npos) return text;
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text;
  };
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), x, std::chars_format::scientific,
                                 std::clamp(digits, 1, 17) - 1).ptr;
  const std::string_view all(text.data(), static_cast<std::size_t>(end - text.data()));
  const std::size_t e = all.find('e');
  int exponent = 0;  // after rounding
  std::from_chars(all.data() + e + (all[e + 1] == '+' ? 2 : 1), end, exponent);
  if (exponent >= -4 && exponent < 7) return trimmed(fixed_number(x, std::max(0, digits - 1 - exponent)));
  return trimmed(std::string(all.substr(0, e))) + "e" + std::to_string(exponent);
}

/// A place on an axis that has a label.
struct Tick {
  double value;
  std::string label;
};

/// What charts can show: finite, and far from where products overflow; above 0 where `log`.
inline bool can_plot(double x, bool log) {
  return std::isfinite(x) && std::abs(x) <= 1e100 && (!log || x >= 1e-100);
}

/// Multiples of 1, 2 or 5 times a power of ten in [low, high], `about` so many, rising, with labels that differ. One
/// tick where the interval is empty or narrower than 1e-9 of its values.
inline std::vector<Tick> linear_ticks(double low, double high, int about = 5) {
  const double span = high - low, most = std::max(std::abs(low), std::abs(high));
  if (!(span > 0) || !(span > 1e-9 * most) || !std::isfinite(span)) return {{low, short_number(low)}};
  const double raw = span / std::max(about, 1);
  int power = static_cast<int>(std::floor(std::log10(raw)));
  const double mantissa = raw / std::pow(10.0, power);
  int unit = mantissa < 1.5 ? 1 : mantissa < 3.5 ? 2 : mantissa < 7.5 ? 5 : 10;
  if (unit == 10) unit = 1, ++power;
  // Of a negative power of ten the inverse is exact: i / 10 is the double nearest to i tenths, i * 0.1 is not.
  const double scale = std::pow(10.0, std::abs(power));
  const auto at = [&](double i) { return power < 0 ? i * unit / scale : i * unit * scale; };
  const double step = at(1), slack = 1e-9 * span;
  std::vector<Tick> ticks;
  for (double i = std::ceil((low - slack) / step); at(i) <= high + slack; ++i) {
    const double value = at(i) + 0.0;  // + 0.0: no minus zero
    const bool plain = most < 1e7 && power >= -5;
    const int digits = value == 0 ? 1 : static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9)) - power + 1;
    ticks.push_back({value, plain ? fixed_number(value, std::max(0, -power)) : short_number(value, digits)});
  }
  return ticks;
}

/// Ticks of a logarithmic axis, 0 < low <= high: powers of ten, with 2 and 5 times them or 3 times them where few of
/// them fit, or linear ticks within one decade.
inline std::vector<Tick> log_ticks(double low, double high, int about = 5) {
  const double decades = std::log10(high / low);
  if (!(decades > 1.2)) return linear_ticks(low, high, about);
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / std::max(about, 1))));
  const int first = static_cast<int>(std::floor(std::log10(low))), last = static_cast<int>(std::ceil(std::log10(high)));
  std::vector<Tick> ticks;
  for (int power = first; power <= last; ++power) {
    if (decades > 4 && power % stride != 0) continue;
    for (const int unit : {1, 2, 3, 5}) {
      if (unit != 1 && (decades > 4 || (unit == 3) != (decades > 2.2))) continue;
      const double value = power < 0 ? unit / std::pow(10.0, -power) : unit * std::pow(10.0, power);
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9))
        ticks.push_back({value, short_number(value)});
    }
  }
  return ticks;
}

/// Values to places: `low` is at pixel `from`, `high` at pixel `to`.
struct Axis {
  double low = 0, high = 1, from = 0, to = 1;
  bool log = false;

  double operator()(double x) const {
    const double part = log ? std::log(x / low) / std::log(high / low) : (x - low) / (high - low);
    return from + part * (to - from);
  }
  /// `about` so many; on a logarithmic axis without those that would stand within a line of text of the one before.
  std::vector<Tick> ticks(int about) const {
    if (!log) return linear_ticks(low, high, about);
    constexpr double line_height = 14;
    std::vector<Tick> kept;
    for (Tick& tick : log_ticks(low, high, about))
      if (kept.empty() || std::abs((*this)(tick.value) - (*this)(kept.back().value)) >= line_height)
        kept.push_back(std::move(tick));
    return kept;
  }
};

/// An axis over values from `low` to `high`; never empty: a single value gets room around it. `zero`: it begins at 0.
inline Axis axis_over(double low, double high, bool log, bool zero, double from, double to) {
  if (zero && !log) low = std::min(low, 0.0), high = std::max(high, 0.0);
  if (log) {
    if (!(high > low * (1 + 1e-9))) low /= 2, high *= 2;
  } else if (!(high - low > 1e-9 * std::max(std::abs(low), std::abs(high)))) {
    const double room = low == 0 ? 1 : std::abs(low) / 2;
    low -= low == 0 ? 0 : room, high += room;
  }
  return {low, high, from, to, log};
}

}  // namespace data2vec::inline v0
