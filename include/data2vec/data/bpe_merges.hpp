// SPDX-License-Identifier: MIT
// Byte pair encoding of one word (Sennrich et al., "Neural machine translation of rare words with subword units", 2016,
// in the order of GPT-2's encoder.py). Symbols: byte b is symbol b, the pieces made by merges follow.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// Two adjacent symbols.
using SymbolPair = std::array<std::uint32_t, 2>;

namespace detail {

constexpr std::uint64_t pair_key(std::uint32_t left, std::uint32_t right) { return std::uint64_t{left} << 32 | right; }

/// Spreads a key over the upper bits (Fibonacci hashing: Knuth, The Art of Computer Programming 3, section 6.4).
constexpr std::uint64_t spread(std::uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return (key ^ key >> 32) * 0xD6E8FEB86659FD93u;
}

}  // namespace detail

/// What a pair of symbols becomes, found by hash of the pair (open addressing, at most half full).
class MergeTable {
 public:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  struct Merge {
    std::uint32_t rank = none;  ///< the lowest goes first
    std::uint32_t piece = 0;    ///< the symbol that stands for both
  };

  explicit MergeTable(std::size_t merges = 0) : slots_(std::bit_ceil(2 * merges + 1)) {
    shift_ = 64 - std::countr_zero(slots_.size());
  }

  /// False if the pair is known already. At most as many as the constructor was told.
  bool add(SymbolPair pair, Merge merge) {
    const std::uint64_t key = detail::pair_key(pair[0], pair[1]);
    std::size_t at = place(key);
    for (; slots_[at].merge.rank != none; at = (at + 1) & (slots_.size() - 1))
      if (slots_[at].key == key) return false;
    slots_[at] = {key, merge};
    return true;
  }

  /// The merge of a pair; its rank is `none` if there is none.
  Merge find(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t key = detail::pair_key(left, right);
    for (std::size_t at = place(key);; at = (at + 1) & (slots_.size() - 1))
      if (slots_[at].key == key || slots_[at].merge.rank == none) return slots_[at].merge;
  }

 private:
  struct Slot {
    std::uint64_t key = ~std::uint64_t{0};
    Merge merge;
  };
  std::size_t place(std::uint64_t key) const {
    return shift_ == 64 ? 0 : static_cast<std::size_t>(detail::spread(key) >> shift_);
  }

  std::vector<Slot> slots_;
  int shift_ = 64;
};

/// Merges the bytes of words into pieces. Holds scratch memory that grows to the longest word and is then reused: one
/// for each thread.
class WordMerger {
 public:
  /// The symbols of a word, valid until the next call. Again and again, the pair of lowest rank is merged wherever it
  /// occurs, from left to right.
  std::span<const std::uint32_t> merge(const MergeTable& table, std::string_view word) {
    symbols_.resize(word.size());
    std::transform(word.begin(), word.end(), symbols_.begin(), [](char c) { return static_cast<unsigned char>(c); });
    if (word.size() > longest_scanned)
      merge_long(table);
    else if (word.size() > 1)
      merge_short(table);
    return symbols_;
  }

 private:
  using Merge = MergeTable::Merge;
  static constexpr std::size_t longest_scanned = 96;  ///< above it a heap beats looking at every pair each time

  void merge_short(const MergeTable& table) {
    std::size_t n = symbols_.size();
    if (merges_.size() < n) merges_.resize(n);
    std::uint32_t* const s = symbols_.data();
    Merge* const m = merges_.data();  // of each symbol and the next one
    for (std::size_t i = 0; i + 1 < n; ++i) m[i] = table.find(s[i], s[i + 1]);
    while (n > 1) {
      std::uint32_t lowest = MergeTable::none;
      for (std::size_t i = 0; i + 1 < n; ++i) lowest = std::min(lowest, m[i].rank);
      if (lowest == MergeTable::none) break;
      std::size_t out = 0;
      bool merged = false;  // whether the symbol before `out` is new
      for (std::size_t i = 0; i < n; ++out) {
        const bool merging = i + 1 < n && m[i].rank == lowest;
        s[out] = merging ? m[i].piece : s[i];
        if (out > 0 && (merging || merged)) m[out - 1] = table.find(s[out - 1], s[out]);
        m[out] = m[i];  // looked up again with the next symbol if one of the two is new
        merged = merging;
        i += merging ? 2 : 1;
      }
      n = out;
    }
    symbols_.resize(n);
  }

  struct Candidate {
    std::uint32_t rank, at, left, right, piece;
    friend bool operator>(const Candidate& a, const Candidate& b) {
      return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
    }
  };

  /// The same with a heap of candidates and a list of neighbours: n log n.
  void merge_long(const MergeTable& table) {
    const auto n = static_cast<std::uint32_t>(symbols_.size());
    next_.resize(n), previous_.resize(n), heap_.clear();
    for (std::uint32_t i = 0; i < n; ++i) {
      next_[i] = i + 1;
      previous_[i] = i - 1;
      if (i + 1 < n) push(table, i, i + 1);
    }
    while (!heap_.empty()) {
      // All places of this pair first: what they make may rank lower than the pair itself.
      const std::uint32_t rank = heap_.front().rank;
      same_.clear();
      while (!heap_.empty() && heap_.front().rank == rank) {
        std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
        same_.push_back(heap_.back());
        heap_.pop_back();
      }
      made_.clear();
      for (const Candidate& c : same_) {
        const std::uint32_t right = next_[c.at];
        if (symbols_[c.at] != c.left || right >= n || symbols_[right] != c.right) continue;
        symbols_[c.at] = c.piece;
        symbols_[right] = MergeTable::none;
        next_[c.at] = next_[right];
        if (next_[right] < n) previous_[next_[right]] = c.at;
        made_.push_back(c.at);
      }
      for (const std::uint32_t at : made_) {
        if (previous_[at] < n) push(table, previous_[at], at);
        if (next_[at] < n) push(table, at, next_[at]);
      }
    }
    std::erase(symbols_, MergeTable::none);
  }

  void push(const MergeTable& table, std::uint32_t left, std::uint32_t right) {
    const Merge merge = table.find(symbols_[left], symbols_[right]);
    if (merge.rank == MergeTable::none) return;
    heap_.push_back({merge.rank, left, symbols_[left], symbols_[right], merge.piece});
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  std::vector<std::uint32_t> symbols_, next_, previous_, made_;
  std::vector<Merge> merges_;
  std::vector<Candidate> heap_, same_;
};

}  // namespace data2vec::inline v0
