// SPDX-License-Identifier: MIT
// The configurations of the benches against the numbers that bench/peer/torch_data2vec2.py has for its own.
#include <doctest/doctest.h>

#include <cmath>
#include <type_traits>

#include "bench/configs.hpp"

using namespace bench;

namespace {

/// `SPECS` and `count_flops` of the peer, and the numbers in its trainer's parameters; seeds of its blocks of visible
/// patches, 0 where it hides spans or tokens.
struct Peer {
  int batch, masks, tokens, visible, seeds;
  std::size_t parameters;
  Flops flops;  // of a batch
};

template <class Setup>
void check(const Peer& peer) {
  using M = Model<Setup>;
  using Branch = typename M::First;
  CHECK(Setup::batch == peer.batch);
  CHECK(Branch::masks == peer.masks);
  CHECK(Branch::T_ == peer.tokens);
  CHECK(Branch::V == peer.visible);
  CHECK(Branch::R == peer.tokens - peer.visible);
  if constexpr (requires { Setup::images; }) CHECK(Branch::Masking::seeds == peer.seeds);
  // Our learned positions begin behind the padding token's: rows that no token of the peer's would reach.
  const std::size_t rows = requires { Branch::M::vocab_size; } ? 2 : 0;
  CHECK(trained_parameters<M> == peer.parameters + rows * Branch::D);
  // Whole numbers below 2^53: exact in double.
  CHECK(peer.batch * flops_of<M>.local == peer.flops.local);
  CHECK(peer.batch * flops_of<M>.student_blocks == peer.flops.student_blocks);
  CHECK(peer.batch * flops_of<M>.decoder == peer.flops.decoder);
  CHECK(peer.batch * flops_of<M>.teacher == peer.flops.teacher);
  CHECK(peer.batch * flops_of<M>.infer == peer.flops.infer);
  CHECK(peer.batch * flops_of<M>.train == peer.flops.train);
}

}  // namespace

TEST_CASE("bench configurations: tokens, masks, parameters and operations are the peer's") {
  check<Tiny28>({64, 8, 49, 9, 1, 489'984,
                 {9633792, 4608491520, 1938161664, 3086548992, 3086548992, 22745776128}});
  check<Small32>({32, 8, 64, 12, 1, 3'772'608,
                  {37748736, 23821025280, 6417285120, 15590424576, 15590424576, 106380853248}});
  check<VitBase>({1, 16, 196, 39, 5, 88'233'216,
                  {231211008, 109660078080, 15448670208, 35126120448, 35126120448, 410914787328}});
  check<VitLarge>({1, 16, 196, 49, 7, 309'067'776,
                   {308281344, 487115980800, 35760635904, 123107377152, 123107377152, 1692353789952}});
  check<SpeechTiny>({8, 8, 199, 130, 0, 587'587,
                     {297555968, 10694934528, 697614336, 2104190976, 2401746944, 37158131712}});
  check<SpeechBase>({1, 8, 499, 306, 0, 93'783'308,
                     {49470494720, 471415062528, 3486007296, 97439035392, 146909530112, 1670226059264}});
  check<TextTiny>({16, 8, 128, 66, 0, 938'112, {0, 8330674176, 8738832384, 2214592512, 2214592512, 53423112192}});
  check<TextBase>({1, 8, 512, 266, 0, 152'960'256,
                   {0, 382348689408, 226718908416, 96636764160, 96636764160, 1923839557632}});
}

TEST_CASE("bench configurations: the operations of a step that the floors of the benches are stated for") {
  const auto within_1_percent = [](double flops, double gflop) { return std::abs(flops / 1e9 / gflop - 1) < 0.01; };
  CHECK(within_1_percent(64 * flops_of<Model<Tiny28>>.train, 22.7));
  CHECK(within_1_percent(32 * flops_of<Model<Small32>>.train, 106));
  CHECK(within_1_percent(flops_of<Model<VitBase>>.train, 411));
  CHECK(within_1_percent(8 * flops_of<Model<SpeechTiny>>.train, 37.2));
  CHECK(within_1_percent(flops_of<Model<SpeechBase>>.train, 1670));
  CHECK(within_1_percent(16 * flops_of<Model<TextTiny>>.train, 53.4));
  CHECK(within_1_percent(flops_of<Model<TextBase>>.train, 1924));
}

TEST_CASE("bench configurations: optimizer, teacher and losses are the peer's") {
  const d2v::TrainerOptions options = options_of<Model<VitBase>>(2);
  CHECK(options.threads == 2);
  for (const std::int64_t update : {0, 1, 1000}) {
    CHECK(d2v::learning_rate(options.schedule, update) == 1e-4);
    CHECK(d2v::ema_decay(options.ema, update + 1) == 0.9998);
  }
  CHECK(options.optimizer.clip_norm == 4);
  CHECK(options.optimizer.weight_decay == 0.05);
  CHECK(options.optimizer.adam_betas[1] == 0.95);
  CHECK(options.optimizer.decay_scope == d2v::DecayScope::matrices);
  CHECK(options.mask_noise_std == 0.01);
  CHECK(options.loss.d2v_loss == 1);
  CHECK(options.loss.cls_loss == 0.01);
  CHECK(options.rates.decoder_input_dropout == 0);
  CHECK(Model<VitBase>::First::loss_scale == doctest::Approx(1 / std::sqrt(768.0)).epsilon(1e-15));
  CHECK(Model<Tiny28>::config.norm_eps == 1e-6);
}

TEST_CASE("bench configurations: another number of masks changes the student's and the decoder's work alone") {
  constexpr Flops eight = flops_of<Model<Tiny28>>, one = flops_of<Model<Tiny28, 1>>;
  CHECK(Model<Tiny28, 1>::First::masks == 1);
  CHECK(eight.student_blocks == 8 * one.student_blocks);
  CHECK(eight.decoder == 8 * one.decoder);
  CHECK(eight.teacher == one.teacher);
  CHECK(trained_parameters<Model<Tiny28, 1>> == trained_parameters<Model<Tiny28>>);
  static_assert(std::is_same_v<Model<Tiny28>, Model<Tiny28, Tiny28::masks>>);
}
