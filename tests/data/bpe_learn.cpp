// SPDX-License-Identifier: MIT
// Learning merges: by hand, beside a plain learner, and what the result may not depend on.
#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include <data2vec/data/bpe.hpp>
#include <data2vec/data/bpe_learn.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;

namespace {

constexpr int fixed = 262;  // without any merge

BpeModel learn(std::string_view text, int merges, std::uint64_t min_count = 2) {
  BpeLearner learner;
  learner.add(text);
  return learner.learn({.vocab_size = fixed + merges, .min_count = min_count});
}

/// Counts all pairs anew for every merge.
std::vector<SymbolPair> plainly(const std::string& text, std::size_t merges) {
  std::map<std::string, int> counts;
  for_each_word(CharClasses(), text, [&](std::string_view word) { ++counts[std::string(word)]; });
  std::vector<std::pair<std::vector<std::uint32_t>, int>> words;
  for (const auto& [word, count] : counts) {
    words.push_back({{}, count});
    for (const char c : word) words.back().first.push_back(static_cast<unsigned char>(c));
  }
  std::vector<SymbolPair> found;
  while (found.size() < merges) {
    std::map<SymbolPair, int> pairs;
    for (const auto& [s, count] : words)
      for (std::size_t i = 0; i + 1 < s.size(); ++i) pairs[{s[i], s[i + 1]}] += count;
    SymbolPair best{};
    int most = 1;  // in the order of the pairs: the first of equals stays
    for (const auto& [pair, count] : pairs)
      if (count > most) best = pair, most = count;
    if (most < 2) break;
    const auto piece = static_cast<std::uint32_t>(256 + found.size());
    found.push_back(best);
    for (auto& [s, count] : words)
      for (std::size_t i = 0; i + 1 < s.size(); ++i)
        if (s[i] == best[0] && s[i + 1] == best[1]) s[i] = piece, s.erase(s.begin() + static_cast<int>(i) + 1);
  }
  return found;
}

}  // namespace

TEST_CASE("bpe learn: by hand") {
  // Words: "ab" once, " ab" three times. ab 4, then " ab" 3.
  const BpeModel model = learn("ab ab ab ab", 2);
  CHECK(model.merges == std::vector<SymbolPair>{{'a', 'b'}, {' ', 256}});
  CHECK(model.pieces[257] == " ab");
  CHECK(model.entries.size() == 259);
  CHECK(model.entries[0] == "!");  // GPT-2's order of bytes
  CHECK(model.entries[188] == std::string(1, '\0'));
  CHECK(model.entries[258] == "<|endoftext|>");
  REQUIRE(model.dictionary.size() == 259);
  CHECK(model.dictionary[0] == BpeModel::Entry{"257", 3});  // by falling count
  CHECK(model.dictionary[1] == BpeModel::Entry{"256", 1});
  CHECK(model.dictionary[2] == BpeModel::Entry{"0", 0});    // then by id
  const BpeTokenizer t(model);
  CHECK(t.vocab_size() == fixed + 2);
  CHECK(t.encode("ab ab") == std::vector<std::int32_t>{5, 4});
}

TEST_CASE("bpe learn: of equally frequent pairs, the lower symbols") {
  CHECK(learn("xy xy bz bz ba ba", 1).merges == std::vector<SymbolPair>{{' ', 'b'}});
  CHECK(learn("xy\nxy\nbz\nbz\nba\nba", 1).merges == std::vector<SymbolPair>{{'b', 'a'}});
}

TEST_CASE("bpe learn: as a plain learner") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const std::string text = text_files::noise(1500, seed, seed % 2 ? "abc " : "aab  e\n");
    const auto expected = plainly(text, 60);
    CHECK(learn(text, 60).merges == expected);
  }
}

TEST_CASE("bpe learn: the order in which text comes does not matter") {
  const std::string one = text_files::noise(3000, 1, "abcd  "), two = text_files::noise(3000, 2, "cdef  ");
  BpeLearner a, b;
  a.add(one), a.add(two);
  b.add(two), b.add(one);
  CHECK(a.distinct_words() == b.distinct_words());
  const BpeModel first = a.learn({.vocab_size = 500}), second = b.learn({.vocab_size = 500});
  CHECK(first.merges == second.merges);
  CHECK(first.dictionary == second.dictionary);
}

TEST_CASE("bpe learn: the vocabulary has the size asked for") {
  const BpeModel model = learn("ab ab", 40);  // two merges are all there is
  CHECK(model.merges.size() == 1);
  CHECK(BpeTokenizer(model).vocab_size() == fixed + 40);
  CHECK(model.dictionary.back().word == "madeupword0038");
  CHECK(learn("ab ab ab", 40, 3).merges.size() == 1);
  CHECK(learn("ab ab ab", 40, 4).merges.empty());
}

TEST_CASE("bpe learn: written, read, and the same ids") {
  const text_files::Folder folder("bpe_learn");
  const std::string text = text_files::noise(5000, 3, "the cat, a dog.\n\xC3\xA9");
  const BpeModel model = learn(text, 100);
  write_bpe(folder.text(), model);
  const auto t = BpeTokenizer::open(BpeFiles::in(folder.text()));
  CHECK(t.fingerprint() == BpeTokenizer(model).fingerprint());
  CHECK(t.encode(text) == BpeTokenizer(model).encode(text));
  CHECK(t.decode(t.encode(text)) == text);
  CHECK(t.encode(text).size() < text.size());  // it learnt something
}

TEST_CASE("bpe learn: what is refused") {
  BpeLearner learner;
  CHECK_THROWS_WITH_AS(learner.learn({}), "BpeLearner: expected text, found none", OptionError);
  learner.add("a");
  CHECK_THROWS_WITH_AS(learner.learn({.vocab_size = 261}),
                       "BpeLearnOptions::vocab_size: expected at least 262, found 261", OptionError);
  CHECK_NOTHROW(learner.learn({.vocab_size = 262}));
}
