// SPDX-License-Identifier: MIT
// The memory that a step works in: as much as the type says, all of it written before it is read.
#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <vector>

#include <data2vec/data2vec.hpp>

#include "small_models.hpp"

using namespace data2vec;
using namespace small_models;

namespace {

/// Steps of B samples in a workspace between two guards. All weights and samples are finite, the workspace starts as
/// NaN: what is read before it is written shows up in the gradients.
template <class Model, int B>
void check_workspace() {
  using Br = typename Model::First;
  using Parameters = typename Model::template Parameters<float>;
  using Indices = typename Br::template Indices<B>;
  using Workspace = typename Br::template Workspace<float, B>;
  constexpr std::size_t size = Model::template workspace_size<B>, guard = 64;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Buffer<float> weights(buffer_size<Parameters>), gradient(buffer_size<Parameters>), memory(size + 2 * guard);
  Buffer<int> indices(buffer_size<Indices>);
  std::fill(memory.begin(), memory.end(), nan);
  std::vector<unsigned char> pattern(guard * sizeof(float));
  for (std::size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<unsigned char>(i * 37 + 11);
  std::memcpy(memory.data(), pattern.data(), pattern.size());
  std::memcpy(memory.data() + guard + size, pattern.data(), pattern.size());
  Model::initialise(weights.data(), 3);
  std::vector<float> samples(B * Br::M::sample_size);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<float>(i % 13) / 6 - 1;
  std::vector<std::uint32_t> ids(B);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(i);
  std::vector<double> moments(4 * Br::D);
  Cpu device;
  const Pass<Cpu, true> pass{device, {1, 0, ids.data(), Br::masks}, {}};
  const auto index = bind<Indices>(indices.data());
  index.draw(pass.draws);
  const auto student = Model::template weights<0>(
      bind<typename Model::template Parameters<const float>>(static_cast<const float*>(weights.data())));
  const View<const float, B, Br::M::sample_size> input{samples.data()};
  const auto written = Model::template weights<0>(bind<Parameters>(gradient.data()));
  const auto loss = Br::step(pass, student, student, written, input, input, static_cast<const float*>(nullptr), 0.01,
                             {1, 1, 1}, B * Br::masks * Br::R, bind<Workspace>(memory.data() + guard), index,
                             moments.data());
  CHECK(is_finite(loss.total()));
  bool finite = true;
  for (const float g : gradient) finite = finite && is_finite(g);
  CHECK(finite);
  CHECK(std::memcmp(memory.data(), pattern.data(), pattern.size()) == 0);
  CHECK(std::memcmp(memory.data() + guard + size, pattern.data(), pattern.size()) == 0);
  // The tensors at the end of the block are in use.
  const auto last = [](const auto& view) { return is_finite(view.data[view.size - 1]); };
  const auto student_memory =
      bind<Workspace>(memory.data() + guard).passes.template as<typename Br::template StudentMemory<float, B>>();
  CHECK(last(student_memory.dencoded));
  if (Br::has_cls) CHECK(last(student_memory.dcls));
  if (Br::has_recon) CHECK(last(student_memory.dpixels));
}

}  // namespace

TEST_CASE("a step uses its workspace, nothing around it, and nothing in it that it has not written") {
  check_workspace<Plain, 1>();
  check_workspace<Cls, 3>();
  check_workspace<Recon, 2>();
  check_workspace<EncoderOnly, 2>();
  check_workspace<PreNorm, 2>();
  check_workspace<Projected, 2>();
  check_workspace<Cross, 2>();
}
