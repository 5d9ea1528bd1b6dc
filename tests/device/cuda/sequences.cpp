// SPDX-License-Identifier: MIT
// The GPU's kernels of speech and text, run on the device made of the host (host/), against the CPU's operations.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cuda/all.cuh>

#include "tests/device/cuda/cases_sequences.hpp"
#include "tests/device/cuda/compare.hpp"

using namespace data2vec;

float4 detail::gpu::shared[shared_elements];

TEST_CASE("kernels of speech and text agree with the CPU") {
  cases::HostSide<Cpu> cpu;
  cases::HostSide<Cuda> gpu;
  cases::compare(cases::speech_and_text<float>(cpu, false), cases::speech_and_text<float>(gpu, false));
}
TEST_CASE("kernels of speech and text on bfloat16 agree with the CPU") {
  cases::HostSide<Cpu> cpu;
  cases::HostSide<Cuda> gpu;
  cases::compare(cases::speech_and_text<float>(cpu, true), cases::speech_and_text<__nv_bfloat16>(gpu, true));
}

namespace {

/// Frames of all lanes are those of the sequence, once each, and windows of one lane do not meet.
template <StridedConvShape S>
void check_lanes() {
  using L = detail::gpu::FrameLanes<S>;
  static_assert(L::lanes * L::step >= S.window());
  std::set<int> frames;
  for (int lane = 0; lane < L::lanes; ++lane)
    for (int i = 0; i < L::frames(lane); ++i) CHECK(frames.insert(lane + i * L::lanes).second);
  CHECK(static_cast<int>(frames.size()) == S.out_length());
  if (!frames.empty()) CHECK(*frames.rbegin() == S.out_length() - 1);
  std::set<std::size_t> places;
  for (std::size_t i = 0; i < std::size_t{S.weight_size()}; ++i) places.insert(detail::gpu::ordered_place<S>(i));
  CHECK(places.size() == std::size_t{S.weight_size()});
  CHECK(*places.rbegin() == std::size_t{S.weight_size()} - 1);
}

}  // namespace

TEST_CASE("runs of sorted keys begin where they should, also those of no key") {
  const std::vector<unsigned> keys{0, 0, 2, 2, 2, 5, detail::gpu::no_target};
  const auto count = static_cast<int>(keys.size());
  for (unsigned key = 0; key < 8; ++key)
    CHECK(detail::gpu::first_place(keys.data(), count, key) ==
          std::lower_bound(keys.begin(), keys.end(), key) - keys.begin());
  CHECK(detail::gpu::first_place(keys.data(), 0, 3) == 0);
}

TEST_CASE("deferred sums are those that are returned otherwise, and nothing waits for them") {
  constexpr int frames = 6;
  Cuda d;
  const auto logits = cases::numbers(2 * frames * 5, 1, 4);
  const std::vector<std::int32_t> labels{1, 2, 1, 1, 1, 1}, lengths{frames, 3}, targets{3, 3};
  const auto x = cases::numbers(3 * 8, 2), y = cases::numbers(4 * 8, 3);
  const std::vector<int> negatives{1, 2, 3, 0, 0, 1};
  std::vector<double> usage(10);
  std::vector<float> cosines(9), dx(24), dy(32), scratch(7);
  double sums[6];
  const auto run = [&] {
    const CtcSums ctc = device::ctc<5>(d, 2, frames, logits.data(), lengths.data(), 3, labels.data(), targets.data(),
                                       {}, 1, nullptr, nullptr, nullptr);
    const auto use = device::perplexities<CodebookShape{2, 5, 1}>(d, 6, logits.data(), usage.data());
    const auto contrast = device::contrast<8>(d, 3, 4, 2, x.data(), y.data(), negatives.data(), 0.1, 1, cosines.data(),
                                              dx.data(), dy.data(), scratch.data());
    const double all[6]{ctc.loss, static_cast<double>(ctc.impossible), use.code, use.prob, contrast.loss,
                        contrast.correct};
    std::copy_n(all, 6, sums);
    return ctc.first_impossible;
  };
  CHECK(run() == 1);
  const std::vector<double> returned(sums, sums + 6);
  std::fill_n(d.deferred_sums(), 6, 1.0);
  d.defer_sums();
  const std::size_t waits = host_device::waits;
  CHECK(run() == -1);
  CHECK(host_device::waits == waits);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(sums[i] == 0);
    CHECK(d.deferred_sums()[i] == doctest::Approx(1 + returned[i]));
  }
  CHECK(returned[1] == 1);
}

TEST_CASE("lanes of frames cover a sequence, and every weight has its place") {
  check_lanes<StridedConvShape{1, 512, 10, 5, 320}>();
  check_lanes<StridedConvShape{512, 4, 3, 2, 64}>();
  check_lanes<StridedConvShape{4, 6, 2, 3, 14}>();
  check_lanes<StridedConvShape{3, 5, 7, 2, 8}>();
  check_lanes<StridedConvShape{1, 1, 3, 2, 2}>();
}
