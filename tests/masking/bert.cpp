// SPDX-License-Identifier: MIT
// Corrupted tokens: counts, shares of the three actions, special tokens, whole words, several tokens at a start.
#include <data2vec/masking/bert.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

using namespace data2vec;

namespace {

Rng rng_at(std::uint32_t update) { return Rng(DrawKey{.seed = 23, .update = update, .site = Site::masks}); }

constexpr std::int32_t vocab = 50, mask_id = 49;
constexpr TokenIds plain{.mask = mask_id, .vocab_size = vocab};

template <class Policy>
struct Drawn {
  std::array<std::int32_t, Policy::tokens> row{}, seen{};
  std::array<TokenAction, Policy::tokens> actions{};
  std::array<int, Policy::most> positions{};
  int count = 0;

  void draw(std::uint32_t update, int valid, const TokenIds& ids) {
    Rng rng = rng_at(update);
    count = Policy::sample(rng, valid, ids, row.data(), actions.data(), seen.data(), positions.data());
  }
};

constexpr int T_ = 40;
using Roberta = TokenMask<T_, TokenMaskConfig{}>;
static_assert(Roberta::most == 6 && TokenMask<512, TokenMaskConfig{}>::most == 77);
static_assert(TokenMask<10, TokenMaskConfig{.mask_prob = 0.15}>::most == 2);
static_assert(TokenMask<64, TokenMaskConfig{.mask_prob = 0.35, .mask_multiple_length = 4}>::most == 24);

Drawn<Roberta> sentence() {
  Drawn<Roberta> d;
  for (int t = 0; t < T_; ++t) d.row[static_cast<std::size_t>(t)] = t == 0 ? 0 : t + 1 == T_ ? 2 : 4 + t % 40;
  return d;
}

}  // namespace

TEST_CASE("token mask: int(p T + u) positions, ascending, all else as it was") {
  Drawn<Roberta> d = sentence();
  int larger = 0;
  for (const int valid : {T_, 33, 7, 1}) {
    for (std::uint32_t i = 0; i < 300; ++i) {
      d.draw(i, valid, plain);
      const int least = static_cast<int>(0.15 * valid);
      REQUIRE((d.count == least || d.count == least + 1));
      REQUIRE(d.count <= Roberta::most);
      larger += valid == 33 && d.count == least + 1;
      int place = 0;
      for (std::size_t t = 0; t < T_; ++t) {
        const bool predicted = d.actions[t] != TokenAction::none;
        if (predicted) REQUIRE(d.positions[static_cast<std::size_t>(place++)] == static_cast<int>(t));
        REQUIRE((static_cast<int>(t) < valid || !predicted));
        switch (d.actions[t]) {
          case TokenAction::mask: REQUIRE(d.seen[t] == mask_id); break;
          case TokenAction::random: REQUIRE((d.seen[t] >= 4 && d.seen[t] < vocab)); break;
          default: REQUIRE(d.seen[t] == d.row[t]);
        }
      }
      REQUIRE(place == d.count);
    }
  }
  // 0.15 * 33 = 4.95: five positions with probability 0.95, of 300 draws 285 with a deviation of 3.8.
  CHECK(std::abs(larger - 285) < 5 * 3.8);
}

TEST_CASE("token mask: every position alike, special ones too; 80, 10 and 10 percent") {
  Drawn<Roberta> d = sentence();
  constexpr int draws = 20'000;
  std::array<int, T_> at{};
  std::array<double, 4> share{};
  std::array<int, vocab> random{};
  for (std::uint32_t i = 0; i < draws; ++i) {
    d.draw(i, T_, plain);
    for (std::size_t t = 0; t < T_; ++t) {
      at[t] += d.actions[t] != TokenAction::none;
      ++share[static_cast<std::size_t>(d.actions[t])];
      if (d.actions[t] == TokenAction::random) ++random[static_cast<std::size_t>(d.seen[t])];
    }
  }
  double chi_square = 0;  // six of 40 positions in each draw: see tests/masking/random.cpp for the degrees
  const double p = 6.0 / T_, variance = draws * p * (1 - p) * T_ / (T_ - 1.0);
  for (const int n : at) chi_square += std::pow(n - draws * p, 2) / variance;
  CHECK(std::abs(chi_square - (T_ - 1)) < 5 * std::sqrt(2.0 * (T_ - 1)));
  const double targets = 6.0 * draws;
  using Share = std::pair<TokenAction, double>;
  for (const auto& [action, wanted] :
       {Share{TokenAction::mask, 0.8}, Share{TokenAction::keep, 0.1}, Share{TokenAction::random, 0.1}})
    CHECK(std::abs(share[static_cast<std::size_t>(action)] - wanted * targets) <
          5 * std::sqrt(targets * wanted * (1 - wanted)));
  const double each = share[static_cast<std::size_t>(TokenAction::random)] / (vocab - 4);
  for (std::size_t id = 0; id < vocab; ++id)
    if (id < 4) CHECK(random[id] == 0);
    else CHECK(std::abs(random[id] - each) < 6 * std::sqrt(each));
}

