// SPDX-License-Identifier: MIT
// Decoding against the sum over all paths; word lists hold; the beam finds what the best path misses.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/finetune/ctc_decode.hpp>

using namespace data2vec;
using Labels = std::vector<std::int32_t>;

namespace {

constexpr int K = 3, T = 5;

std::vector<double> logits(std::uint32_t stream, int frames = T, int classes = K) {
  Rng rng({.seed = 4, .sample = stream});
  std::vector<double> x(static_cast<std::size_t>(frames * classes));
  for (double& v : x) v = 2 * static_cast<double>(rng.normal());
  return x;
}

/// Probability of every label sequence: over all K^T paths.
std::map<Labels, double> all_sequences(const std::vector<double>& x) {
  std::map<Labels, double> sums;
  std::vector<double> log_p;
  const int paths = static_cast<int>(std::pow(K, T) + 0.5);
  for (int path = 0; path < paths; ++path) {
    Labels labels;
    double log_sum = 0;
    for (int t = 0, rest = path, last = 0; t < T; ++t, rest /= K) {
      detail::log_softmax(std::span<const double>(x).subspan(static_cast<std::size_t>(t * K), K), log_p);
      const int symbol = rest % K;
      log_sum += log_p[static_cast<std::size_t>(symbol)];
      if (symbol != 0 && symbol != last) labels.push_back(symbol);
      last = symbol;
    }
    sums[labels] += std::exp(log_sum);
  }
  return sums;
}

/// Logits under which the symbols of a path are nearly certain.
std::vector<float> certain(const std::vector<int>& path, int classes, float size = 20) {
  std::vector<float> x(path.size() * static_cast<std::size_t>(classes));
  for (std::size_t t = 0; t < path.size(); ++t)
    x[t * static_cast<std::size_t>(classes) + static_cast<std::size_t>(path[t])] = size;
  return x;
}

std::vector<ManifestEntry> transcript(const std::string& text) {
  return {{.path = "x", .text = text, .text_at = "x:1"}};
}

}  // namespace

TEST_CASE("ctc decode: a wide beam finds every sequence with its probability, in order") {
  for (std::uint32_t stream = 0; stream < 20; ++stream) {
    const auto x = logits(stream);
    const auto expected = all_sequences(x);
    const auto found = ctc_beam<double>(x, K, {.beam = 1000, .prune = 0});
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double p = expected.at(found[i].labels);
      // Sums over 3^5 paths; the log turns relative errors into absolute ones.
      CHECK(std::abs(found[i].log_probability - std::log(p)) < 8 * 0x1p-52 * std::sqrt(243.0) * (1 - std::log(p)));
      CHECK(found[i].score == found[i].log_probability);
      if (i > 0) CHECK(found[i].score <= found[i - 1].score);
    }
  }
}

TEST_CASE("ctc decode: the best path merges repetitions and leaves blanks out; blanks part equal labels") {
  const auto x = certain({0, 1, 1, 0, 1, 2, 2, 0}, K);
  const CtcHypothesis best = ctc_greedy<float>(x, K);
  CHECK(best.labels == Labels{1, 1, 2});
  CHECK(best.log_probability == doctest::Approx(-8 * std::log(1 + 2 * std::exp(-20.0))));
  CHECK(ctc_beam<float>(x, K)[0].labels == best.labels);
  CHECK(ctc_greedy<float>(certain({1, 2, 2, 0, 1}, K), K, 2).labels == Labels{1, 0, 1});  // another blank
  CHECK(ctc_beam<float>(certain({1, 2, 2, 0, 1}, K), K, {.blank = 2})[0].labels == Labels{1, 0, 1});
  CHECK(ctc_greedy<float>({}, K).labels.empty());
  CHECK(ctc_beam<float>({}, K)[0].labels.empty());
}

TEST_CASE("ctc decode: the beam finds what the best path misses") {
  // Two frames of p(blank) = 0.6, p(label) = 0.4: the best path is empty (0.36), the label is likelier (0.64).
  const float a = std::log(0.6f), b = std::log(0.4f);
  const std::vector<float> x{a, b, a, b};
  CHECK(ctc_greedy<float>(x, 2).labels.empty());
  for (const int beam : {2, 50}) {
    const auto found = ctc_beam<float>(x, 2, {.beam = beam});
    CHECK(found[0].labels == Labels{1});
    CHECK(std::exp(found[0].log_probability) == doctest::Approx(0.64));
  }
}

TEST_CASE("ctc decode: a narrow beam keeps its width and is never better than a wide one") {
  for (std::uint32_t stream = 0; stream < 10; ++stream) {
    const auto x = logits(100 + stream, 30, 6);
    const auto narrow = ctc_beam<double>(x, 6, {.beam = 4}), wide = ctc_beam<double>(x, 6, {.beam = 64});
    CHECK(narrow.size() <= 4);
    CHECK(wide.size() <= 64);
    CHECK(narrow[0].score <= wide[0].score + 1e-9);
    CHECK(ctc_beam<double>(x, 6, {.beam = 4})[0].labels == narrow[0].labels);
  }
}

TEST_CASE("ctc decode: within a word list there are only its words") {
  const auto letters = Letters::from_transcripts(transcript("cat car dog cog"));
  const std::vector<std::string> known{"cat", "dog"};
  const WordList list(letters, known);
  const int classes = letters.size();
  // "car do cog|": r and the first c of cog are certain, their rivals nearly so.
  std::vector<int> path{0};
  for (const std::int32_t label : letters.encode("car cog", "test")) path.push_back(label), path.push_back(0);
  const auto x = certain(path, classes, 5);
  const CtcBeamOptions options{.prune = 0, .word_end = letters.word_end()};
  CHECK(letters.decode(ctc_beam<float>(x, classes, options)[0].labels) == "car cog");
  const auto found = ctc_beam<float>(x, classes, options, &list);
  CHECK(letters.decode(found[0].labels) == "cat dog");
  CHECK(found.size() > 5);
  for (const CtcHypothesis& h : found) {
    const std::string text = letters.decode(h.labels);
    for (const std::string_view word : split_words(text))
      CHECK(std::find(known.begin(), known.end(), word) != known.end());
  }
}

TEST_CASE("ctc decode: a bonus for words counts once for each, not for repeated ends") {
  const auto letters = Letters::from_transcripts(transcript("a b"));
  const int end = letters.word_end(), a = letters.number("a");
  const auto x = certain({a, end, 0, end, a, end}, letters.size());
  const auto found = ctc_beam<float>(x, letters.size(), {.word_bonus = 3, .word_end = end});
  CHECK(found[0].labels == Labels{a, end, end, a, end});
  CHECK(found[0].score == doctest::Approx(found[0].log_probability + 6));
}

TEST_CASE("ctc decode: what is refused") {
  const std::vector<float> x(7);
  CHECK_THROWS_WITH_AS(ctc_greedy<float>(x, 3), "CTC decoding: expected logits (frames, 3), found 7 numbers",
                       MismatchError);
  CHECK_THROWS_AS(ctc_beam<float>(x, 7, {.beam = 0}), OptionError);
  CHECK_THROWS_AS(ctc_beam<float>(x, 7, {.prune = 1}), OptionError);
  CHECK_THROWS_AS(ctc_beam<float>(x, 7, {.blank = 7}), OptionError);
}
