// SPDX-License-Identifier: MIT
// Characters of UTF-8 text and words between blanks: all that transcripts need, without tables.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/data/utf8.hpp>

namespace data2vec::inline v0 {

/// The characters (code points) of UTF-8 text, each as its bytes. What is no UTF-8 stands for itself.
inline std::vector<std::string_view> split_characters(std::string_view text) {
  std::vector<std::string_view> list;
  for (; !text.empty(); text.remove_prefix(list.back().size())) list.push_back(text.substr(0, decode_utf8(text).size));
  return list;
}

/// The words of a text: what blanks, tabs and line ends separate.
inline std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> list;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \t\r\n"), text.size());
    if (end > 0) list.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return list;
}

/// The words of a text with single blanks between them.
inline std::string single_blanks(std::string_view text) {
  std::string joined;
  for (const std::string_view word : split_words(text)) joined.append(joined.empty() ? "" : " ").append(word);
  return joined;
}

}  // namespace data2vec::inline v0
