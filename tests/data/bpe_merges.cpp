// SPDX-License-Identifier: MIT
// Merging the bytes of a word, beside GPT-2's way of doing it written down plainly.
#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include <data2vec/data/bpe_merges.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using Symbols = std::vector<std::uint32_t>;

namespace {

struct Rules {
  std::map<SymbolPair, MergeTable::Merge> merges;
  MergeTable table;

  explicit Rules(const std::vector<std::pair<SymbolPair, std::uint32_t>>& pairs) : table(pairs.size()) {
    for (std::uint32_t rank = 0; rank < pairs.size(); ++rank) {
      merges[pairs[rank].first] = {rank, pairs[rank].second};
      CHECK(table.add(pairs[rank].first, {rank, pairs[rank].second}));
    }
  }

  /// bpe() of GPT-2's encoder.py: the pair of lowest rank, everywhere, until none is left.
  Symbols plainly(const std::string& word) const {
    Symbols s;
    for (const char c : word) s.push_back(static_cast<unsigned char>(c));
    for (;;) {
      MergeTable::Merge best;
      SymbolPair pair{};
      for (std::size_t i = 0; i + 1 < s.size(); ++i)
        if (const auto place = merges.find({s[i], s[i + 1]}); place != merges.end() && place->second.rank < best.rank)
          best = place->second, pair = place->first;
      if (best.rank == MergeTable::none) return s;
      Symbols next;
      for (std::size_t i = 0; i < s.size(); ++i) {
        const bool here = i + 1 < s.size() && s[i] == pair[0] && s[i + 1] == pair[1];
        next.push_back(here ? best.piece : s[i]);
        i += here;
      }
      s = next;
    }
  }
};

Symbols merged(WordMerger& merger, const Rules& rules, const std::string& word) {
  const auto s = merger.merge(rules.table, word);
  return {s.begin(), s.end()};
}

}  // namespace

TEST_CASE("bpe merges: by rank, from left to right") {
  // aa -> A (256), ab -> 257, Aa -> 258
  const Rules rules({{{'a', 'a'}, 256}, {{'a', 'b'}, 257}, {{256, 'a'}, 258}});
  WordMerger merger;
  CHECK(merged(merger, rules, "") == Symbols{});
  CHECK(merged(merger, rules, "b") == Symbols{'b'});
  CHECK(merged(merger, rules, "aaa") == Symbols{258});
  CHECK(merged(merger, rules, "aaaa") == Symbols{256, 256});
  CHECK(merged(merger, rules, "aab") == Symbols{256, 'b'});  // aa ranks before ab
  CHECK(merged(merger, rules, "ab") == Symbols{257});
}

TEST_CASE("bpe merges: a merge everywhere before what it makes possible") {
  // Two ways to the piece 258 = abc: what the second way makes, (258, 'a') of rank 2, waits for the rest of rank 3.
  const Rules rules({{{'a', 'b'}, 256}, {{'b', 'c'}, 257}, {{258, 'a'}, 259}, {{'a', 257}, 258}, {{256, 'c'}, 258}});
  WordMerger merger;
  const std::string once = "abcabc";
  CHECK(merged(merger, rules, once) == rules.plainly(once));
  std::string often;
  for (int i = 0; i < 100; ++i) often += "bcabc";
  CHECK(merged(merger, rules, often) == rules.plainly(often));
}

TEST_CASE("bpe merges: as GPT-2 does it, for random rules and words of any length") {
  WordMerger merger;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Rng rng({.seed = seed});
    std::vector<std::pair<SymbolPair, std::uint32_t>> pairs;
    std::set<SymbolPair> known;
    Symbols symbols{'a', 'b', 'c'};
    std::map<std::string, std::uint32_t> made;
    std::map<std::uint32_t, std::string> spelt{{'a', "a"}, {'b', "b"}, {'c', "c"}};
    for (int i = 0; i < 40; ++i) {
      const auto any = [&] { return symbols[rng.below(static_cast<std::uint32_t>(symbols.size()))]; };
      const SymbolPair pair{any(), any()};
      const std::string text = spelt[pair[0]] + spelt[pair[1]];
      if (text.size() > 12 || !known.insert(pair).second) continue;
      const auto [place, is_new] = made.emplace(text, 256 + static_cast<std::uint32_t>(made.size()));
      if (is_new) symbols.push_back(place->second), spelt[place->second] = text;
      pairs.emplace_back(pair, place->second);
    }
    const Rules rules(pairs);
    for (const std::size_t size : {1u, 2u, 5u, 17u, 96u, 97u, 300u}) {
      const std::string word = text_files::noise(size, seed * 100 + size, "abc");
      CHECK(merged(merger, rules, word) == rules.plainly(word));
    }
  }
}

TEST_CASE("bpe merges: a long word takes n log n") {
  const Rules rules({{{'a', 'a'}, 256}, {{256, 256}, 257}, {{257, 257}, 258}});
  WordMerger merger;
  const auto s = merger.merge(rules.table, std::string(1'000'000, 'a'));  // n^2 would take minutes
  CHECK(s.size() == 125'000);
  CHECK(s.front() == 258);
  CHECK(s.back() == 258);
}

TEST_CASE("bpe merges: the table") {
  MergeTable table(1000);
  for (std::uint32_t i = 0; i < 1000; ++i) CHECK(table.add({i, i * 7}, {i, i + 256}));
  CHECK_FALSE(table.add({5, 35}, {1, 1}));
  for (std::uint32_t i = 0; i < 1000; ++i) {
    CHECK(table.find(i, i * 7).rank == i);
    CHECK(table.find(i, i * 7 + 1).rank == MergeTable::none);
  }
  CHECK(MergeTable().find(1, 2).rank == MergeTable::none);
}
