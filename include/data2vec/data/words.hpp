// SPDX-License-Identifier: MIT
// Which tokens begin a word: what masks of whole words need to know (TrainerOptions::begins_word).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <data2vec/data/tokenizer.hpp>

namespace data2vec::inline v0 {

/// Whether each id of a vocabulary begins a word, 1 or 0: special ids do, and tokens whose text begins with a space, as
/// those of byte-level BPE (fairseq's `get_whole_word_mask`).
template <Tokenizer T>
std::vector<std::uint8_t> begins_word(const T& tokenizer) {
  std::vector<std::uint8_t> begins(static_cast<std::size_t>(tokenizer.vocab_size()));
  for (std::size_t id = 0; id < begins.size(); ++id) {
    const auto token = static_cast<std::int32_t>(id);
    const std::string text = tokenizer.decode(std::span(&token, 1));
    begins[id] = text.empty() || text.front() == ' ';
  }
  return begins;
}

}  // namespace data2vec::inline v0
