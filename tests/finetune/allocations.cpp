// SPDX-License-Identifier: MIT
// A step of fine-tuning, logits and an evaluation allocate nothing: the C library's allocator is counted, on all
// threads.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdio>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/finetuner.hpp>

#include "tests/allocation_counter.hpp"

using namespace data2vec;

#if defined(D2V_COUNTS_ALLOCATIONS)

TEST_CASE("fine-tuning: nothing is allocated, a short last chunk included") {
  using Images = Vision<VisionConfig{.input_size = 8, .patch_size = 4, .in_chans = 1}>;
  using Branch_ = Branch<Images, RandomMask<Images::tokens, MaskConfig{.mask_prob = 0.5}>,
                         LinearDecoder<DecoderConfig{.input_dropout = 0}>>;
  static constexpr Config config{
      .embed_dim = 8, .depth = 2, .num_heads = 2, .average_top_k_layers = 2, .clone_batch = 2};
  struct Model : Data2Vec2<config, Branch_> {};
  CHECK(allocations_of([] {  // the counter sees vectors and buffers
          const std::vector<float> vector(10);
          const Buffer<float> buffer(10);
          asm volatile("" : : "r"(vector.data()), "r"(buffer.data()) : "memory");
        }) == 2);
  for (const std::int64_t frozen : {0, 100}) {
    FineTunerOptions options = FineTunerOptions::of<Model>(0.2);
    options.threads = 3;
    options.freeze_finetune_updates = frozen;
    FineTuner<Model, ClassifierConfig{.num_classes = 3, .drop_path = true}, Cpu, 4> tuner(options);
    constexpr std::size_t n = 27;
    std::vector<float> samples(n * Images::sample_size, 0.5f), soft(n * 3, 0.25f), logits(n * 3);
    std::vector<std::int32_t> labels(n, 1);
    std::vector<std::uint32_t> ids(n);
    CHECK(allocations_of([&] { tuner.step(samples, labels, ids); }) == 0);
    CHECK(allocations_of([&] { tuner.step(samples, soft, ids); }) == 0);
    CHECK(allocations_of([&] { tuner.logits(samples, logits); }) == 0);
    CHECK(allocations_of([&] {
            tuner.evaluate(n, [](std::int64_t i, float* x) {
              std::fill(x, x + Images::sample_size, static_cast<float>(i));
              return 2;
            });
          }) == 0);
  }
}

#else

TEST_CASE("fine-tuning: nothing is allocated, a short last chunk included") {
  std::printf("SKIPPED: fine-tuning: nothing is allocated: the allocator of this build cannot be counted\n");
}

#endif
