// SPDX-License-Identifier: MIT
// What a model's type says of itself, against independent counts: parameters, operations of a step.
#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include <data2vec/data2vec.hpp>

#include "counting.hpp"
#include "small_models.hpp"

using namespace data2vec;
using namespace small_models;

namespace {

// ---- parameters -----------------------------------------------------------------------------------------------------

struct Counts {
  double total = 0, decoder = 0;
};

/// The published architecture, counted by hand: patch embedding, positions, one extra token, norm, blocks, decoder.
Counts by_hand(const Config& c, int blocks, int tokens, int patch_values, const DecoderConfig& d) {
  const double D = c.embed_dim, F = D * c.mlp_ratio, dim = d.decoder_dim;
  const double kernel = d.decoder_kernel * d.decoder_kernel;
  const double block = 3 * D * D + 3 * D + D * D + D + D * F + F + F * D + D + 4 * D;
  double decoder = dim * D + D;
  for (int i = 0; i < d.decoder_layers; ++i) decoder += dim * (i == 0 ? D : dim) / d.decoder_groups * kernel + dim;
  return {D * patch_values + D + tokens * D + D + 2 * D + blocks * block + decoder, decoder};
}

template <class Model>
void check_parameters(const Counts& expected) {
  CHECK(static_cast<double>(Model::parameter_count) == expected.total);
  CHECK(static_cast<double>(Model::encoder_parameter_count) == expected.total - expected.decoder);
  CHECK(Model::teacher_parameter_count == Model::encoder_parameter_count);  // images: all but the decoder
  std::size_t end = 0;
  for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>) {
    CHECK(info.offset >= end);
    CHECK(info.offset < end + 16);
    CHECK(info.offset % 16 == 0);
    end = info.offset + info.size;
  }
  CHECK(buffer_size<typename Model::template Parameters<float>> == (end + 15) / 16 * 16);
}

// ---- operations -----------------------------------------------------------------------------------------------------

/// Runs a step of B samples on the counting device; the arrays are never read or written.
template <class Model, int B = 1>
double counted_flops() {
  using Br = typename Model::First;
  using Parameters = typename Model::template Parameters<float>;
  using Indices = typename Br::template Indices<B>;
  using Workspace = typename Br::template Workspace<float, B>;
  const auto memory = [](std::size_t n) { return std::make_unique_for_overwrite<float[]>(n); };
  const auto parameters = memory(buffer_size<Parameters>), workspace = memory(buffer_size<Workspace>),
             samples = memory(B * Br::M::sample_size);
  std::vector<int> indices(buffer_size<Indices>);
  const std::vector<std::uint32_t> ids(B, 7);
  counting::Device device;
  const Pass<counting::Device, true> pass{device, {1, 0, ids.data(), Br::masks}, {}};
  const auto index = bind<Indices>(indices.data());
  index.draw(pass.draws);
  const auto weights = Model::template weights<0>(bind<typename Model::template Parameters<const float>>(
      static_cast<const float*>(parameters.get())));
  const View<const float, B, Br::M::sample_size> input{samples.get()};
  std::vector<double> moments(4 * Br::D);
  Br::step(pass, weights, weights, Model::template weights<0>(bind<Parameters>(parameters.get())), input, input,
           static_cast<const float*>(nullptr), 0.01, {}, 1.0, bind<Workspace>(workspace.get()), index, moments.data());
  return device.flops;
}

template <class Model>
void check_flops() {
  CHECK(counted_flops<Model>() == Model::template flops_per_sample<0>);  // whole numbers below 2^53: exact in double
}

}  // namespace

