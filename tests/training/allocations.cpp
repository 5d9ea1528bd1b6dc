// SPDX-License-Identifier: MIT
// A step allocates nothing, and neither do features: the allocator of the C library is counted, whoever calls it and on
// whatever thread, operator new included.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include <data2vec/evaluation/features.hpp>
#include <data2vec/finetune/classifier.hpp>

#include "support.hpp"
#include "tests/allocation_counter.hpp"

using namespace training_support;

#if defined(D2V_COUNTS_ALLOCATIONS)

TEST_CASE("the counter counts every way to allocate, on every thread") {
  CHECK(allocations_of([] {}) == 0);
  CHECK(allocations_of([] {
          void* p = std::malloc(10);
          use(p);
          std::free(p);
        }) == 1);
  CHECK(allocations_of([] {
          void* p = std::calloc(3, 10);
          use(p);
          p = std::realloc(p, 1000);
          use(p);
          std::free(p);
        }) == 2);
  CHECK(allocations_of([] {
          void* p = std::aligned_alloc(64, 128);
          use(p);
          std::free(p);
          void* q = nullptr;
          CHECK(posix_memalign(&q, 64, 128) == 0);
          use(q);
          std::free(q);
        }) >= 2);
  CHECK(allocations_of([] {
          auto* p = new int(3);
          use(p);
          delete p;
        }) == 1);
  CHECK(allocations_of([] {
          Buffer<float> buffer(100);
          use(buffer.data());
        }) == 1);
  ThreadTeam team(3);
  CHECK(allocations_of([&] {
          team.run([](int) {
            std::vector<int> v(5);
            use(v.data());
          });
        }) == 3);
}

TEST_CASE_TEMPLATE("a step allocates nothing after the first, whatever the threads", Model, Tiny, Noisy) {
  for (const int threads : {1, 2, 3}) {
    INFO(threads, " threads");
    Trainer<Model, Cpu> trainer(fast_options<Model>(threads));
    const Samples s = waves(2 * Trainer<Model, Cpu>::unit_samples), targets = waves(s.ids.size(), 1000);
    trainer.step(s.batch());
    CHECK(allocations_of([&] {
            for (int i = 0; i < 3; ++i) trainer.step({s.values, s.ids, targets.values});
          }) == 0);
    // A batch that cannot be learned from is no exception.
    Samples broken = s;
    broken.values[0] = std::numeric_limits<float>::infinity();
    CHECK(allocations_of([&] { CHECK(trainer.step(broken.batch()).skipped); }) == 0);
    CHECK(allocations_of([&] { trainer.restart(); }) == 0);
  }
}

TEST_CASE("features allocate nothing, from the first call on") {
  using F = Features<Tiny, 4>;
  Buffer<float> weights(buffer_size<Tiny::Parameters<float>>), memory(buffer_size<F::Workspace<float>>);
  Buffer<int> indices(buffer_size<F::Index>);
  Tiny::initialise(weights.data(), 1);
  const Samples s = waves(4);
  const auto parameters = bind<Tiny::Parameters<const float>>(static_cast<const float*>(weights.data()));
  float pooled[4 * F::D];
  CHECK(allocations_of([&] {
          Cpu device;
          for (int layer = 0; layer <= F::depth; ++layer) {
            const auto y = features<Tiny, 4>(device, parameters, View<const float, 4, 64>{s.values.data()},
                                             bind<F::Workspace<float>>(memory.data()), bind<F::Index>(indices.data()),
                                             layer);
            F::mean_pool(device, y, pooled);
          }
        }) == 0);
}

TEST_CASE("a step of fine-tuning allocates nothing") {
  using Net = Classifier<Tiny, ClassifierConfig{.num_classes = 3}>;
  using Parameters = Net::Parameters<float>;
  constexpr int B = 4;
  Buffer<float> weights(buffer_size<Parameters>), gradient(buffer_size<Parameters>);
  Buffer<float> memory(buffer_size<Net::Workspace<float, B>>);
  Buffer<int> indices(buffer_size<Net::Index<B>>);
  initialise_tensors<Parameters>(weights.data(), 1, false);
  const Samples s = waves(B);
  const std::int32_t labels[B] = {0, 1, 2, 1};
  CHECK(allocations_of([&] {
          Cpu device;
          const Pass<Cpu, true> pass{device, {1, 0, s.ids.data(), 1}, {}};
          Net::step(pass, bind<Net::Parameters<const float>>(static_cast<const float*>(weights.data())),
                    bind<Parameters>(gradient.data()), View<const float, B, 64>{s.values.data()},
                    Net::Labels<float>{.hard = labels}, B, bind<Net::Workspace<float, B>>(memory.data()),
                    bind<Net::Index<B>>(indices.data()));
        }) == 0);
}

#else

TEST_CASE("a step and features allocate nothing") {
  std::printf("SKIPPED: training/allocations: the allocator can only be counted with glibc and without sanitizers\n");
}

#endif
