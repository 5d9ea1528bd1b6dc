// SPDX-License-Identifier: MIT
// Drawings as inline SVG for an HtmlPage, whose style sheet colours them. Series differ by dashes, marks and filling,
// not by hue alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/evaluation/axis.hpp>
#include <data2vec/evaluation/html.hpp>

namespace data2vec::inline v0 {

/// Characters of UTF-8 text, and the width in pixels that they need at 12 pixels (an upper estimate of common fonts).
inline std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}
inline double text_width(std::string_view text) { return 7.1 * static_cast<double>(characters(text)); }

/// At most `most` characters; a longer text ends in an ellipsis.
inline std::string shortened(const std::string& text, std::size_t most) {
  if (characters(text) <= most) return text;
  std::size_t end = 0, count = 0;
  while (end < text.size() && count < most) count += (text[end] & 0xC0) != 0x80, ++end;
  while (end > 0 && (text[--end] & 0xC0) == 0x80) {}  // the beginning of character `most`
  return text.substr(0, end) + "\xE2\x80\xA6";
}

/// Elements of a drawing. Coordinates are CSS pixels from the top left.
class Svg {
 public:
  static std::string at(double x) {  // to a tenth
    std::string text = fixed_number(x, 1);
    text.erase(std::remove(text.begin(), text.end(), ','), text.end());
    return text.size() > 2 && text.substr(text.size() - 2) == ".0" ? text.substr(0, text.size() - 2) : text;
  }
  static std::string attribute(std::string_view name, double x) {
    return " " + std::string(name) + "=\"" + at(x) + "\"";
  }

  void path(const std::string& d, std::string_view style) {
    body_ += "<path class=\"" + std::string(style) + "\" d=\"" + d + "\"/>\n";
  }
  void line(double x1, double y1, double x2, double y2, std::string_view style) {
    path("M" + at(x1) + " " + at(y1) + "L" + at(x2) + " " + at(y2), style);
  }
  void rect(double x, double y, double width, double height, const std::string& rest, const std::string& hint = {}) {
    body_ += "<rect" + attribute("x", x) + attribute("y", y) + attribute("width", width) + attribute("height", height) +
             " " + rest + (hint.empty() ? "/>\n" : "><title>" + html_escape(hint) + "</title></rect>\n");
  }
  void text(double x, double y, std::string_view style, std::string_view content, double degrees = 0) {
    body_ += "<text" + attribute("x", x) + attribute("y", y) + " class=\"" + std::string(style) + "\"";
    if (degrees != 0) body_ += " transform=\"rotate(" + at(degrees) + " " + at(x) + " " + at(y) + ")\"";
    body_ += ">" + html_escape(content) + "</text>\n";
  }
  /// Circle, square, triangle or diamond; the fifth and sixth kind are hollow.
  void mark(double x, double y, std::size_t series) {
    static constexpr const char* shapes[] = {"m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z", "m-3 -3h6v6h-6z",
                                             "m0 -4l3.8 6.6h-7.6z", "m0 -4.4l4.4 4.4l-4.4 4.4l-4.4 -4.4z"};
    const std::string hue = std::to_string(series % 6);
    path("M" + at(x) + " " + at(y) + shapes[series % 4], "mark s" + hue + (series % 6 < 4 ? " f" + hue : " p1"));
  }

  /// `label` is what a screen reader says.
  std::string str(double width, double height, std::string_view label) const {
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + at(width) + " " + at(height) +
           "\" role=\"img\" aria-label=\"" + html_escape(label) + "\" style=\"max-width:" + at(width) + "px\">\n" +
           body_ + "</svg>\n";
  }

 private:
  std::string body_;
};

/// A drawing, as Svg::str and the charts return it, without its frame.
struct SvgBody {
  std::string elements;
  double width = 0, height = 0;
};
inline SvgBody svg_body(const std::string& drawing) {
  constexpr std::string_view box = "viewBox=\"0 0 ";
  const std::size_t size = drawing.find(box) + box.size(), begin = drawing.find('\n') + 1;
  std::size_t digits = 0;
  const double width = std::stod(drawing.substr(size), &digits);
  return {drawing.substr(begin, drawing.rfind("</svg>") - begin), width, std::stod(drawing.substr(size + digits))};
}

namespace detail {

/// A style with the light page's colours in place of their names, which few programs but browsers know.
inline std::string with_colours(std::string_view style) {
  constexpr std::string_view begin = "var(--";
  std::string result;
  for (std::size_t at; (at = style.find(begin)) != style.npos; style.remove_prefix(style.find(')') + 1)) {
    result += style.substr(0, at);
    style.remove_prefix(at);
    const std::string name = "--" + std::string(style.substr(begin.size(), style.find(')') - begin.size())) + ": ";
    const std::size_t value = light_style.find(name) + name.size();
    result += light_style.substr(value, light_style.find(';', value) - value);
  }
  return result += style;
}

}  // namespace detail

/// Elements of a drawing as a file of its own, with a margin, on the light page of an HtmlPage; for browsers and
/// converters alike. `label` is what a screen reader says.
inline std::string svg_file(double width, double height, std::string_view label, const std::string& elements) {
  constexpr double margin = 10;
  const std::string w = Svg::at(width + 2 * margin), h = Svg::at(height + 2 * margin), origin = Svg::at(-margin);
  const std::string size = " width=\"" + w + "\" height=\"" + h + "\"";
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"" + origin + " " + origin + " " + w + " " + h + "\"" +
         size + " role=\"img\" aria-label=\"" + html_escape(label) + "\">\n<style>" +
         detail::with_colours(detail::drawing_style) + "\n</style>\n<rect x=\"" + origin + "\" y=\"" + origin + "\"" +
         size + detail::with_colours(" style=\"fill:var(--page)\"/>\n") + elements + "</svg>\n";
}

/// Draws the names of series in rows from `y` on, each behind what `sample(x, y, series)` draws in 34 pixels; returns
/// where the rows end.
template <class Sample>
double draw_legend(Svg& svg, const std::vector<std::string>& names, double left, double right, double y,
                   Sample sample) {
  double x = left;
  bool any = false;
  for (std::size_t s = 0; s < names.size(); ++s) {
    if (names[s].empty()) continue;
    const double width = 40 + text_width(names[s]) + 16;
    if (any && x + width > right) x = left, y += 18;
    sample(x, y, s);
    svg.text(x + 40, y + 4, "", names[s]);
    x += width, any = true;
  }
  return any ? y + 18 : y;
}

}  // namespace data2vec::inline v0