TEST_CASE("parameters of the presets: the reference's totals, and an independent count") {
  CHECK(VisionBase::parameter_count == 88'383'744);
  CHECK(VisionLarge::parameter_count == 309'268'480);
  CHECK(VisionHuge14::parameter_count == 637'403'392);
  CHECK(VisionBase::encoder_parameter_count == 85'797'888);
  CHECK(VisionLarge::encoder_parameter_count == 303'300'608);
  CHECK(VisionHuge14::encoder_parameter_count == 630'763'520);
  check_parameters<VisionBase>(by_hand(vision_base, 12, 14 * 14, 3 * 16 * 16, vision_base_decoder));
  check_parameters<VisionLarge>(by_hand(vision_large, 24, 14 * 14, 3 * 16 * 16, vision_large_decoder));
  check_parameters<VisionHuge>(by_hand(vision_huge, 32, 14 * 14, 3 * 16 * 16, vision_large_decoder));
  check_parameters<VisionHuge14>(by_hand(vision_huge14, 32, 16 * 16, 3 * 14 * 14, vision_large_decoder));
}

TEST_CASE("what the teacher owns") {
  std::size_t blocks = 0, all = 0, local = 0, dec = 0;
  for (const TensorInfo& info : tensor_table<EncoderOnly::Parameters<float>>)
    if (info.name.view().starts_with("blocks.")) blocks += info.size;
  CHECK(EncoderOnly::teacher_parameter_count == blocks);
  for (const TensorInfo& info : tensor_table<Plain::Parameters<float>>) {
    all += info.size;
    if (info.name.view().find(".local_encoder.") != std::string_view::npos) local += info.size;
    if (info.name.view().find(".decoder.") != std::string_view::npos) dec += info.size;
  }
  CHECK(local == 24 * 8 + 24);
  CHECK(Plain::teacher_parameter_count == all - local - dec);  // ema_local_encoder is off
  CHECK(Recon::in_decoder("recon_proj.weight"));
  CHECK(!Recon::in_teacher("recon_proj.weight"));
  CHECK(Recon::encoder_parameter_count < Recon::parameter_count);
}

TEST_CASE("operations of a step are those that its kernels are asked for: tiny models") {
  check_flops<Plain>();
  check_flops<Cls>();
  check_flops<NoExtra>();
  check_flops<Recon>();
  check_flops<EncoderOnly>();
  check_flops<PreNorm>();
  check_flops<Frozen>();
  check_flops<Projected>();
  check_flops<ProjectedFrozen>();
  CHECK(counted_flops<Plain, 4>() == 4 * Plain::flops_per_sample<0>);
  CHECK(Frozen::flops_per_sample<0> < Plain::flops_per_sample<0>);
}

TEST_CASE("operations of a step are those that its kernels are asked for: published shapes") {
  check_flops<VisionBase>();    // with a prenet
  check_flops<VisionHuge14>();  // without
}

TEST_CASE("operations of cross-attention: queries of hidden tokens with keys of visible ones") {
  // The decoder runs them as one sequence of R + V tokens whose first R keys are hidden: the kernel is asked for
  // (R + V)^2 products where R V count.
  using B = Cross::First;
  const double dim = decoder.decoder_dim, joint = B::R + B::V;
  const double padding = 12.0 * decoder.decoder_layers * B::masks * (joint * joint - B::R * B::V) * dim;
  CHECK(counted_flops<Cross>() - padding == Cross::flops_per_sample<0>);
}

TEST_CASE("operations of a step by part, VisionBase against the formulas written out") {
  using B = VisionBase::First;
  const auto block = [](double s) { return 2 * s * 12 * 768 * 768 + 4 * s * s * 768; };
  constexpr StepFlops f = VisionBase::step_flops<0>;
  CHECK(f.local == 2 * 2.0 * 196 * 768 * 768);
  CHECK(f.teacher == 2.0 * 196 * 768 * 768 + 12 * block(197));
  CHECK(f.student == 3 * 16 * 12 * block(40));
  CHECK(f.decoder == 3 * 16 * (6 * 2.0 * 196 * 768 * 48 * 9 + 2.0 * 157 * 768 * 768));
  CHECK(f.total() == VisionBase::flops_per_sample<0>);
  CHECK(B::V == 39);
}
