// SPDX-License-Identifier: MIT
// Learns a byte-level BPE from text: the most frequent pair of adjacent symbols becomes a piece, again and again
// (Sennrich et al., 2016, algorithm 1, on GPT-2's words and bytes). Part of data2vec::text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/bpe_files.hpp>
#include <data2vec/data/bpe_words.hpp>

namespace data2vec::inline v0 {

/// How many merges are learnt.
struct BpeLearnOptions {
  int vocab_size = 8192;        ///< of the model, with `<s>` `<pad>` `</s>` `<unk>` and `<mask>`; at least 262
  std::uint64_t min_count = 2;  ///< a pair that occurs less often is not merged
};

/// Counts words, then learns merges. The result depends on how often each word was added and on nothing else: of
/// equally frequent pairs, the one with the lower left symbol goes first, then the one with the lower right symbol.
class BpeLearner {
 public:
  /// Counts the words of a text. Words do not cross from one text to the next.
  void add(std::string_view text) {
    for_each_word(classes_, text, [&](std::string_view word) {
      key_ = word;
      ++counts_[key_];
    });
  }

  std::size_t distinct_words() const { return counts_.size(); }

  /// The model of the text so far: 256 bytes, the merges, `<|endoftext|>` (as GPT-2's), a dictionary by falling count.
  /// Where the text gives too few merges, made-up words fill the dictionary up: the vocabulary has the size asked for.
  /// Throws OptionError for a size below 262, or without text.
  BpeModel learn(const BpeLearnOptions& options) const;

 private:
  CharClasses classes_;
  std::unordered_map<std::string, std::uint64_t> counts_;
  std::string key_;
};

namespace detail {

/// Words as symbols, and where each pair occurs.
class PairCounts {
 public:
  struct Word {
    std::vector<std::uint32_t> symbols;
    std::uint64_t count;
  };
  std::vector<Word> words;

  explicit PairCounts(const std::unordered_map<std::string, std::uint64_t>& counts) {
    std::vector<std::pair<std::string_view, std::uint64_t>> sorted(counts.begin(), counts.end());
    std::sort(sorted.begin(), sorted.end());
    for (const auto& [text, count] : sorted) {
      Word word{{}, count};
      for (const char c : text) word.symbols.push_back(static_cast<unsigned char>(c));
      words.push_back(std::move(word));
      change(words.size() - 1, +1);
    }
    offer();
  }

  /// The most frequent pair; its count is 0 if there is none.
  std::pair<SymbolPair, std::uint64_t> best() {
    while (!queue_.empty()) {
      const Offer top = queue_.top();
      const std::uint64_t count = pairs_[top.key].count;
      if (count == top.count && count > 0)
        return {{static_cast<std::uint32_t>(top.key >> 32), static_cast<std::uint32_t>(top.key)}, count};
      queue_.pop();  // counts that rose or fell were offered anew
    }
    return {{}, 0};
  }

  /// Puts `piece` in place of the pair, in every word.
  void merge(SymbolPair pair, std::uint32_t piece) {
    std::vector<std::uint32_t> places = std::move(pairs_[pair_key(pair[0], pair[1])].words);
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    for (const std::uint32_t place : places) {
      std::vector<std::uint32_t>& s = words[place].symbols;
      bool found = false;
      for (std::size_t i = 0; i + 1 < s.size() && !found; ++i) found = s[i] == pair[0] && s[i + 1] == pair[1];
      if (!found) continue;
      change(place, -1);
      std::size_t out = 0;
      for (std::size_t i = 0; i < s.size(); ++out) {
        const bool merging = i + 1 < s.size() && s[i] == pair[0] && s[i + 1] == pair[1];
        s[out] = merging ? piece : s[i];
        i += merging ? 2 : 1;
      }
      s.resize(out);
      change(place, +1);
    }
    offer();
  }

 private:
  struct Pair {
    std::uint64_t count = 0;
    std::vector<std::uint32_t> words;  ///< where it occurs, or did; may repeat
    bool changed = false;
  };
  struct Offer {
    std::uint64_t count, key;
    friend bool operator<(const Offer& a, const Offer& b) {
      return a.count != b.count ? a.count < b.count : a.key > b.key;
    }
  };

