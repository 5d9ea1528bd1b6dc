// SPDX-License-Identifier: MIT
// How the benches measure: which calls count, and what the machine is asked.
#include <doctest/doctest.h>

#include <thread>

#include <data2vec/device/cpu/cpu.hpp>

#include "bench/timing.hpp"

using namespace bench;

TEST_CASE("bench timing: calls after the warm-up are kept, in order") {
  int calls = 0;
  const auto longer_each_time = [&] { std::this_thread::sleep_for(std::chrono::milliseconds(5 * ++calls)); };
  const Measured measured = measure(longer_each_time, 2, 3, 0);
  CHECK(calls == 5);
  REQUIRE(measured.calls.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(measured.calls[i][0] >= 5e-3 * static_cast<double>(i + 3));
  CHECK(measured.first >= 5e-3);
  CHECK(measured.process_start_to_first > 0);
  CHECK(spread(measured, 1).max < spread(measured, 0).max);  // sleeping takes wall time alone
}

TEST_CASE("bench timing: the budget ends the repetitions, the warm-up excepted, and one call is always made") {
  const auto sleep = [] { std::this_thread::sleep_for(std::chrono::milliseconds(4)); };
  CHECK(measure(sleep, 3, 1000, 1e-3).calls.size() == 1);
  const std::size_t within = measure(sleep, 0, 1000, 0.03).calls.size();
  CHECK(within >= 1);
  CHECK(within <= 8);  // 8 sleeps of at least 4 ms are over 30 ms
}

TEST_CASE("bench timing: least, middle and greatest of a column") {
  Measured measured;
  for (const double x : {3.0, 1.0, 4.0, 2.0}) measured.calls.push_back({x, 10 * x, 0});
  CHECK(spread(measured, 0).min == 1);
  CHECK(spread(measured, 0).median == 2.5);  // as Python's statistics.median
  CHECK(spread(measured, 1).max == 40);
  measured.calls.push_back({9, 9, 0});
  CHECK(spread(measured, 0).median == 3);
}

TEST_CASE("bench timing: the age of the process grows as the clock does") {
  const double before = process_age(), from = clock_seconds(CLOCK_MONOTONIC);
  REQUIRE(before > 0);
  CHECK(before < 600);  // the time limit of a test
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double grown = process_age() - before, passed = clock_seconds(CLOCK_MONOTONIC) - from;
  CHECK(grown >= 0.02);
  CHECK(grown < passed + 0.02);
}

TEST_CASE("bench timing: memory, waiting and multiply-adds are measured") {
  CHECK(peak_rss_bytes() > 1e5);
  CHECK(queue_wait() >= 0);
  CHECK(!cpu_name().empty());
  const double one = fma_peak<data2vec::Cpu::isa>(1);
  CHECK(one > 1e7);   // a core that needs 200 cycles of 2 GHz for a multiply-add
  CHECK(one < 1e12);  // 64 operations a cycle at 15 GHz
}
