// SPDX-License-Identifier: MIT
// HTML pages that are one file: no scripts, no network, light or dark by the reader's setting, light on paper. Text
// is escaped; the result is well-formed XML too.
#pragma once

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// Text for element content and quoted attributes. Control characters, which no page may contain, become U+FFFD.
inline std::string html_escape(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      case '\t': case '\n': out += c; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) out += "\xEF\xBF\xBD";
        else out += c;
    }
  return out;
}

/// RFC 4648, section 4: with padding, without line breaks.
inline std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i + j]) : 0);
    for (std::size_t j = 0; j < 4; ++j) out += i + j <= bytes.size() ? digits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

/// An `<img>` whose file is inside the page. `type` is its media type ("image/png"); `height` and `width` are those on
/// the page, in CSS pixels. Enlarged pixels stay squares.
inline std::string html_image(std::span<const std::byte> file, std::string_view type, int height, int width,
                              std::string_view alt) {
  return "<img src=\"data:" + html_escape(type) + ";base64," + base64(file) + "\" width=\"" + std::to_string(width) +
         "\" height=\"" + std::to_string(height) + "\" alt=\"" + html_escape(alt) + "\"/>";
}

namespace detail {

/// Hues of the series keep apart in the common kinds of colour blindness (after Okabe and Ito); no meaning is in a
/// hue alone. c0 .. c5: series; heat: full cells of a heat map, on which `on-heat` is read.
inline constexpr std::string_view light_style = R"css(
:root { color-scheme: light; --page: #ffffff; --box: #f5f6f8; --ink: #1b1f24; --soft: #59636e; --rule: #d5d9de;
  --c0: #1768ac; --c1: #c2500a; --c2: #0b7d68; --c3: #8b3fa8; --c4: #8a6a00; --c5: #5b6570;
  --heat: #0b3d75; --on-heat: #ffffff; --good: #0b6b3a; --bad: #b3261e; })css";
inline constexpr std::string_view page_style = R"css(
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; --page: #14171b; --box: #1e2329;
  --ink: #e8eaed; --soft: #a4adb8; --rule: #39414a; --c0: #6db3f2; --c1: #ff9d66; --c2: #45cbb0; --c3: #d09bf0;
  --c4: #dcb94a; --c5: #b0b8c1; --heat: #8cc4ff; --on-heat: #101418; --good: #63d297; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.02rem; margin: 1.5rem 0 .3rem; }
p { margin: .4rem 0 .8rem; max-width: 44rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .88rem; }
nav { margin: 1rem 0; font-size: .92rem; } nav a { margin-right: 1rem; white-space: nowrap; }
a { color: var(--c0); }
code { font: .88em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { background: var(--box); padding: .6rem .8rem; margin: .5rem 0; border-radius: 4px; white-space: pre-wrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-variant-numeric: tabular-nums; font-size: .94rem; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .28rem 1.3rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; }
th { font-weight: 600; } tbody th { font-weight: 400; }
th.n, td.n { text-align: right; white-space: nowrap; }
figure { margin: .8rem 0 1.2rem; } figcaption { margin-top: .25rem; max-width: 44rem; }
.box { border: 1px solid var(--rule); border-left: 6px solid var(--soft); background: var(--box); border-radius: 4px;
  padding: .5rem .9rem; margin: .8rem 0; } .box ul { margin: .2rem 0; padding-left: 1.2rem; }
.alarm { border: 2px solid var(--bad); border-left-width: 8px; }
.row { display: flex; flex-wrap: wrap; gap: .35rem; align-items: flex-start; margin: .5rem 0 1.1rem; }
.row .tile { width: 4.5rem; overflow-wrap: anywhere; }
.row figure { margin: 0; padding: 3px; border: 2px solid transparent; }
.row figcaption { font-size: .78rem; line-height: 1.25; text-align: center; margin-top: .15rem; }
.row .query { border-color: var(--ink); margin-right: .6rem; }
.row .right { border-color: var(--good); } .row .wrong { border: 2px dashed var(--bad); }
.right b { color: var(--good); } .wrong b { color: var(--bad); }
img { display: block; image-rendering: pixelated; margin: 0 auto; background: var(--box); }
svg { display: block; width: 100%; min-width: 30rem; height: auto; })css";
inline constexpr std::string_view drawing_style = R"css(
svg text { font: 12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif;
  fill: var(--ink); font-variant-numeric: tabular-nums; }
svg .title { font-weight: 600; font-size: 13px; } svg .dim { fill: var(--soft); } svg .end { text-anchor: end; }
svg .mid { text-anchor: middle; }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--soft); stroke-width: 1; fill: none; }
.error { stroke: var(--ink); stroke-width: 1.4; fill: none; }
.halo { stroke: var(--page); stroke-width: 4; stroke-linecap: square; fill: none; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .faint { stroke-width: 1; opacity: .45; }
.mark { stroke-width: 1.2; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); }
.s4 { stroke: var(--c4); } .s5 { stroke: var(--c5); }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); } .f3 { fill: var(--c3); }
.f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
.d1 { stroke-dasharray: 7 3; } .d2 { stroke-dasharray: 2 3; } .d3 { stroke-dasharray: 9 3 2 3; }
.d4 { stroke-dasharray: 14 4; } .d5 { stroke-dasharray: 4 4; }
.bar { stroke-width: 1.5; } .p1 { fill-opacity: 0; } .p2 { fill-opacity: .45; } .p3 { fill-opacity: 0; }
.p3 { stroke-dasharray: 3 2; } .p4 { fill-opacity: .7; } .p5 { fill-opacity: .2; }
.cell { fill: var(--heat); } .frame { fill: none; stroke: var(--rule); } .diagonal { fill: none; stroke: var(--ink); }
svg .t1 { fill: #0d1116; } svg .t2 { fill: var(--on-heat); })css";
inline constexpr std::string_view print_style = R"css(
@media print { body { max-width: none; padding: 0; font-size: 11pt; } nav { display: none; }
  h1, h2, h3 { break-after: avoid; } figure, tr, .box, .row { break-inside: avoid; } .scroll { overflow: visible; }
  svg { min-width: 0; max-width: 17cm; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)css";

}  // namespace detail

/// A page that is written from top to bottom. Names, texts and cells are escaped; what is called `markup` is not.
class HtmlPage {
 public:
  explicit HtmlPage(std::string_view title) : title_(html_escape(title)) {}

  /// Level 2 and 3; those of level 2 are also listed below the title.
  void heading(int level, std::string_view text) {
    const std::string tag = level <= 2 ? "h2" : "h3", escaped = html_escape(text);
    if (level <= 2) {
      const std::string id = "s" + std::to_string(++sections_);
      contents_ += "<a href=\"#" + id + "\">" + escaped + "</a> ";
      body_ += "<h2 id=\"" + id + "\">" + escaped + "</h2>\n";
    } else {
      body_ += "<h3>" + escaped + "</h3>\n";
    }
  }
  void paragraph(std::string_view text) { body_ += "<p>" + html_escape(text) + "</p>\n"; }
  /// Text as it was typed: a command, a log.
  void preformatted(std::string_view text) { body_ += "<pre><code>" + html_escape(text) + "</code></pre>\n"; }

  /// Points that a reader must not miss; alarms more than notes. The word says so, not only the colour.
  void box(std::string_view word, const std::vector<std::string>& points, bool alarm) {
    body_ += alarm ? "<div class=\"box alarm\" role=\"alert\">" : "<div class=\"box\">";
    body_ += "<b>" + std::string(alarm ? "\xE2\x9A\xA0 " : "") + html_escape(word) + "</b><ul>";
    for (const std::string& point : points) body_ += "<li>" + html_escape(point) + "</li>";
    body_ += "</ul></div>\n";
  }

  /// A table; an empty `header` means none. The first cell of a row is its name; a column of numbers is set to the
  /// right. Throws MismatchError for a row of another length than the header's or the first row's.
  void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
             std::string_view caption = {}) {
    const std::size_t columns = !header.empty() ? header.size() : rows.empty() ? 0 : rows[0].size();
    std::vector<bool> numbers(columns, !rows.empty());
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (rows[r].size() != columns)
        throw MismatchError("table \"" + std::string(caption) + "\", row " + std::to_string(r) + ": expected " +
                            std::to_string(columns) + " cells, found " + std::to_string(rows[r].size()));
      for (std::size_t c = 0; c < columns; ++c) numbers[c] = numbers[c] && is_number(rows[r][c]);
    }
    const auto cell = [&](std::string_view tag, std::string_view scope, std::size_t c, const std::string& text) {
      body_ += "<" + std::string(tag) + std::string(scope) + (numbers[c] && !header.empty() ? " class=\"n\">" : ">") +
               html_escape(text) + "</" + std::string(tag) + ">";
    };
    body_ += "<div class=\"scroll\"><table>";
    if (!caption.empty()) body_ += "<caption>" + html_escape(caption) + "</caption>";
    if (!header.empty()) {
      body_ += "<thead><tr>";
      for (std::size_t c = 0; c < columns; ++c) cell("th", " scope=\"col\"", c, header[c]);
      body_ += "</tr></thead>";
    }
    body_ += "<tbody>";
    for (const auto& row : rows) {
      body_ += "<tr>";
      for (std::size_t c = 0; c < columns; ++c) cell(c == 0 ? "th" : "td", c == 0 ? " scope=\"row\"" : "", c, row[c]);
      body_ += "</tr>\n";
    }
    body_ += "</tbody></table></div>\n";
  }

  /// A chart or picture with what it shows below it.
  void figure(std::string_view markup, std::string_view caption) {
    body_ += "<figure><div class=\"scroll\">" + std::string(markup) + "</div>";
    if (!caption.empty()) body_ += "<figcaption>" + html_escape(caption) + "</figcaption>";
    body_ += "</figure>\n";
  }
  /// Pictures side by side, as many a line as fit.
  void row(std::string_view markup) { body_ += "<div class=\"row\">" + std::string(markup) + "</div>\n"; }

  /// The whole page. The policy in its head lets a browser load nothing, whatever the body holds.
  std::string str() const {
    std::string style;
    for (std::string_view part : {detail::light_style, detail::page_style, detail::drawing_style, detail::print_style})
      style += part;
    return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n<meta http-equiv=\""
           "Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"/>\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>" + title_ +
           "</title>\n<style>" + style + "</style></head>\n<body>\n<h1>" + title_ +
           "</h1>\n" + (sections_ > 2 ? "<nav>" + contents_ + "</nav>\n" : "") + body_ + "</body></html>\n";
  }

 private:
  /// Begins like a number and is not a date or a word: "87.3 % ± 0.2", "-", "n/a".
  static bool is_number(const std::string& text) {
    if (text.empty() || text == "-" || text == "n/a") return true;
    const std::size_t at = text[0] == '-' ? 1 : 0;
    return at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) && text.size() < 24;
  }

  std::string title_, contents_, body_;
  int sections_ = 0;
};

}  // namespace data2vec::inline v0
