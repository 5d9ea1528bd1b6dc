// SPDX-License-Identifier: MIT
// A step of fine-tuning, logits and an evaluation allocate nothing: the C library's allocator is counted, on all
// threads.
#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/finetuner.hpp>

using namespace data2vec;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define D2V_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define D2V_TEST_SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(D2V_TEST_SANITIZED)

namespace {
std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

template <class F>
long allocations_of(F&& f) {
  allocations = 0;
  counting = true;
  f();
  counting = false;
  return allocations;
}
}  // namespace

extern "C" {  // what operator new and the library itself come down to
void* __libc_malloc(std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void* malloc(std::size_t size) noexcept {
  if (counting) ++allocations;
  return __libc_malloc(size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  if (counting) ++allocations;
  return __libc_memalign(alignment, size);
}
}

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
