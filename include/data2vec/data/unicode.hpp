// SPDX-License-Identifier: MIT
// Character classes of Unicode: letters, numbers, white space, the rest. The categories come from utf8proc. Part of
// data2vec::text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include <utf8proc.h>

#include <data2vec/data/utf8.hpp>

namespace data2vec::inline v0 {

/// other: none of the three, and bytes that are not UTF-8. letter: category L (\p{L}). number: category N (\p{N}).
/// space: property White_Space (\s of Unicode-aware regular expressions).
enum class CharClass : std::uint8_t { other, letter, number, space };

/// The classes of all code points as a table in two stages: a lookup is two loads.
class CharClasses {
 public:
  CharClasses() {
    constexpr std::size_t blocks = 0x110000 >> 8;
    std::map<std::array<CharClass, 256>, std::uint16_t> known;
    block_of_.reserve(blocks);
    for (std::size_t block = 0; block < blocks; ++block) {
      std::array<CharClass, 256> classes;
      for (std::size_t i = 0; i < 256; ++i) classes[i] = category_class(static_cast<char32_t>(block << 8 | i));
      const auto [place, is_new] = known.emplace(classes, static_cast<std::uint16_t>(known.size()));
      if (is_new) classes_.insert(classes_.end(), classes.begin(), classes.end());
      block_of_.push_back(place->second);
    }
    for (std::size_t i = 0; i < 128; ++i) ascii_[i] = classes_[i];
    for (std::size_t i = 128; i < 256; ++i) ascii_[i] = not_ascii;
  }

  /// The class of a code point below U+110000.
  CharClass of(char32_t c) const { return classes_[(std::size_t{block_of_[c >> 8]} << 8) | (c & 0xFF)]; }

  /// What starts at the front of `text` (not empty): its class, and its size in bytes. A byte that is not part of
  /// well-formed UTF-8 is an `other` of one byte.
  struct Char {
    CharClass kind;
    unsigned size;
  };
  Char front(std::string_view text) const {
    const CharClass kind = byte(text.front());
    if (kind != not_ascii) return {kind, 1};
    const CodePoint c = decode_utf8(text);
    return c.valid ? Char{of(c.value), c.size} : Char{CharClass::other, 1};
  }

  /// The class of an ASCII character, or not_ascii.
  CharClass byte(char c) const { return ascii_[static_cast<unsigned char>(c)]; }
  static constexpr auto not_ascii = static_cast<CharClass>(4);

 private:
  /// White_Space is the separators and six controls (Unicode Character Database, PropList.txt).
  static CharClass category_class(char32_t c) {
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return CharClass::letter;
    if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return CharClass::number;
    if (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP) return CharClass::space;
    return (c >= 0x09 && c <= 0x0D) || c == 0x85 ? CharClass::space : CharClass::other;
  }

  std::array<CharClass, 256> ascii_{};
  std::vector<std::uint16_t> block_of_;
  std::vector<CharClass> classes_;
};

}  // namespace data2vec::inline v0
