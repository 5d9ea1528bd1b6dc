// SPDX-License-Identifier: MIT
// Instruction sets: kernels of different sets are different types, and agree within rounding.
#include <doctest/doctest.h>

#include <typeinfo>

#include <data2vec/device/cpu/all.hpp>

#include "support.hpp"

using namespace data2vec;

static_assert(Device<Cpu> && Device<BasicCpu<isa::Portable>>);
static_assert(!std::is_same_v<kernel::Linear<BasicCpu<isa::Avx2>>, kernel::Linear<BasicCpu<isa::Avx512>>>);

TEST_CASE("vectors have the size of the set") {
  CHECK(sizeof(Vec<float, isa::Portable>) == 16);
  CHECK(sizeof(Vec<float, isa::Native>) == isa::Native::vector_bytes);
  CHECK(Lanes<double, isa::Native>::size == isa::Native::vector_bytes / 8);
  CHECK(typeid(Lanes<float, isa::Portable>) != typeid(Lanes<float, isa::Avx2>));
}

TEST_CASE("the sets agree within rounding") {
  constexpr int In = 96, Out = 41, rows = 9;
  Cpu native;
  BasicCpu<isa::Portable> portable;
  const auto x = support::numbers<float>(rows * In, 1), w = support::numbers<float>(Out * In, 2);
  std::vector<float> a(rows * Out), b(rows * Out);
  device::linear<In, Out>(native, rows, x.data(), w.data(), nullptr, a.data());
  device::linear<In, Out>(portable, rows, x.data(), w.data(), nullptr, b.data());
  CHECK(support::largest_difference(a, b) < support::tolerance<float>(In, support::largest(a)));
  device::gelu(native, a.size(), a.data(), a.data());
  device::gelu(portable, b.size(), b.data(), b.data());
  CHECK(support::largest_difference(a, b) < support::tolerance<float>(In, support::largest(a)));
}
