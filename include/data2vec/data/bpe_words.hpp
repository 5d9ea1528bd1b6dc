// SPDX-License-Identifier: MIT
// How GPT-2 cuts text into words before byte pairs are merged (Radford et al., "Language models are unsupervised
// multitask learners", 2019; encoder.py of its release). Part of data2vec::text.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include <data2vec/data/unicode.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// Bytes of 's 't 're 've 'm 'll 'd at the front of a text that starts with an apostrophe; 0: none of them.
constexpr std::size_t contraction(std::string_view text) {
  const char a = text.size() > 1 ? text[1] : '\0', b = text.size() > 2 ? text[2] : '\0';
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/// The first character from `p` on that is not of `kind`.
inline const char* end_of_run(const CharClasses& classes, const char* p, const char* end, CharClass kind) {
  for (;;) {
    while (p != end && classes.byte(*p) == kind) ++p;
    if (p == end || classes.byte(*p) != CharClasses::not_ascii) return p;
    const auto c = classes.front({p, static_cast<std::size_t>(end - p)});
    if (c.kind != kind) return p;
    p += c.size;
  }
}

/// The end of the white space that is a word of its own: all of it at the end of the text, else all but its last
/// character, which belongs to what follows or, if there is only this one, stands alone.
inline const char* end_of_space(const CharClasses& classes, const char* p, const char* end) {
  const char *const begin = p, *last = p;
  while (p != end) {
    const auto c = classes.front({p, static_cast<std::size_t>(end - p)});
    if (c.kind != CharClass::space) break;
    last = p;
    p += c.size;
  }
  return p != end && last != begin ? last : p;
}

}  // namespace detail

/// Calls `word(std::string_view)` for each match, in order, of
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. The words joined are the text,
/// whatever its bytes; one that is not UTF-8 counts as neither letter, number nor space.
template <class F>
void for_each_word(const CharClasses& classes, std::string_view text, F&& word) {
  const char *p = text.data(), *const end = p + text.size();
  while (p != end) {
    const char* const begin = p;
    const auto rest = [&](const char* from) { return std::string_view(from, static_cast<std::size_t>(end - from)); };
    if (*p == ' ' && end - p > 1) {
      const CharClass next = classes.front(rest(p + 1)).kind;
      p = next == CharClass::space ? detail::end_of_space(classes, p, end)
                                   : detail::end_of_run(classes, p + 1, end, next);
    } else if (const std::size_t size = *p == '\'' ? detail::contraction(rest(p)) : 0) {
      p += size;
    } else {
      const CharClass kind = classes.front(rest(p)).kind;
      p = kind == CharClass::space ? detail::end_of_space(classes, p, end) : detail::end_of_run(classes, p, end, kind);
    }
    word(std::string_view(begin, static_cast<std::size_t>(p - begin)));
  }
}

}  // namespace data2vec::inline v0
