// SPDX-License-Identifier: MIT
// Features from 16 threads at once, one block of weights for all and a workspace for each: the same numbers, nothing
// allocated and no lock taken after the warm-up. tests/sanitizer compiles the same file under the thread sanitizer.
#include <doctest/doctest.h>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/resource.h>

#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/features.hpp>

#include "tests/allocation_counter.hpp"

using namespace data2vec;

namespace {

constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .average_top_k_layers = 2, .clone_batch = 2};
using Images = Vision<VisionConfig{
    .input_size = 8, .patch_size = 2, .in_chans = 1, .modality = {.prenet_depth = 1, .num_extra_tokens = 1}}>;
using Masks = RandomMask<16, MaskConfig{.mask_prob = 0.5}>;
struct Small : Data2Vec2<config, Branch<Images, Masks, LinearDecoder<DecoderConfig{.input_dropout = 0}>>> {};
using F = Features<Small>;
using Weights = Small::Parameters<const float>;
constexpr std::size_t threads = 16, sample_size = Images::sample_size;
constexpr int warm_up = 2, repeats = 50;

/// What one thread needs of its own.
struct Own {
  Buffer<float> memory{buffer_size<F::Workspace<float>>};
  Buffer<int> indices{buffer_size<F::Index>};
  std::vector<float> sample = std::vector<float>(sample_size), result = std::vector<float>(F::S * F::D);
  Cpu device = {};

  void run(const Weights& weights) {
    const auto y = features<Small, 1>(device, weights, View<const float, 1, sample_size>{sample.data()},
                                      bind<F::Workspace<float>>(memory.data()), bind<F::Index>(indices.data()));
    std::copy(y.data, y.data + y.size, result.begin());
  }
};

/// Times that the calling thread gave up its core to wait for something.
long waits() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

/// Runs all threads at once; `start` is called when all are warm and none has gone on, `end` when all are done.
/// Returns how often each thread waited between the two.
template <class Start, class End>
std::vector<long> run_all(const Weights& weights, std::vector<Own>& own, Start start, End end) {
  std::vector<long> waited(own.size());
  const auto at_barrier = [&, phase = 0]() mutable noexcept { phase++ == 0 ? start() : end(); };
  std::barrier barrier(static_cast<std::ptrdiff_t>(own.size()), at_barrier);
  std::vector<std::thread> team;
  for (std::size_t i = 0; i < own.size(); ++i)
    team.emplace_back([&, i] {
      for (int n = 0; n < warm_up; ++n) own[i].run(weights);
      barrier.arrive_and_wait();
      const long before = waits();
      for (int n = 0; n < repeats; ++n) own[i].run(weights);
      waited[i] = waits() - before;
      barrier.arrive_and_wait();
    });
  for (auto& thread : team) thread.join();
  return waited;
}

struct Setting {
  Buffer<float> weights{buffer_size<Weights>};
  std::vector<Own> own = std::vector<Own>(threads);
  std::vector<std::vector<float>> expected = {};

  Setting() {
    Small::initialise(weights.data(), 5);
    for (std::size_t i = 0; i < threads; ++i) {
      for (std::size_t k = 0; k < sample_size; ++k)
        own[i].sample[k] = std::sin(0.3f * static_cast<float>(k) + static_cast<float>(i));
      own[i].run(parameters());  // alone
      expected.push_back(own[i].result);
      std::fill(own[i].result.begin(), own[i].result.end(), 0.0f);
    }
  }
  Weights parameters() const { return bind<Weights>(weights.data()); }
  std::size_t wrong() const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < threads; ++i) count += own[i].result != expected[i];
    return count;
  }
};

}  // namespace

TEST_CASE("features from 16 threads: the numbers of one thread alone, for different samples") {
  Setting s;
  CHECK(s.expected[0] != s.expected[1]);
  run_all(
      s.parameters(), s.own, [] {}, [] {});
  CHECK(s.wrong() == 0);
}

#if defined(D2V_COUNTS_ALLOCATIONS)

namespace {
std::atomic<long> locks{0};
}

extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  static const auto next = reinterpret_cast<int (*)(pthread_mutex_t*)>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  if (counting.load(std::memory_order_relaxed)) locks.fetch_add(1, std::memory_order_relaxed);
  return next(mutex);
}

TEST_CASE("features from 16 threads: nothing is allocated and no lock is taken after the warm-up") {
  Setting s;
  std::mutex mutex;
  CHECK(allocations_of([&] {  // the counters see what they are to see
          const std::scoped_lock lock(mutex);
          use(std::malloc(10));
        }) == 1);
  CHECK(locks == 1);
  allocations = 0;
  locks = 0;
  const auto waited = run_all(
      s.parameters(), s.own, [] { counting = true; }, [] { counting = false; });
  CHECK(allocations == 0);
  CHECK(locks == 0);
  CHECK(waited == std::vector<long>(threads));  // whatever a thread could wait for
  CHECK(s.wrong() == 0);
}

#elif !defined(__SANITIZE_THREAD__)

TEST_CASE("features from 16 threads: nothing is allocated and no lock is taken after the warm-up") {
  std::printf("SKIPPED: features from 16 threads: the allocator of this build cannot be counted\n");
}

#endif
