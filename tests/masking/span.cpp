// SPDX-License-Identifier: MIT
// Span masks: what a row may look like, how many tokens it hides, how rows are made equal.
#include <data2vec/masking/span.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace data2vec;

namespace {

Rng rng_at(std::uint32_t update, std::uint32_t mask = 0) {
  return Rng(DrawKey{.seed = 31, .update = update, .mask = mask, .site = Site::masks});
}

using Speech = SpanMask<499, MaskConfig{.mask_prob = 0.5, .mask_prob_adjust = 0.05, .mask_length = 5}>;
static_assert(MaskingPolicy<Speech>);
static_assert(Speech::masked == 205 && Speech::visible == 294);    // the reference's mean over 10,000 rows is 204.7
// A fifth of 205 tokens is shown again: 41.
static_assert(SpanMask<499, MaskConfig{.mask_prob = 0.5, .mask_length = 5, .mask_dropout = 0.2}>::masked == 164);
// Spans of one token never overlap: the count is the number of spans.
static_assert(span_masked(100, 0.25, 1) == 25);

}  // namespace

TEST_CASE("spans: whole, within the valid part, and as many as the count allows") {
  bool marks[100];
  for (std::uint32_t i = 0; i < 500; ++i) {
    Rng rng = rng_at(i);
    const int valid = 60 + static_cast<int>(i % 40);
    const int hidden = span_mask(rng, 100, valid, 0.4, 6, marks);
    REQUIRE(hidden == count_marks(100, marks));
    const int most = static_cast<int>(0.4 * valid / 6) + 1;        // spans, at most
    REQUIRE(hidden >= 6);
    REQUIRE(hidden <= 6 * most);
    for (int t = valid - 1; t < 100; ++t) REQUIRE_FALSE(marks[t]); // no span reaches the last valid token
    for (int t = 0, run = 0; t < 100; ++t) {                       // every run is at least one span long
      if (marks[t]) ++run;
      else {
        REQUIRE((run == 0 || run >= 6));
        run = 0;
      }
    }
  }
}

TEST_CASE("spans: at least min_masks, and rows too short for the rule") {
  bool marks[20];
  for (std::uint32_t i = 0; i < 50; ++i) {
    Rng rng = rng_at(i);
    CHECK(span_mask(rng, 20, 20, 1e-9, 4, marks) == 4);            // no span by count, one by min_masks
    Rng short_row = rng_at(i);
    // 4 - 10 <= 1: the start is one of two, and the span of length 10 hides all from there on.
    const int hidden = span_mask(short_row, 20, 4, 0.1, 10, marks);
    CHECK((hidden == 4 || hidden == 3));
    CHECK(count_marks(16, marks + 4) == 0);
  }
  CHECK(span_starts(499, 5, 50) == 494);
  CHECK(span_starts(12, 10, 2) == 3);
  CHECK(span_starts(13, 10, 2) == 3);
}

TEST_CASE("expected_span_tokens is the mean over rows") {
  struct Row { int valid, mask_length, count; };
  bool marks[64];
  for (const Row r : {Row{40, 5, 1}, Row{40, 5, 4}, Row{40, 10, 3}, Row{12, 8, 2}, Row{9, 10, 1}, Row{9, 3, 7},
                      Row{40, 1, 9}, Row{3, 10, 5}}) {
    constexpr int draws = 20'000;
    double sum = 0, squares = 0;
    for (std::uint32_t i = 0; i < draws; ++i) {
      Rng rng = rng_at(i);
      const double hidden = span_mask(rng, r.valid, r.valid, 0, r.mask_length, marks, r.count);
      sum += hidden;
      squares += hidden * hidden;
    }
    const double mean = sum / draws, error = std::sqrt(std::max(squares / draws - mean * mean, 0.0) / draws);
    CAPTURE(r.valid);
    CAPTURE(r.mask_length);
    CAPTURE(r.count);
    CHECK(std::abs(mean - expected_span_tokens(r.valid, r.mask_length, r.count)) <= 5 * error + 1e-9 * mean);
  }
}

TEST_CASE("the number of spans is rounded at random") {
  // Spans of one token: their number is the hidden count, 7 or 8 for 7.25.
  bool marks[29];
  constexpr int draws = 20'000;
  int more = 0;
  for (std::uint32_t i = 0; i < draws; ++i) {
    Rng rng = rng_at(i);
    const int hidden = span_mask(rng, 29, 29, 0.25, 1, marks);
    REQUIRE((hidden == 7 || hidden == 8));
    more += hidden == 8;
  }
  CHECK(std::abs(more - draws * 0.25) < 5 * std::sqrt(draws * 0.25 * 0.75));
}

TEST_CASE("equalise_rows: the smallest count by showing, the largest by hiding, then dropout") {
  constexpr int rows = 8, tokens = 100;
  bool before[rows * tokens], after[rows * tokens];
  for (std::uint32_t i = 0; i < 100; ++i) {
    int least = tokens, most = 0;
    for (int r = 0; r < rows; ++r) {
      Rng rng = rng_at(i, static_cast<std::uint32_t>(r));
      const int hidden = span_mask(rng, tokens, tokens, 0.5, 5, before + r * tokens);
      least = std::min(least, hidden);
      most = std::max(most, hidden);
    }
    for (const bool add_masks : {false, true}) {
      std::copy(std::begin(before), std::end(before), after);
      Rng rng = rng_at(i, 99);
      const int count = equalise_rows(rng, rows, tokens, add_masks, 0, after);
      REQUIRE(count == (add_masks ? most : least));
      for (int r = 0; r < rows; ++r) REQUIRE(count_marks(tokens, after + r * tokens) == count);
      for (int k = 0; k < rows * tokens; ++k) REQUIRE((add_masks ? after[k] >= before[k] : after[k] <= before[k]));

      std::copy(std::begin(before), std::end(before), after);
      Rng again = rng_at(i, 99);
      const int fewer = equalise_rows(again, rows, tokens, add_masks, 0.25, after);
      REQUIRE(fewer == count - round_half_even(count * 0.25));
      for (int r = 0; r < rows; ++r) REQUIRE(count_marks(tokens, after + r * tokens) == fewer);
    }
  }
}

TEST_CASE("span policy: exact counts, and equal marks for equal keys") {
  Mask<499> a, b;
  for (std::uint32_t i = 0; i < 200; ++i) {
    Rng first = rng_at(i), again = rng_at(i);
    Speech::sample(first, a);
    Speech::sample(again, b);
    REQUIRE(count_marks(499, a.hidden) == 205);
    REQUIRE(std::equal(std::begin(a.hidden), std::end(a.hidden), b.hidden));
  }
}
