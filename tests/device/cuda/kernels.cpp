// SPDX-License-Identifier: MIT
// The GPU's kernels on arrays, run on the device made of the host (host/), against the CPU's operations; all kernels in
// bfloat16; errors.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cuda/all.cuh>

#include "tests/device/cuda/cases_arrays.hpp"
#include "tests/device/cuda/compare.hpp"

using namespace data2vec;

float4 detail::gpu::shared[shared_elements];

namespace {

template <class F>
void agree(F&& make) {
  cases::HostSide<Cpu> cpu;
  cases::HostSide<Cuda> gpu;
  cases::compare(make(cpu), make(gpu));
}

}  // namespace

TEST_CASE("kernels on arrays agree with the CPU") {
  agree([](auto& side) { return cases::arrays(side); });
}
namespace {

using Half = __nv_bfloat16;

std::vector<Half> halves(const std::vector<float>& v) {
  std::vector<Half> h;
  for (const float x : v) h.push_back(__float2bfloat16(x));
  return h;
}
std::vector<float> floats(const std::vector<Half>& v) {
  std::vector<float> f;
  for (const Half x : v) f.push_back(__bfloat162float(x));
  return f;
}

/// One rounding to 8 bits of what fp32 makes of the same numbers, give or take its own rounding.
void close(const std::vector<Half>& half, const std::vector<float>& full) {
  REQUIRE(half.size() == full.size());
  const auto found = floats(half);
  for (std::size_t i = 0; i < full.size(); ++i)
    CHECK(std::abs(found[i] - full[i]) <= 0x1.01p-8f * std::abs(full[i]) + 1e-6f);
}

}  // namespace

TEST_CASE("kernels in bfloat16 are those in fp32, rounded once") {
  Cuda d;
  const auto both = [&](std::size_t outputs, auto&& run, const std::vector<float>& x, const std::vector<float>& w) {
    const auto hx = halves(x), hw = halves(w);
    const auto fx = floats(hx), fw = floats(hw);
    std::vector<Half> half(outputs);
    std::vector<float> full(outputs);
    run(hx.data(), hw.data(), half.data());
    run(fx.data(), fw.data(), full.data());
    close(half, full);
  };
  const auto w = cases::numbers(4 * 48 * 9, 2);
  both(
      10 * 96, [&](auto* x, auto* g, auto* y) { device::layer_norm<96>(d, 10, x, g, g, 1e-5, y, nullptr); },
      cases::numbers(960, 1), w);
  both(
      1001, [&](auto* x, auto*, auto* y) { device::gelu(d, 1001, x, y); }, cases::numbers(1001, 1, 5), w);
  both(
      7 * 20, [&](auto* x, auto* m, auto* y) { device::linear<12, 20>(d, 7, x, m, m + 12, y); }, cases::numbers(84, 1),
      w);
  both(
      2 * 30 * 16,
      [&](auto* x, auto* m, auto* y) {
        device::grouped_conv<ConvShape{16, 16, 4, 3, 3, 5, 6}>(d, 2, x, m, m, y);
      },
      cases::numbers(2 * 30 * 16, 1), w);
  const std::vector<int> index{2, 0, 0, -1, 2};
  both(
      3 * 8,
      [&](auto* x, auto* m, auto* y) {
        std::copy(m, m + 24, y);
        device::scatter_add_rows<8>(d, 5, x, index.data(), y);
      },
      cases::numbers(40, 1), w);
}

TEST_CASE("a device is refused what it cannot do, with the numbers") {
  Cuda d;
  const float* nothing = nullptr;
  float room[1];
  const auto attend = [&] { device::attention<1, 64, false>(d, 1, 20'000, nothing, {}, nullptr, std::data(room)); };
  CHECK_THROWS_WITH_AS(attend(),
                       "attention: the scores of 4 queries do not fit into the shared memory of a block, 232448 bytes: "
                       "expected a shorter sequence, found 20000",
                       OptionError);
  CHECK_THROWS_WITH_AS(d.scratch<float>("test", std::size_t{1} << 34),
                       "test: out of device memory: expected 65536 MiB, found 8192 MiB free of 8192 MiB", DeviceError);
}

TEST_CASE("deterministic products have the bits of their rows, whatever the rows") {
  Cuda d({.deterministic = true});
  const auto x = cases::numbers(50 * 12, 1), w = cases::numbers(12 * 20, 2);
  std::vector<float> all(50 * 20), one(20);
  device::linear<12, 20>(d, 50, x.data(), w.data(), nullptr, all.data());
  for (std::size_t i = 0; i < 50; ++i) {
    device::linear<12, 20>(d, 1, x.data() + 12 * i, w.data(), nullptr, one.data());
    CHECK(std::equal(one.begin(), one.end(), all.begin() + static_cast<std::ptrdiff_t>(20 * i)));
  }
  CHECK(d.algorithms().size() == 1);
}
