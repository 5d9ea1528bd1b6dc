// SPDX-License-Identifier: MIT
// A strict little reader of markup for the tests of evaluation/: tags must balance, attributes be quoted and unique,
// and every & begin one of the five entities that html_escape writes.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace markup {

struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;  ///< its own, with entities as they are written
};

struct Document {
  std::vector<Element> elements;  ///< in the order of their opening tags
  std::string error;              ///< empty: well-formed

  std::vector<Element> all(std::string_view name) const {
    std::vector<Element> found;
    for (const Element& e : elements)
      if (e.name == name) found.push_back(e);
    return found;
  }
};

inline bool entities_are_known(std::string_view text) {
  for (std::size_t at = text.find('&'); at != std::string_view::npos; at = text.find('&', at + 1)) {
    bool known = false;
    for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
      known = known || text.substr(at, std::string_view(entity).size()) == entity;
    if (!known) return false;
  }
  return true;
}

inline Document parse(const std::string& source) {
  Document out;
  std::vector<std::size_t> open;
  const auto fail = [&](const std::string& what, std::size_t at) {
    out.error = what + " at: " + source.substr(at, 60);
    return out;
  };
  for (std::size_t i = 0; i < source.size();) {
    if (source[i] != '<') {
      const std::size_t end = std::min(source.find('<', i), source.size());
      const std::string text = source.substr(i, end - i);
      if (!entities_are_known(text) || text.find('>') != std::string::npos) return fail("text not escaped", i);
      if (!open.empty()) out.elements[open.back()].text += text;
      i = end;
    } else if (source.compare(i, 15, "<!DOCTYPE html>") == 0) {
      i += 15;
    } else if (source[i + 1] == '/') {
      const std::size_t end = source.find('>', i);
      if (end == std::string::npos || open.empty() ||
          out.elements[open.back()].name != source.substr(i + 2, end - i - 2))
        return fail("closing tag of nothing open", i);
      open.pop_back();
      i = end + 1;
    } else {
      const std::size_t start = i++;
      Element element;
      while (i < source.size() && std::isalnum(static_cast<unsigned char>(source[i]))) element.name += source[i++];
      if (element.name.empty()) return fail("tag without name", start);
      while (i < source.size() && source[i] == ' ') {
        std::string name;
        for (++i; i < source.size() && (std::isalnum(static_cast<unsigned char>(source[i])) || source[i] == '-'); ++i)
          name += source[i];
        if (name.empty() || source.compare(i, 2, "=\"") != 0) return fail("attribute not quoted", start);
        const std::size_t end = source.find('"', i + 2);
        if (end == std::string::npos) return fail("attribute not closed", start);
        const std::string value = source.substr(i + 2, end - i - 2);
        if (!entities_are_known(value) || value.find_first_of("<>") != std::string::npos)
          return fail("attribute not escaped", start);
        if (!element.attributes.emplace(name, value).second) return fail("attribute twice", start);
        i = end + 1;
      }
      const bool closed = source.compare(i, 2, "/>") == 0;
      if (!closed && source.compare(i, 1, ">") != 0) return fail("tag not closed", start);
      i += closed ? 2 : 1;
      out.elements.push_back(element);
      if (closed) continue;
      open.push_back(out.elements.size() - 1);
      if (element.name == "style") {  // raw text
        const std::size_t end = source.find("</style>", i);
        if (end == std::string::npos) return fail("style not closed", start);
        i = end;
      }
    }
  }
  if (!open.empty()) out.error = "never closed: " + out.elements[open.back()].name;
  return out;
}

}  // namespace markup
