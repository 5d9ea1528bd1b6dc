// SPDX-License-Identifier: MIT
// Models whose steps bench/scaling.cpp times: tiny28 of bench/configs.hpp with one number changed at a time. Each axis
// is compiled on its own (bench/scaling/), as every value is a type.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <vector>

#include <data2vec/training/trainer.hpp>

#include "bench/configs.hpp"

namespace bench::scaling {

/// tiny28 with images of `size` x `size` pixels: (size / 4)^2 tokens.
template <int size>
struct Sized : Tiny28 {
  static constexpr d2v::VisionConfig images = bench::images(size, 4, 1, 1);
};
/// tiny28 of width `dim`, its heads 32 wide as they were.
template <int dim>
struct Wide : Tiny28 {
  static constexpr d2v::Config config = vision(dim, 3, dim / 32, 3);
  static constexpr d2v::DecoderConfig decoder{
      .decoder_dim = dim, .decoder_groups = 8, .decoder_kernel = 3, .decoder_layers = 3, .input_dropout = 0};
};
/// tiny28 that hides `percent` % of its tokens (before the adjustment).
template <int percent>
struct Hiding : Tiny28 {
  static constexpr d2v::MaskConfig masking{.mask_prob = percent / 100.0, .mask_prob_adjust = 0.07, .mask_length = 3};
};

/// A step that can be run again and again, and what its type says of it.
struct Point {
  double x = 0;  ///< where it is on its axis
  int masks = 0, tokens = 0, visible = 0, width = 0, batch = 0, threads = 1;
  int units = 0;  ///< pieces of work that threads share
  std::size_t parameters = 0;
  d2v::StepFlops flops = {};  ///< of a sample
  double bytes = 0;           ///< that a step moves at least, by `bytes_of_step`
  std::function<void()> run = {};
};

/// Bytes that a step moves between processor and memory if nothing stays in cache: of every parameter, Adam's 28 (reads
/// weight, gradient and two moments, writes all but the gradient) and the teacher's 8; the gradient zeroed and its norm
/// taken, 8; for every unit its own gradient zeroed and added up, 16; of every chunk, its workspace written and read
/// once.
template <class Trainer>
double bytes_of_step(int batch) {
  using Model = typename Trainer::ModelType;
  constexpr int chunk = d2v::default_chunk<typename Model::First>;
  const int units = (batch + Trainer::unit_samples - 1) / Trainer::unit_samples;
  const double all = static_cast<double>(Trainer::size), teacher = static_cast<double>(Model::teacher_parameter_count);
  return 28 * all + 8 * teacher + 8 * all + units * 16 * all +
         2.0 * sizeof(float) * static_cast<double>(Model::template workspace_size<chunk>) * batch / chunk;
}

/// A step of `batch` samples on `threads` threads. `batch` is a multiple of the samples of a chunk.
template <class Setup, int masks = Setup::masks>
Point point(double x, int batch, int threads = 1) {
  using Subject = bench::Model<Setup, masks>;
  using Trainer = d2v::Trainer<Subject, d2v::Cpu>;
  using Branch = typename Subject::First;
  struct State {
    Trainer trainer;
    std::vector<float> samples;
    std::vector<std::uint32_t> ids;
  };
  const auto n = static_cast<std::size_t>(batch);
  const auto make = [=] {
    std::shared_ptr<State> state(new State{Trainer(options_of<Subject>(threads)),
                                           std::vector<float>(n * Branch::M::sample_size),
                                           std::vector<std::uint32_t>(n)});
    d2v::Rng rng(d2v::DrawKey{.seed = 1});
    for (float& value : state->samples) value = rng.normal();
    std::iota(state->ids.begin(), state->ids.end(), 0u);
    return state;
  };
  return {.x = x,
          .masks = Branch::masks,
          .tokens = Branch::T_,
          .visible = Branch::V,
          .width = Branch::D,
          .batch = batch,
          .threads = threads,
          .units = (batch + Trainer::unit_samples - 1) / Trainer::unit_samples,
          .parameters = trained_parameters<Subject>,
          .flops = Subject::template step_flops<0>,
          .bytes = bytes_of_step<Trainer>(batch),
          .run = [make, state = std::shared_ptr<State>()]() mutable {
            if (!state) state = make();
            state->trainer.step({state->samples, state->ids});
          }};
}

// The points of an axis. With `all` false those that show that it compiles: types are what this costs.
inline constexpr bool all = D2V_SCALING_ALL;
inline constexpr int batch = 16;
std::vector<Point> masks_axis();
std::vector<Point> tokens_axis();
std::vector<Point> width_axis();
std::vector<Point> visible_axis();
std::vector<Point> batch_axis();
std::vector<Point> threads_axis(int most);  ///< 1, 2, 4, ... threads

}  // namespace bench::scaling
