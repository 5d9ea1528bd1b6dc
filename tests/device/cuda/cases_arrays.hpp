// SPDX-License-Identifier: MIT
// Cases of the operations on whole arrays: elementwise, GELU, dropout, Adam, patches, sums, bias, heads.
#pragma once

#include <data2vec/device/adam.hpp>
#include <data2vec/device/alibi.hpp>
#include <data2vec/device/classify.hpp>
#include <data2vec/device/dropout.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/gelu.hpp>
#include <data2vec/device/patches.hpp>
#include <data2vec/device/reduce.hpp>

#include "tests/device/cuda/cases.hpp"

namespace cases {

namespace device = data2vec::device;

/// Counts that fill packs and blocks and that do not.
template <class R>
void elementwise(R& run) {
  auto& d = run.device();
  for (const std::size_t n : {std::size_t{1}, std::size_t{1024}, std::size_t{1027}}) {
    const auto a = numbers(n, 1), b = numbers(n, 2);
    float *y = run.space(n), *z = run.in(b), *g = run.space(n), *h = run.space(n);
    device::add(d, n, run.in(a), run.in(b), y);
    run.keep("add", y, n, 0);
    device::add_scaled(d, n, 0.3, run.in(a), z);
    run.keep("add_scaled", z, n, rounding(1));
    device::scale(d, n, -1.7, z);
    run.keep("scale", z, n, rounding(1));
    device::fill(d, n, 0.1, z);
    device::copy(d, n / 2, y, z);
    run.keep("fill and copy", z, n, 0);
    device::gelu(d, n, run.in(numbers(n, 3, 6)), g);
    run.keep("gelu", g, n, 6e-7);
    device::gelu_backward(d, n, run.in(a), run.in(numbers(n, 3, 6)), g);
    run.keep("gelu_backward", g, n, 6e-7);
    device::gelu_backward(d, n, run.in(a), run.in(numbers(n, 3, 6)), g, h);
    run.keep("gelu_backward dx", g, n, 6e-7);
    run.keep("gelu_backward y", h, n, 6e-7);
  }
  float* odd = run.in(numbers(40, 4)) + 1;  // no pack is aligned
  device::add(d, 30, odd, odd + 3, odd);
  run.keep("add, unaligned", odd, 33, 0);
  float* strided = run.space(60);
  device::copy_strided(d, 4, 5, run.in(numbers(60, 5)), 13, strided, 9);
  run.keep("copy_strided", strided, 60, 0);
}

template <int C, class R>
void rows(R& run, int count, int targets) {
  auto& d = run.device();
  float *repeated = run.space(3 * 5 * C), *mean = run.space(3 * C);
  device::add_repeated(d, 3, 5 * C, run.in(numbers(3 * 5 * C, 10)), run.in(numbers(5 * C, 11)), repeated);
  run.keep("add_repeated", repeated, 3 * 5 * C, 0);
  device::mean_rows<C>(d, 3, 5, repeated, mean);
  run.keep("mean_rows", mean, 3 * C, rounding(1));
  float *scaled = run.space(15 * C), *dots = run.in(numbers(C, 12));
  device::scale_channels<C>(d, 15, repeated, run.in(numbers(C, 13)), scaled);
  run.keep("scale_channels", scaled, 15 * C, 0);
  device::channel_dots<C>(d, 15, repeated, scaled, dots);
  run.keep("channel_dots", dots, C, rounding(15));
  const auto n = static_cast<std::size_t>(count), m = static_cast<std::size_t>(targets);
  const int* index = run.in(indices(n, 6, -1, targets));
  float *y = run.space(n * C), *z = run.in(numbers(m * C, 7));
  device::gather_rows<C>(d, count, run.in(numbers(m * C, 8)), index, y);
  run.keep("gather_rows", y, n * C, 0);
  device::scatter_add_rows<C>(d, count, run.in(numbers(n * C, 9)), index, z);
  run.keep("scatter_add_rows", z, m * C, 0);
  constexpr std::size_t many = 500;  // of a target: sums of interleaved rows
  float* const few = run.in(numbers(2 * C, 14));
  device::scatter_add_rows<C>(d, many, run.in(numbers(many * C, 15)), run.in(indices(many, 16, -1, 2)), few);
  run.keep("scatter_add_rows of many", few, 2 * C, rounding(many));
}

template <class R>
void random(R& run) {
  auto& d = run.device();
  const std::vector<std::uint32_t> ids{3, 900, 77};
  for (const double rate : {0.0, 0.1, 0.75}) {
    data2vec::DropoutDraws draws{
        .seed = 5, .update = 9, .sample_ids = run.in(ids), .masks = 2, .layer = 3, .rate = rate, .first_mask = 4};
    float* y = run.space(6 * 41);
    device::dropout(d, 6, 41, draws, run.in(numbers(6 * 41, 1)), y);
    run.keep("dropout", y, 6 * 41, 0);
    device::drop_path(d, 6, 41, draws, run.in(numbers(6 * 41, 1)), y);
    run.keep("drop_path", y, 6 * 41, 0);
    device::normal_noise(d, 6, 41, draws, y);
    run.keep("normal_noise", y, 6 * 41, 1e-6);
  }
}

template <class R>
void optimizer(R& run) {
  auto& d = run.device();
  constexpr std::size_t n = 1001;
  const data2vec::AdamStep step{.gradient_scale = 0.3, .beta1 = 0.9, .beta2 = 0.95, .step = 1e-2, .decay = 1e-3};
  float *m = run.in(numbers(n, 2)), *v = run.in(std::vector<float>(n, 0.5f)), *p = run.in(numbers(n, 3));
  float* teacher = run.in(numbers(n, 4));
  device::adam(d, n, step, run.in(numbers(n, 1)), m, v, p);
  run.keep("adam m", m, n, rounding(2));
  run.keep("adam v", v, n, rounding(2));
  run.keep("adam p", p, n, rounding(3));
  device::moving_average(d, n, 0.99, p, teacher);
  run.keep("moving_average", teacher, n, rounding(2));
}

template <class R>
void images(R& run) {
  auto& d = run.device();
  constexpr data2vec::Extent input{12, 20}, patch{3, 5};
  constexpr std::size_t size = 2 * 3 * 12 * 20;
  float *y = run.space(size), *z = run.space(size);
  device::patches<3, input, patch>(d, 2, run.in(numbers(size, 1)), y);
  run.keep("patches", y, size, 0);
  device::pixel_patches<3, input, patch>(d, 2, run.in(numbers(size, 1)), z);
  run.keep("pixel_patches", z, size, 0);
  device::normalised_patches<3, input, patch>(d, 2, run.in(numbers(size, 1)), z);
  run.keep("normalised_patches", z, size, rounding(1, 4));
}

template <class R>
void sums(R& run) {
  auto& d = run.device();
  constexpr std::size_t n = 10'000;
  run.keep("sum_of_squares", device::sum_of_squares(d, n, static_cast<const float*>(run.in(numbers(n, 1)))), 1e-12 * n);
  constexpr int C = 37, count = 300;
  for (const double beta : {0.0, 0.5}) {
    const int* index = run.in(indices(count, 2, -1, 50));
    float* slope = run.space(count * C);
    const double loss = device::regression_loss<C>(d, count, run.in(numbers(count * C, 3)), run.in(numbers(50 * C, 4)),
                                                   index, beta, 0.25, slope);
    run.keep("regression_loss", loss, 1e-12 * count * C);
    run.keep("regression_loss slope", slope, count * C, rounding(1, 0.25));
    double *sum = run.in(std::vector<double>(C, 1.0)), *squares = run.in(std::vector<double>(C, 2.0));
    device::channel_moments<C>(d, count, static_cast<const float*>(run.in(numbers(50 * C, 4))), index, sum, squares);
    run.keep("channel_moments sum", sum, C, 1e-12 * count);
    run.keep("channel_moments squares", squares, C, 1e-12 * count);
    device::channel_moments<C>(d, 50, static_cast<const float*>(run.in(numbers(50 * C, 4))), nullptr, sum, squares);
    run.keep("channel_moments, all rows", sum, C, 1e-12 * count);
  }
}

template <class R>
void bias(R& run) {
  auto& d = run.device();
  const data2vec::BiasShape shape{.rows = 3, .heads = 2, .tokens = 6, .extra = 1, .visible = 4};
  constexpr std::size_t size = 3 * 2 * 5 * 5, table_size = 2 * 6 * 6;
  const int* keep = run.in(std::vector<int>{0, 2, 3, 5, 5, 1, 0, 2, 1, 2, 3, 4});
  const float* table = run.in(numbers(table_size, 1));
  float *y = run.space(size), *scaled = run.space(size);
  device::gather_bias(d, shape, table, keep, y);
  run.keep("gather_bias", y, size, 0);
  for (const bool per_head : {false, true}) {
    const float* scale = run.in(per_head ? std::vector<float>{0.7f, -0.5f} : std::vector<float>{0.7f});
    device::scale_bias(d, shape, y, scale, per_head, scaled);
    run.keep("scale_bias", scaled, size, 0);
    float *dscale = run.in(numbers(2, 3)), *dtable = run.in(numbers(table_size, 4));
    device::scale_bias_gradient(d, shape, run.in(numbers(size, 5)), y, scale, per_head, dscale);
    run.keep("scale_bias_gradient", dscale, 2, rounding(6, 5));
    device::gather_bias_gradient(d, shape, run.in(numbers(size, 5)), scale, per_head, keep, dtable);
    run.keep("gather_bias_gradient", dtable, table_size, rounding(6));
  }
}

/// Rows that keep some of the cells, in any order, and rows that keep all of them.
template <class R>
void relative(R& run) {
  auto& d = run.device();
  constexpr data2vec::Grid grid{2, 3};
  constexpr int offsets = data2vec::relative_offsets(grid), rows = offsets + 3;
  for (const data2vec::BiasShape shape : {data2vec::BiasShape{2, 2, 6, 2, 4}, data2vec::BiasShape{2, 3, 6, 0, 6}}) {
    const auto S = static_cast<std::size_t>(shape.sequence()), heads = static_cast<std::size_t>(shape.heads);
    const std::size_t size = 2 * heads * S * S, table_size = heads * (shape.extra > 0 ? rows : offsets);
    const int* keep = run.in(shape.extra > 0 ? std::vector<int>{5, 0, 2, 3, 1, 2, 3, 4}
                                             : std::vector<int>{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5});
    float *bias = run.space(size), *dtable = run.in(numbers(table_size, 2));
    device::relative_bias(d, shape, grid, run.in(numbers(table_size, 1)), keep, bias);
    run.keep("relative_bias", bias, size, 0);
    device::relative_bias_gradient(d, shape, grid, run.in(numbers(size, 3)), keep, dtable);
    run.keep("relative_bias_gradient", dtable, table_size, rounding(2 * 6));
  }
}

template <data2vec::Pooling P, class R>
void pooling(R& run) {
  auto& d = run.device();
  constexpr int rows = 3, tokens = 9, C = 17;
  const auto x = numbers(rows * tokens * C, 1, 3);
  float *y = run.space(rows * C), *dx = run.space(rows * tokens * C);
  device::pool<P, C>(d, rows, tokens, 1, run.in(x), y);
  run.keep("pool", y, rows * C, rounding(1, 4));
  device::pool_backward<P, C>(d, rows, tokens, 1, run.in(numbers(rows * C, 2)), run.in(x), dx);
  run.keep("pool_backward", dx, rows * tokens * C, rounding(1, 4));
}

template <int classes, class R>
void entropy(R& run) {
  auto& d = run.device();
  constexpr int rows = 6;
  constexpr std::size_t size = std::size_t{rows} * classes;
  const float* logits = run.in(numbers(size, 1, 4));
  std::vector<std::int32_t> labels{0, classes - 1, -1, classes / 2, 1, 0};
  float *losses = run.space(size), *slope = run.space(size);
  const auto hard = device::cross_entropy<classes>(d, rows, logits, run.in(labels), 0.1, 0.5, losses, slope);
  run.keep("cross_entropy", hard.loss, 1e-10);
  run.keep("cross_entropy correct", hard.correct, 0);
  run.keep("cross_entropy losses", losses, rows, rounding(1, 10));
  run.keep("cross_entropy slope", slope, size, rounding(1));
  auto q = numbers(size, 2);
  for (float& x : q) x = std::abs(x);
  const auto soft = device::soft_cross_entropy<classes>(d, rows, logits, run.in(q), 0.5, losses, slope);
  run.keep("soft_cross_entropy", soft.loss, 1e-10 * classes);
  run.keep("soft_cross_entropy correct", soft.correct, 0);
  run.keep("soft_cross_entropy losses", losses, size, rounding(1, 10));
  run.keep("soft_cross_entropy slope", slope, size, rounding(1, classes));
  auto values = numbers(rows, 3);
  values[2] = std::numeric_limits<float>::quiet_NaN();
  const double error = device::squared_error(d, rows, logits, run.in(values), 0.5, losses, slope);
  run.keep("squared_error", error, 1e-10);
  run.keep("squared_error losses", losses, rows, rounding(1, 25));
  run.keep("squared_error slope", slope, rows, rounding(1, 5));
  device::tanh(d, size, logits, losses);
  run.keep("tanh", losses, size, rounding(1));
  device::tanh_backward(d, size, logits, losses, slope);
  run.keep("tanh_backward", slope, size, rounding(4));
}

template <class Side>
Results arrays(Side& side) {
  Run<Side> run{side, {}};
  elementwise(run);
  rows<768>(run, 50, 9);
  rows<37>(run, 300, 400);
  random(run);
  optimizer(run);
  images(run);
  sums(run);
  bias(run);
  relative(run);
  pooling<data2vec::Pooling::mean_pooling>(run);
  pooling<data2vec::Pooling::cls_token>(run);
  pooling<data2vec::Pooling::lin_softmax>(run);
  entropy<10>(run);
  entropy<1000>(run);
  return run.results;
}

}  // namespace cases
