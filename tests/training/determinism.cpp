// SPDX-License-Identifier: MIT
// What weights and features must not depend on: threads, alignment, restarts, the size of a batch and places in it; and
// what they must depend on.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include <data2vec/evaluation/features.hpp>

#include "support.hpp"

using namespace training_support;

namespace {

constexpr std::size_t n = 24;
constexpr int steps = 6;

/// Everything that a training leaves behind.
struct Result {
  std::vector<float> weights, teacher;
  std::vector<double> losses;
  bool operator==(const Result& other) const {
    return same_bits(weights, other.weights) && same_bits(teacher, other.teacher) && losses == other.losses;
  }
};

template <class Model>
Result train(Trainer<Model, Cpu>& trainer, int updates = steps, std::size_t samples = n) {
  Result result;
  for (int i = 0; i < updates; ++i) {
    const Samples s = waves(samples, static_cast<std::uint32_t>(i) * n);
    result.losses.push_back(trainer.step(s.batch()).loss);
  }
  result.weights = copy(std::as_const(trainer).weights());
  result.teacher = copy(trainer.teacher());
  return result;
}

template <class Model>
Result trained(int threads, std::uint64_t seed = 1, std::size_t samples = n) {
  TrainerOptions options = fast_options<Model>(threads);
  options.seed = seed;
  Trainer<Model, Cpu> trainer(options);
  return train(trainer, steps, samples);
}

/// n numbers behind `offset` bytes from a multiple of 64.
template <class T>
std::span<T> at_offset(std::vector<unsigned char>& memory, const std::vector<T>& values, std::size_t offset) {
  memory.assign(values.size() * sizeof(T) + 192, 0);
  void* start = memory.data();
  std::size_t space = memory.size();
  std::align(64, 1, start, space);
  T* const data = reinterpret_cast<T*>(static_cast<unsigned char*>(start) + offset);
  std::copy(values.begin(), values.end(), data);
  return {data, values.size()};
}

template <class Model, int B>
std::vector<float> features_of(const std::vector<float>& weights, const std::vector<float>& samples, int layer) {
  using F = Features<Model, B>;
  const Buffer<float> parameters = [&] {
    Buffer<float> buffer(weights.size());
    std::copy(weights.begin(), weights.end(), buffer.begin());
    return buffer;
  }();
  Buffer<float> memory(buffer_size<typename F::template Workspace<float>>);
  Buffer<int> indices(buffer_size<typename F::Index>);
  Cpu device;
  const auto y = features<Model, B>(device, bind<typename Model::template Parameters<const float>>(parameters.data()),
                                    View<const float, B, 64>{samples.data()},
                                    bind<typename F::template Workspace<float>>(memory.data()),
                                    bind<typename F::Index>(indices.data()), layer);
  return {y.data, y.data + y.size};
}

}  // namespace

TEST_CASE_TEMPLATE("threads: weights have the same bits for 1, 2, 3 and 5", Model, Tiny, Noisy) {
  constexpr std::size_t samples = 5 * Trainer<Model, Cpu>::unit_samples;  // work for five threads
  const Result one = trained<Model>(1, 1, samples);
  for (const int threads : {2, 3, 5}) {
    INFO(threads, " threads");
    CHECK(trained<Model>(threads, 1, samples) == one);
  }
}

TEST_CASE_TEMPLATE("alignment: the batch may lie anywhere in memory (trap: sums that depend on byte offsets)", Model,
                   Tiny, Noisy) {
  const Result expected = trained<Model>(1);
  for (std::size_t offset = 0; offset < 64; offset += 8) {
    INFO("offset ", offset);
    Trainer<Model, Cpu> trainer(fast_options<Model>());
    std::vector<unsigned char> memory, id_memory;
    for (int i = 0; i < steps; ++i) {
      const Samples s = waves(n, static_cast<std::uint32_t>(i) * n);
      trainer.step({at_offset(memory, s.values, offset), at_offset(id_memory, s.ids, offset)});
    }
    CHECK(same_bits(trainer.weights(), expected.weights));
  }
}