TEST_CASE("token mask: whole words share one action") {
  using Words = TokenMask<T_, TokenMaskConfig{.mask_prob = 0.3, .mask_whole_words = true}>;
  Drawn<Words> d;
  std::vector<std::uint8_t> begins(vocab, 0);
  for (std::size_t id = 0; id < vocab; id += 2) begins[id] = 1;  // even ids begin a word
  TokenIds ids = plain;
  ids.begins_word = begins.data();
  int words = 0;
  for (std::size_t t = 0; t < T_; ++t) {
    d.row[t] = t % 3 == 0 ? 4 : 5;  // words of three tokens, the last of one
    words += t % 3 == 0;
  }
  int kinds[4] = {}, one_more = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    d.draw(i, T_, ids);
    int marked = 0;
    for (std::size_t t = 0; t < T_; ++t) {
      if (t % 3 == 0) marked += d.actions[t] != TokenAction::none;
      else REQUIRE(d.actions[t] == d.actions[t - 1]);
      ++kinds[static_cast<int>(d.actions[t])];
    }
    REQUIRE((marked == 4 || marked == 5));  // 0.3 * 14 words = 4.2
    one_more += marked == 5;
  }
  CHECK(words == 14);
  CHECK(std::abs(one_more - 200) < 5 * std::sqrt(1000 * 0.2 * 0.8));
  for (const int n : kinds) CHECK(n > 0);
}

TEST_CASE("token mask: words that do not fit into the places of the type are left out whole") {
  using Words = TokenMask<20, TokenMaskConfig{.mask_prob = 0.1, .mask_whole_words = true}>;
  static_assert(Words::most == 6);
  std::vector<std::uint8_t> begins(vocab, 0);
  begins[4] = 1;
  TokenIds ids = plain;
  ids.begins_word = begins.data();
  Drawn<Words> d;
  d.row.fill(5);
  d.row[0] = d.row[10] = d.row[12] = 4;  // words of 10, 2 and 8 tokens: only the one of two fits
  int found = 0;
  for (std::uint32_t i = 0; i < 500; ++i) {
    d.draw(i, 20, ids);
    REQUIRE((d.count == 0 || d.count == 2));
    if (d.count == 2) REQUIRE((d.positions[0] == 10 && d.positions[1] == 11));
    found += d.count == 2;
  }
  CHECK(found > 0);
}

TEST_CASE("token mask: a start covers several tokens and may meet the next; no corruption if none is asked for") {
  constexpr TokenMaskConfig spans{
      .mask_prob = 0.35, .leave_unmasked_prob = 0, .random_token_prob = 0, .mask_multiple_length = 4};
  using Spans = TokenMask<T_, spans>;
  Drawn<Spans> d;
  d.row.fill(7);
  double sum = 0;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    d.draw(i, T_, plain);
    int run = 0;
    for (std::size_t t = 0; t < T_; ++t) {
      REQUIRE((d.actions[t] == TokenAction::none || d.actions[t] == TokenAction::mask));
      if (d.actions[t] == TokenAction::mask) ++run;
      else {
        REQUIRE((run == 0 || run >= 4));
        run = 0;
      }
    }
    sum += d.count;
  }
  // 3.5 starts of 40 on average: a token is free where none of the four starts before it was drawn, (1 - 3.5 / 40)^4.
  const double expected = T_ * (1 - std::pow(1 - 3.5 / T_, 4));
  CHECK(std::abs(sum / 2000 - expected) < 0.7);  // starts at the end cover less
}

TEST_CASE("token mask: equal keys give equal rows, others others") {
  Drawn<Roberta> a = sentence(), b = sentence(), c = sentence();
  a.draw(5, T_, plain);
  b.draw(5, T_, plain);
  c.draw(6, T_, plain);
  CHECK(a.seen == b.seen);
  CHECK(a.actions != c.actions);
}
