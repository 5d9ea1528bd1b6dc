// SPDX-License-Identifier: MIT
// The GPU's kernels of speech and text, run on the device made of the host (host/), against the CPU's operations.
#include <doctest/doctest.h>

#include <set>

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

TEST_CASE("lanes of frames cover a sequence, and every weight has its place") {
  check_lanes<StridedConvShape{1, 512, 10, 5, 320}>();
  check_lanes<StridedConvShape{512, 4, 3, 2, 64}>();
  check_lanes<StridedConvShape{4, 6, 2, 3, 14}>();
  check_lanes<StridedConvShape{3, 5, 7, 2, 8}>();
  check_lanes<StridedConvShape{1, 1, 3, 2, 2}>();
}