  /// Counts the pairs of a word in (+1) or out (-1).
  void change(std::size_t place, int sign) {
    const Word& word = words[place];
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const std::uint64_t key = pair_key(word.symbols[i], word.symbols[i + 1]);
      Pair& pair = pairs_[key];
      if (sign > 0)
        pair.count += word.count;
      else
        pair.count -= word.count;
      if (sign > 0 && (pair.words.empty() || pair.words.back() != place))
        pair.words.push_back(static_cast<std::uint32_t>(place));
      if (!std::exchange(pair.changed, true)) changed_.push_back(key);
    }
  }

  void offer() {
    for (const std::uint64_t key : changed_) {
      Pair& pair = pairs_[key];
      pair.changed = false;
      if (pair.count > 0) queue_.push({pair.count, key});
    }
    changed_.clear();
  }

  std::unordered_map<std::uint64_t, Pair> pairs_;
  std::vector<std::uint64_t> changed_;
  std::priority_queue<Offer> queue_;
};

/// The bytes in the order of GPT-2's encoder.json: printable ones first.
inline std::vector<std::uint32_t> byte_order() {
  std::vector<std::uint32_t> order(256);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [](auto a, auto b) { return byte_characters[a] < byte_characters[b]; });
  return order;
}

}  // namespace detail

inline BpeModel BpeLearner::learn(const BpeLearnOptions& options) const {
  constexpr std::size_t fixed = 5 + 256 + 1;  // special ids, bytes, <|endoftext|>
  const auto size = static_cast<std::size_t>(std::max(options.vocab_size, 0));
  if (size < fixed)
    throw OptionError("BpeLearnOptions::vocab_size: expected at least " + std::to_string(fixed) + ", found " +
                      std::to_string(options.vocab_size));
  if (counts_.empty()) throw OptionError("BpeLearner: expected text, found none");
  BpeModel model;
  std::unordered_map<std::string, std::uint32_t> known;
  for (unsigned b = 0; b < 256; ++b) {
    model.pieces.emplace_back(1, static_cast<char>(static_cast<unsigned char>(b)));
    known.emplace(model.pieces.back(), b);
  }
  detail::PairCounts pairs(counts_);
  while (model.pieces.size() < size - fixed + 256) {
    const auto [pair, count] = pairs.best();
    if (count < std::max<std::uint64_t>(options.min_count, 1)) break;
    const std::string bytes = model.pieces[pair[0]] + model.pieces[pair[1]];
    const auto [place, is_new] = known.emplace(bytes, static_cast<std::uint32_t>(model.pieces.size()));
    if (is_new) model.pieces.push_back(bytes);
    model.merges.push_back(pair);
    pairs.merge(pair, place->second);
  }
  model.ids.resize(model.pieces.size());
  for (const std::uint32_t b : detail::byte_order()) {
    model.ids[b] = static_cast<std::int32_t>(model.entries.size());
    model.entries.push_back(model.pieces[b]);
  }
  for (std::size_t s = 256; s < model.pieces.size(); ++s) {
    model.ids[s] = static_cast<std::int32_t>(s);
    model.entries.push_back(model.pieces[s]);
  }
  model.entries.emplace_back("<|endoftext|>");
  std::vector<std::uint64_t> uses(model.entries.size());
  for (const auto& word : pairs.words)
    for (const std::uint32_t s : word.symbols) uses[static_cast<std::size_t>(model.ids[s])] += word.count;
  std::vector<std::size_t> order(uses.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return uses[a] > uses[b]; });
  for (const std::size_t id : order) model.dictionary.push_back({std::to_string(id), uses[id]});
  for (std::size_t n = 0; model.dictionary.size() + 5 < size; ++n) {
    std::string number = std::to_string(n);
    if (number.size() < 4) number.insert(0, 4 - number.size(), '0');
    model.dictionary.push_back({"madeupword" + number, 0});  // fairseq's name for them
  }
  return model;
}

}  // namespace data2vec::inline v0