TEST_CASE_TEMPLATE("restart: the same training again, to the bit", Model, Tiny, Noisy) {
  Trainer<Model, Cpu> trainer(fast_options<Model>());
  const Result first = train(trainer);
  trainer.restart();
  CHECK(trainer.updates() == 0);
  CHECK(train(trainer) == first);
  trainer.restart();
  train(trainer, 2);  // an interrupted run leaves nothing behind
  trainer.restart();
  CHECK(train(trainer) == first);
}

TEST_CASE_TEMPLATE("seed and data: other ones give other weights", Model, Tiny, Noisy) {
  const Result one = trained<Model>(1, 1), two = trained<Model>(1, 2);
  CHECK(!same_bits(one.weights, two.weights));
  CHECK(one.losses != two.losses);
}

TEST_CASE("dropout is on in the model that is said to have it") {
  TrainerOptions without = fast_options<Noisy>();
  without.rates = {};
  Trainer<Noisy, Cpu> a(fast_options<Noisy>()), b(without);
  const Samples s = waves(n);
  CHECK(a.step(s.batch()).loss != b.step(s.batch()).loss);
}

TEST_CASE_TEMPLATE("batch order: draws follow the id of a sample, not its place", Model, Tiny, Noisy) {
  // A batch of one unit in reversed order has the same summands in another order: equal up to rounding. What the
  // gradient is made of differs much more when ids and samples are paired otherwise.
  const Samples s = waves(n);
  Samples reversed = s, swapped = s;
  for (std::size_t i = 0; i < n; ++i) {
    reversed.ids[i] = s.ids[n - 1 - i];
    std::copy_n(&s.values[(n - 1 - i) * pixels], pixels, &reversed.values[i * pixels]);
    swapped.ids[i] = s.ids[n - 1 - i];
  }
  Trainer<Model, Cpu> a(fast_options<Model>()), b(fast_options<Model>()), c(fast_options<Model>());
  const StepReport ra = a.step(s.batch()), rb = b.step(reversed.batch()), rc = c.step(swapped.batch());
  CHECK(rb.loss == doctest::Approx(ra.loss).epsilon(1e-5));
  CHECK(std::fabs(rc.loss - ra.loss) > 1e-4 * ra.loss);
  double largest = 0, apart = 0, other = 0;
  for (std::size_t i = 0; i < a.gradient().size(); ++i) {
    const auto g = static_cast<double>(a.gradient()[i]);
    largest = std::max(largest, std::fabs(g));
    apart = std::max(apart, std::fabs(g - static_cast<double>(b.gradient()[i])));
    other = std::max(other, std::fabs(g - static_cast<double>(c.gradient()[i])));
  }
  // Sums of some n * masks * tokens terms of about the size of the largest gradient.
  CHECK(apart < 8 * std::numeric_limits<float>::epsilon() * std::sqrt(static_cast<double>(n) * 2 * 16) * largest);
  CHECK(other > 1e-3 * largest);
}

TEST_CASE("update: the masks of a sample are other ones at the next update") {
  TrainerOptions options = fast_options<Tiny>();
  options.schedule = ConstantSchedule{.lr = 0};
  Trainer<Tiny, Cpu> trainer(options);
  const Samples s = waves(n);
  const double first = trainer.step(s.batch()).loss, second = trainer.step(s.batch()).loss;
  CHECK(first != second);
}

TEST_CASE_TEMPLATE("features: one sample alone has the bits that it has at every slot of a batch of 8 "
                   "(traps: a product with one column, vector lanes and scalar tails)",
                   Model, Tiny, Noisy) {
  Buffer<float> start(buffer_size<typename Model::template Parameters<float>>);
  Model::initialise(start.data(), 5);
  const std::vector<float> weights(start.begin(), start.end());
  const Samples s = waves(8);
  for (int layer = 0; layer <= Model::config.depth; ++layer) {
    const std::vector<float> one = features_of<Model, 1>(weights, s.values, layer);
    for (std::size_t slot = 0; slot < 8; ++slot) {
      INFO("layer ", layer, " slot ", slot);
      Samples moved = waves(8, 100);  // other neighbours
      std::copy_n(s.values.data(), pixels, &moved.values[slot * pixels]);
      const std::vector<float> eight = features_of<Model, 8>(weights, moved.values, layer);
      REQUIRE(eight.size() == 8 * one.size());
      CHECK(same_bits(one, std::span(eight).subspan(slot * one.size(), one.size())));
    }
  }
}
