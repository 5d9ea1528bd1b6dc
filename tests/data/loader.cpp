// SPDX-License-Identifier: MIT
// Batches made ahead: the same for every depth and number of threads, errors when they are due, clean ends.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <data2vec/data/loader.hpp>

namespace d2v = data2vec;

namespace {

std::atomic<long> allocations{0};

void fill(std::uint64_t index, float* samples, std::uint32_t* ids) {
  if (index % 3 == 1) std::this_thread::sleep_for(std::chrono::microseconds(200));  // finished out of order
  for (std::uint32_t i = 0; i < 4; ++i) {
    ids[i] = static_cast<std::uint32_t>(index * 4 + i);
    for (std::uint32_t k = 0; k < 5; ++k) samples[i * 5 + k] = static_cast<float>(ids[i] * 10 + k);
  }
}

std::vector<float> run(const d2v::PrefetchOptions& options, int batches) {
  d2v::Prefetcher batches_of_four(4, 5, fill, options);
  std::vector<float> all;
  for (int b = 0; b < batches; ++b) {
    const auto batch = batches_of_four.next();
    CHECK(batch.index == options.first + static_cast<std::uint64_t>(b));
    REQUIRE(batch.samples.size() == 20);
    REQUIRE(batch.ids.size() == 4);
    if (b % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));  // the ring is full meanwhile
    all.insert(all.end(), batch.samples.begin(), batch.samples.end());
    all.insert(all.end(), batch.ids.begin(), batch.ids.end());
  }
  return all;
}

const d2v::PrefetchOptions kinds[] = {{.depth = 0}, {.depth = 1}, {.depth = 4}, {.depth = 4, .threads = 3},
                                      {.depth = 1, .threads = 8}, {.depth = 0, .threads = 2}};

}  // namespace

// Not inlined: g++ would see malloc and free in the place of new and delete, and warn.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  const auto step = static_cast<std::size_t>(alignment);
  if (void* p = std::aligned_alloc(step, (size + step - 1) / step * step)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }

TEST_CASE("loader: the same batches for every depth and number of threads") {
  const auto expected = run({.depth = 0}, 60);
  CHECK(expected[24] == 40);  // after the 20 numbers and 4 ids of batch 0: sample 4, number 0
  for (const auto& options : kinds) {
    CAPTURE(options.depth);
    CAPTURE(options.threads);
    CHECK(run(options, 60) == expected);
  }
}

TEST_CASE("loader: starting later gives the later batches") {
  const auto whole = run({.depth = 2}, 30);
  const auto rest = run({.depth = 2, .threads = 2, .first = 10}, 20);
  CHECK(rest == std::vector<float>(whole.begin() + 10 * 24, whole.end()));
}

TEST_CASE("loader: an exception comes with its batch, not earlier, and stays") {
  for (const auto& options : kinds) {
    d2v::Prefetcher batches(4, 5, [](std::uint64_t index, float* samples, std::uint32_t* ids) {
      if (index >= 7) throw std::runtime_error("batch " + std::to_string(index));
      fill(index, samples, ids);
    }, options);
    for (int b = 0; b < 7; ++b) CHECK(batches.next().ids[0] == static_cast<std::uint32_t>(4 * b));
    for (int again = 0; again < 3; ++again) CHECK_THROWS_WITH_AS(batches.next(), "batch 7", std::runtime_error);
  }
}

TEST_CASE("loader: the end is kept, and nothing beyond it is made") {
  for (const auto& base : kinds) {
    auto options = base;
    options.end = 5;
    std::atomic<std::uint64_t> largest{0};
    {
      d2v::Prefetcher batches(4, 5, [&](std::uint64_t index, float* samples, std::uint32_t* ids) {
        std::uint64_t seen = largest;
        while (seen < index && !largest.compare_exchange_weak(seen, index)) {}
        fill(index, samples, ids);
      }, options);
      for (int b = 0; b < 5; ++b) batches.next();
      CHECK_THROWS_AS(batches.next(), d2v::OptionError);
    }
    CHECK(largest == 4);
  }
}

TEST_CASE("loader: ends at any moment, also with batches nobody asked for") {
  for (int asked = 0; asked < 5; ++asked)
    for (const auto& options : kinds) {
      d2v::Prefetcher batches(4, 5, fill, options);
      for (int b = 0; b < asked; ++b) batches.next();
    }
}

TEST_CASE("loader: a batch in use is not written to while others are made") {
  d2v::Prefetcher batches(4, 5, fill, {.depth = 2, .threads = 2});
  for (int b = 0; b < 20; ++b) {
    const auto batch = batches.next();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // time to fill the rest of the ring
    CHECK(batch.ids[3] == static_cast<std::uint32_t>(4 * b + 3));
    CHECK(batch.samples[19] == static_cast<float>((4 * b + 3) * 10 + 4));
  }
}

TEST_CASE("loader: each thread has its own copy of the function") {
  struct Counting {  // scratch memory: a race for the thread sanitizer if it were shared
    std::vector<float> scratch = std::vector<float>(20);
    void operator()(std::uint64_t index, float* samples, std::uint32_t* ids) {
      fill(index, scratch.data(), ids);
      for (std::size_t i = 0; i < 20; ++i) samples[i] = scratch[i];
    }
  };
  d2v::Prefetcher batches(4, 5, Counting{}, {.depth = 6, .threads = 4});
  for (int b = 0; b < 50; ++b) CHECK(batches.next().samples[0] == static_cast<float>(40 * b));
}

TEST_CASE("loader: no allocation for a batch") {
  for (const auto& options : kinds) {
    d2v::Prefetcher batches(4, 5, fill, options);
    CHECK(allocations > 0);  // the count works
    batches.next();
    const long before = allocations;
    for (int b = 0; b < 50; ++b) batches.next();
    const long after = allocations;
    CHECK(after == before);
  }
}

TEST_CASE("loader: options outside of their range are named") {
  CHECK_THROWS_AS(d2v::Prefetcher(0, 5, fill), d2v::OptionError);
  CHECK_THROWS_AS(d2v::Prefetcher(4, 0, fill), d2v::OptionError);
  CHECK_THROWS_AS(d2v::Prefetcher(4, 5, nullptr), d2v::OptionError);
  CHECK_THROWS_AS(d2v::Prefetcher(4, 5, fill, {.depth = -1}), d2v::OptionError);
  CHECK_THROWS_WITH_AS(d2v::Prefetcher(4, 5, fill, {.threads = 0}),
                       "Prefetcher: PrefetchOptions::threads: expected 1 or more, found 0", d2v::OptionError);
}
