// SPDX-License-Identifier: MIT
// Batches by length: which bucket, which batches, and that their order is a function of (seed, epoch, index).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include <data2vec/data/buckets.hpp>

namespace d2v = data2vec;
using Three = d2v::Buckets<100, 200, 400>;
using d2v::BucketFit;
using Lengths = std::vector<std::int64_t>;

namespace {

Lengths lengths(std::size_t count) {
  Lengths list;
  for (std::size_t i = 0; i < count; ++i) list.push_back(50 + static_cast<std::int64_t>(i * 37 % 500));
  return list;
}

std::vector<std::vector<std::uint32_t>> epoch_of(d2v::BucketPlan<Three>& plan, std::uint64_t epoch) {
  std::vector<std::vector<std::uint32_t>> batches;
  for (std::uint64_t b = 0; b < plan.batches_per_epoch(); ++b) {
    const auto batch = plan.batch(epoch * plan.batches_per_epoch() + b);
    CHECK(batch.epoch == epoch);
    batches.emplace_back(batch.ids.begin(), batch.ids.end());
  }
  return batches;
}

}  // namespace

TEST_CASE("buckets: the choice for a recording") {
  static_assert(Three::choose(1, BucketFit::crop) == 0);
  static_assert(Three::choose(199, BucketFit::crop) == 0);
  static_assert(Three::choose(200, BucketFit::crop) == 1);
  static_assert(Three::choose(9999, BucketFit::crop) == 2);
  static_assert(Three::choose(1, BucketFit::pad) == 0);
  static_assert(Three::choose(100, BucketFit::pad) == 0);
  static_assert(Three::choose(101, BucketFit::pad) == 1);
  static_assert(Three::choose(400, BucketFit::pad) == 2);
  static_assert(Three::choose(401, BucketFit::pad) == -1);
  for (int bucket = -1; bucket <= Three::count; ++bucket) {
    int seen = 0;
    Three::visit(bucket, [&]<int length>() { seen += length; });
    CHECK(seen == (bucket >= 0 && bucket < 3 ? Three::lengths[static_cast<std::size_t>(bucket)] : 0));
  }
}

TEST_CASE("buckets: an epoch has each recording once, in batches of its own bucket") {
  const Lengths list = lengths(203);
  for (const BucketFit fit : {BucketFit::crop, BucketFit::pad})
    for (const bool drop : {false, true}) {
      d2v::BucketPlan<Three> plan(list, {.fit = fit, .max_samples = 1000, .drop_partial = drop}, 7);
      CHECK(plan.rows(0) == 10);
      CHECK(plan.rows(1) == 5);
      CHECK(plan.rows(2) == 2);
      CHECK(plan.most_rows() == 10);
      CHECK(plan.most_samples() == 1000);
      const auto too_long = std::count_if(list.begin(), list.end(), [](auto l) { return l > 400; });
      CHECK(plan.left_out() == (fit == BucketFit::pad ? too_long : 0));
      std::set<std::uint32_t> seen;
      std::int64_t expected = 0;
      for (int b = 0; b < 3; ++b) expected += drop ? plan.members(b) / plan.rows(b) * plan.rows(b) : plan.members(b);
      for (std::uint64_t b = 0; b < plan.batches_per_epoch(); ++b) {
        const auto batch = plan.batch(b);
        CHECK(batch.length == Three::lengths[static_cast<std::size_t>(batch.bucket)]);
        CHECK(static_cast<int>(batch.ids.size()) <= plan.rows(batch.bucket));
        if (drop) CHECK(static_cast<int>(batch.ids.size()) == plan.rows(batch.bucket));
        for (const std::uint32_t id : batch.ids) {
          CHECK(Three::choose(list[id], fit) == batch.bucket);
          CHECK(seen.insert(id).second);
        }
      }
      CHECK(static_cast<std::int64_t>(seen.size()) == expected);
      CHECK(expected > 150 - (fit == BucketFit::pad ? too_long : 0));
    }
}

TEST_CASE("buckets: batches of a multiple of rows") {
  d2v::BucketPlan<Three> plan(lengths(203), {.max_samples = 1100, .row_multiple = 4}, 7);
  CHECK(plan.rows(0) == 8);
  CHECK(plan.rows(1) == 4);
  CHECK(plan.rows(2) == 4);  // at least that many, though only two fit
  for (std::uint64_t b = 0; b < plan.batches_per_epoch(); ++b) CHECK(plan.batch(b).ids.size() % 4 == 0);
  CHECK_THROWS_AS((d2v::BucketPlan<Three>(lengths(9), {.row_multiple = 0}, 7)), d2v::OptionError);
}

TEST_CASE("buckets: order is a function of seed, epoch and index, whatever was asked before") {
  const Lengths list = lengths(120);
  const d2v::BucketOptions options{.max_samples = 800, .drop_partial = false};
  d2v::BucketPlan<Three> one(list, options, 7), two(list, options, 7), other(list, options, 8);
  const auto zero = epoch_of(one, 0), first = epoch_of(one, 1), fifth = epoch_of(one, 5);
  CHECK(epoch_of(two, 5) == fifth);
  CHECK(epoch_of(two, 0) == zero);
  CHECK(epoch_of(one, 1) == first);
  CHECK(first != zero);
  CHECK(epoch_of(other, 0) != zero);
  const auto batch = two.batch(2 * two.batches_per_epoch() - 1);  // alone
  CHECK(std::vector<std::uint32_t>(batch.ids.begin(), batch.ids.end()) == first.back());
  std::map<std::size_t, int> sizes;  // buckets come mixed, not one after the other
  int changes = 0, last = -1;
  for (std::uint64_t b = 0; b < one.batches_per_epoch(); ++b) {
    const int bucket = one.batch(b).bucket;
    changes += bucket != std::exchange(last, bucket);
  }
  CHECK(changes > 3);
}

TEST_CASE("buckets: without shuffling recordings keep their order, for evaluation") {
  d2v::BucketPlan<Three> plan(
      Lengths{90, 300, 80, 310, 70},
      {.fit = BucketFit::pad, .max_samples = 1, .max_rows = 9, .drop_partial = false, .shuffle = false}, 1);
  const auto batches = epoch_of(plan, 0);
  CHECK(batches == std::vector<std::vector<std::uint32_t>>{{0}, {2}, {4}, {1}, {3}});
  CHECK(epoch_of(plan, 3) == batches);
}

TEST_CASE("buckets: what is refused") {
  CHECK_THROWS_AS(d2v::BucketPlan<Three>(lengths(5), {.max_samples = 0}, 1), d2v::OptionError);
  CHECK_THROWS_WITH_AS(d2v::BucketPlan<Three>(Lengths{500, 50}, {.fit = BucketFit::pad, .max_rows = 2}, 1),
                       "BucketPlan: expected recordings for one batch at least (of 2 in the shortest bucket), found 2, "
                       "1 of them longer than every bucket",
                       d2v::MismatchError);
}
