// SPDX-License-Identifier: MIT
// Samples of one or two sentences as a model sees them in fine-tuning, laid out as RoBERTa's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/tokenizer.hpp>

namespace data2vec::inline v0 {

/// Encodes samples of at most T tokens: `<s> A </s>` or `<s> A </s> </s> B </s>`, then padding. Holds scratch memory:
/// one for each thread.
template <Tokenizer K>
class SentenceEncoder {
 public:
  /// Throws OptionError unless T >= 4 and the tokenizer has `<s>`, `<pad>` and `</s>`.
  SentenceEncoder(const K& tokenizer, int T)
      : encoder_(tokenizer.encoder()), special_(tokenizer.special()), T_(static_cast<std::size_t>(T)) {
    if (T < 4) throw OptionError("SentenceEncoder: expected at least 4 tokens, found " + std::to_string(T));
    if (special_.bos < 0 || special_.pad < 0 || special_.eos < 0)
      throw OptionError("SentenceEncoder: expected a tokenizer with <s>, <pad> and </s>, found none");
  }

  /// Writes a sentence to (T) and returns how many tokens are no padding; where it is too long, its end is cut off.
  int operator()(std::string_view sentence, std::span<std::int32_t> to) {
    encode(sentence, first_);
    first_.resize(std::min(first_.size(), T_ - 2));
    second_.clear();
    return write(to, false);
  }

  /// The same of a pair; where both are too long together, the longer one loses its end first.
  int operator()(std::string_view a, std::string_view b, std::span<std::int32_t> to) {
    encode(a, first_);
    encode(b, second_);
    const std::size_t room = T_ - 4, half = room / 2;
    if (first_.size() + second_.size() > room) {
      const std::size_t left = first_.size(), right = second_.size();
      first_.resize(right < half ? room - right : std::min(left, room - half));
      second_.resize(room - first_.size());
    }
    return write(to, true);
  }

 private:
  void encode(std::string_view text, std::vector<std::int32_t>& ids) {
    ids.clear();
    encoder_.encode(text, ids);
  }

  int write(std::span<std::int32_t> to, bool pair) {
    if (to.size() != T_)
      throw OptionError("SentenceEncoder: expected room for " + std::to_string(T_) + " tokens, found " +
                        std::to_string(to.size()));
    std::size_t n = 0;
    to[n++] = special_.bos;
    for (const std::int32_t id : first_) to[n++] = id;
    to[n++] = special_.eos;
    if (pair) {
      to[n++] = special_.eos;
      for (const std::int32_t id : second_) to[n++] = id;
      to[n++] = special_.eos;
    }
    std::fill(to.begin() + static_cast<std::ptrdiff_t>(n), to.end(), special_.pad);
    return static_cast<int>(n);
  }

  decltype(std::declval<const K&>().encoder()) encoder_;
  SpecialIds special_;
  std::size_t T_;
  std::vector<std::int32_t> first_, second_;
};

}  // namespace data2vec::inline v0
