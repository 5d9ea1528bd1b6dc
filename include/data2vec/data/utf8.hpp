// SPDX-License-Identifier: MIT
// UTF-8 (RFC 3629; well-formed sequences: The Unicode Standard, table 3-7): reading code points, finding the first bad
// byte, replacing what is not UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// A code point and the bytes that it takes. `size` is that of the ill-formed piece where `valid` is false: the longest
/// start of a well-formed sequence, at least one byte ("maximal subpart", The Unicode Standard, section 3.9).
struct CodePoint {
  char32_t value = 0;
  unsigned size = 0;
  bool valid = false;
};

/// The code point at the start of `text`, which must not be empty.
constexpr CodePoint decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(0);
  if (first < 0x80) return {first, 1, true};
  if (first < 0xC2 || first > 0xF4) return {first, 1, false};
  const unsigned size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  // The second byte excludes overlong forms, surrogates and what lies above U+10FFFF.
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return {first, 1, false};
  char32_t value = ((first & (0xFFu >> (size + 1))) << 6) | (byte(1) & 0x3F);
  for (unsigned i = 2; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {first, i, false};
    value = (value << 6) | (byte(i) & 0x3F);
  }
  return {value, size, true};
}

/// Appends a code point below U+110000 that is not a surrogate.
inline void append_utf8(std::string& text, char32_t c) {
  const auto put = [&](char32_t byte) { text += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | (c >> 6));
  } else {
    if (c < 0x10000)
      put(0xE0 | (c >> 12));
    else
      put(0xF0 | (c >> 18)), put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

/// The offset of the first byte that does not belong to well-formed UTF-8, or std::string_view::npos.
constexpr std::size_t find_bad_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const CodePoint c = decode_utf8(text.substr(at));
    if (!c.valid) return at;
    at += c.size;
  }
  return std::string_view::npos;
}

/// The text with U+FFFD in place of every ill-formed piece, as Python's errors="replace".
inline std::string replace_bad_utf8(std::string_view text) {
  std::string good;
  good.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (c.valid)
      good += text.substr(0, c.size);
    else
      good += "\xEF\xBF\xBD";
    text.remove_prefix(c.size);
  }
  return good;
}

/// What is done with text that is not UTF-8. refuse: FileError with the file and the offset of the first bad byte.
/// replace: U+FFFD stands in for each ill-formed piece.
enum class BadUtf8 { refuse, replace };

/// Checks `text`, the content of `file`. True if it must be replaced (and may be); throws FileError if it is refused.
inline bool check_utf8(const std::string& file, std::string_view text, BadUtf8 choice) {
  const std::size_t bad = find_bad_utf8(text);
  if (bad == std::string_view::npos) return false;
  if (choice == BadUtf8::replace) return true;
  constexpr char digits[] = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(text[bad]);
  throw FileError(file, "UTF-8: expected text, found byte 0x" + std::string{digits[byte >> 4], digits[byte & 15]} +
                            " at offset " + std::to_string(bad) + ", which starts no character");
}

}  // namespace data2vec::inline v0
