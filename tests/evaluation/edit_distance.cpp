// SPDX-License-Identifier: MIT
// Edit distances by hand and by trying all alignments; error rates and what they show.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/evaluation/edit_distance.hpp>

using namespace data2vec;

namespace {

EditCounts counts(const std::string& a, const std::string& b) {
  return count_edits(align<char>(std::span<const char>(a), std::span<const char>(b)));
}

int fewest(std::string_view a, std::string_view b) {  // by its definition
  if (a.empty() || b.empty()) return static_cast<int>(a.size() + b.size());
  return std::min(
      {fewest(a.substr(1), b.substr(1)) + (a[0] != b[0]), fewest(a.substr(1), b) + 1, fewest(a, b.substr(1)) + 1});
}

}  // namespace

TEST_CASE("edit distance: by hand") {
  CHECK(counts("kitten", "sitting") == EditCounts{2, 0, 1, 6});
  CHECK(counts("abc", "abc") == EditCounts{0, 0, 0, 3});
  CHECK(counts("abc", "") == EditCounts{0, 3, 0, 3});
  CHECK(counts("", "ab") == EditCounts{0, 0, 2, 0});
  CHECK(counts("", "ab").rate() == 2);
  CHECK(counts("", "").rate() == 0);
  CHECK(counts("a", "bcd").rate() == 3);
}

TEST_CASE("edit distance: the fewest edits, and an alignment that leads from one to the other") {
  Rng rng({.seed = 1});
  for (int trial = 0; trial < 200; ++trial) {
    std::string a, b;
    for (std::uint32_t i = rng.below(6); i > 0; --i) a += static_cast<char>('a' + rng.below(3));
    for (std::uint32_t i = rng.below(6); i > 0; --i) b += static_cast<char>('a' + rng.below(3));
    const auto steps = align<char>(std::span<const char>(a), std::span<const char>(b));
    CHECK(count_edits(steps).edits() == fewest(a, b));
    std::size_t i = 0, j = 0;
    for (const EditStep& step : steps) {
      if (step.edit != Edit::insertion) REQUIRE(step.reference == static_cast<int>(i++));
      if (step.edit != Edit::deletion) REQUIRE(step.hypothesis == static_cast<int>(j++));
      if (step.edit == Edit::match) CHECK(a[i - 1] == b[j - 1]);
      if (step.edit == Edit::substitution) CHECK(a[i - 1] != b[j - 1]);
    }
    CHECK(i == a.size());
    CHECK(j == b.size());
  }
}

TEST_CASE("edit distance: words under each other") {
  CHECK(aligned_text("the cat sat on it", "a cat sat very on") ==
        "REF: the cat sat **** on it\n"
        "HYP: a   cat sat very on **\n"
        "     S           I       D\n");
  CHECK(aligned_text("\u00e9\u00e9", "x y") == "REF: * \u00e9\u00e9\nHYP: x y\n     I S\n");
  CHECK(aligned_text("", "") == "REF:\nHYP:\n\n");
}

TEST_CASE("edit distance: rates over utterances, and the worst of them") {
  ErrorRates rates(2);
  CHECK(rates.wer() == 0);
  rates.add("one", "the  cat", "the cat");
  rates.add("two", "a dog", "a fog");
  rates.add("three", "yes", "");
  rates.add("four", "\u00e9", "e");
  CHECK(rates.utterances() == 4);
  CHECK(rates.exact() == 1);
  CHECK(rates.words() == EditCounts{2, 1, 0, 6});
  CHECK(rates.wer() == 3.0 / 6);
  CHECK(rates.letters() == EditCounts{2, 3, 0, 16});  // 7 + 5 + 3 + 1 characters, blanks among them
  CHECK(rates.cer() == 5.0 / 16);
  REQUIRE(rates.worst().size() == 2);
  CHECK(rates.worst()[0].name == "three");
  CHECK(rates.worst()[1].name == "two");  // as wrong as "four", and earlier
  CHECK(rates.worst()[1].hypothesis == "a fog");
}
