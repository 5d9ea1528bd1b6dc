// SPDX-License-Identifier: MIT
// Skipped files: counted once, by reason, up to the limit.
#include <doctest/doctest.h>

#include <map>
#include <string>

#include <data2vec/data/skips.hpp>

namespace d2v = data2vec;

TEST_CASE("skips: reasons, the first five names, the limit") {
  d2v::detail::SkipLog log("root", 20, 0.3, "Options", "broken things");
  for (std::size_t i = 0; i < 6; ++i) {
    log.add(i, i % 2 ? "odd" : "even", "file " + std::to_string(i));
    log.add(i, "again", "file " + std::to_string(i));  // counted once
  }
  CHECK(log.broken(5));
  CHECK(!log.broken(6));
  const d2v::SkipReport report = log.report();
  CHECK(report.reasons == std::map<std::string, int>{{"even", 3}, {"odd", 3}});
  CHECK(report.total() == 6);
  CHECK(report.first.size() == 5);
  CHECK_THROWS_WITH_AS(log.add(7, "odd", "file 7"),
                       "root: broken things: expected at most 6 of 20, found 7 (3 even, 4 odd); the first: file 0; "
                       "file 1; file 2; file 3; file 4",
                       d2v::FileError);
  CHECK_THROWS_WITH_AS(d2v::detail::SkipLog("root", 20, 1.5, "Options", ""),
                       "Options::max_broken: expected 0 to 1, found 1.500000", d2v::OptionError);
}
