// SPDX-License-Identifier: MIT
// Cases of the operations of layers, at tiny and ViT-B widths: linear, norm, attention, convolution.
#pragma once

#include <data2vec/device/attention.hpp>
#include <data2vec/device/conv.hpp>
#include <data2vec/device/linear.hpp>
#include <data2vec/device/norm.hpp>

#include "tests/device/cuda/cases.hpp"

namespace cases {

namespace device = data2vec::device;
using data2vec::Grad;

template <int In, int Out, class R>
void linear(R& run, int rows) {
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(rows);
  const float *x = run.in(numbers(n * In, 1)), *w = run.in(numbers(std::size_t{In} * Out, 2)),
              *b = run.in(numbers(Out, 3)), *dy = run.in(numbers(n * Out, 4));
  float *y = run.space(n * Out), *z = run.space(n * Out), *dx = run.space(n * In);
  device::linear<In, Out>(d, rows, x, w, b, y);
  run.keep("linear", y, n * Out, product_rounding(In));
  device::linear<In, Out>(d, rows, x, w, nullptr, y);
  run.keep("linear without bias", y, n * Out, product_rounding(In));
  device::linear_gelu<In, Out>(d, rows, x, w, b, y, z);
  run.keep("linear_gelu", z, n * Out, 1.2 * product_rounding(In) + 6e-7);
  device::linear_gelu<In, Out>(d, rows, x, w, b, y, y);
  run.keep("linear_gelu in place", y, n * Out, 1.2 * product_rounding(In) + 6e-7);
  device::linear_input_gradient<In, Out>(d, rows, dy, w, dx);
  run.keep("linear_input_gradient", dx, n * In, product_rounding(Out));
  device::linear_input_gradient<In, Out, Grad::accumulate>(d, rows, dy, w, dx);
  run.keep("linear_input_gradient, accumulated", dx, n * In, 2 * product_rounding(Out));
  float *dw = run.in(numbers(std::size_t{In} * Out, 5)), *db = run.in(numbers(Out, 6));
  device::linear_weight_gradient<In, Out>(d, rows, dy, x, dw, db);
  run.keep("linear_weight_gradient", dw, std::size_t{In} * Out, product_rounding(rows + 1));
  run.keep("linear_weight_gradient bias", db, Out, product_rounding(rows + 1));
}

template <int C, class R>
void norm(R& run, int rows) {
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(rows), size = n * C;
  auto values = numbers(size, 1);
  for (float& v : values) v += 2;
  const float *x = run.in(values), *gamma = run.in(numbers(C, 2)), *beta = run.in(numbers(C, 3)),
              *dy = run.in(numbers(size, 4));
  float *y = run.space(size), *stats = run.space(2 * n), *dx = run.space(size);
  // The mean, 2, is rounded before it is taken off: an error relative to a deviation of 0.58, or to less in short rows.
  const double error = rounding(4, C < 8 ? 200 : 8);
  for (const bool affine : {true, false}) {
    const float *g = affine ? gamma : nullptr, *b = affine ? beta : nullptr;
    float *dgamma = run.in(numbers(C, 5)), *dbeta = run.in(numbers(C, 6));
    device::layer_norm<C>(d, rows, x, g, b, 1e-5, y, stats);
    run.keep("layer_norm", y, size, error);
    run.keep("layer_norm stats", stats, 2 * n, C < 8 ? 100 * error : error);
    float *sum = run.space(size), *normed = run.space(size), *sums_stats = run.space(2 * n);
    device::add_layer_norm<C>(d, rows, x, dy, g, b, 1e-5, sum, normed, sums_stats);
    run.keep("add_layer_norm sum", sum, size, 0);
    run.keep("add_layer_norm", normed, size, C < 8 ? 100 * error : 4 * error);
    device::layer_norm_backward<C>(d, rows, dy, x, g, stats, dx, affine ? dgamma : nullptr, affine ? dbeta : nullptr);
    run.keep("layer_norm_backward", dx, size, C < 8 ? 100 * error : 4 * error);
    run.keep("layer_norm_backward dgamma", dgamma, C, error * std::sqrt(rows));
    run.keep("layer_norm_backward dbeta", dbeta, C, rounding(rows));
    float* in_place = run.in(numbers(size, 4));
    device::layer_norm_backward<C>(d, rows, in_place, x, g, stats, in_place, affine ? dgamma : nullptr,
                                   affine ? dbeta : nullptr);
    run.keep("layer_norm_backward in place", in_place, size, C < 8 ? 100 * error : 4 * error);
  }
  for (const bool residual : {true, false}) {
    device::norm_gelu<C>(d, rows, x, 1e-5, residual ? dy : nullptr, y, stats);
    run.keep("norm_gelu", y, size, 1.2 * error);
  }
  device::norm_gelu_backward<C>(d, rows, dy, x, stats, dx);
  run.keep("norm_gelu_backward", dx, size, C < 8 ? 100 * error : 4 * error);
  float* groups = run.in(numbers(3 * size, 7));
  device::standardise_channels<C>(d, 3, rows, 1e-5, groups);
  run.keep("standardise_channels", groups, 3 * size, rounding(1, 4));
}

template <int H, int Dh, bool drops, class R>
void attention(R& run, int rows, int S, bool with_bias, bool with_hidden) {
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(rows), s = static_cast<std::size_t>(S);
  const std::size_t qkv_size = n * s * 3 * H * Dh, out_size = n * s * H * Dh, square = n * H * s * s;
  // Flags as bytes in words: the same for every device, and the first row sees nothing.
  std::vector<std::uint32_t> words((n * s + 3) / 4, 0);
  const auto chance = indices(n * s, 9, 0, 4);
  for (std::size_t i = 0; i < n * s; ++i)
    if (i < s || chance[i] == 0) words[i / 4] |= 1u << (8 * (i % 4));
  const std::vector<std::uint32_t> ids{11, 12, 13, 14};
  data2vec::AttentionExtras<float> extras;
  if (with_bias) extras.bias = run.in(numbers(square, 2));
  if (with_hidden) extras.key_hidden = reinterpret_cast<const bool*>(run.in(words));
  extras.dropout =
      data2vec::DropoutDraws{.seed = 3, .update = 1, .sample_ids = run.in(ids), .masks = 1, .layer = 2, .rate = 0.2};
  const float *qkv = run.in(numbers(qkv_size, 1, 2)), *dout = run.in(numbers(out_size, 3));
  float *p = run.space(square), *out = run.space(out_size), *dqkv = run.space(qkv_size), *dbias = run.space(square);
  // Logits of size sqrt(Dh) are rounded; probabilities follow relatively.
  const double error = rounding(Dh, 4);
  device::attention<H, Dh, drops>(d, rows, S, qkv, extras, p, out);
  run.keep("attention", out, out_size, error);
  run.keep("attention probabilities", p, square, error);
  device::attention<H, Dh, drops>(d, rows, S, qkv, extras, nullptr, out);
  run.keep("attention without probabilities", out, out_size, error);
  device::attention_backward<H, Dh, drops>(d, rows, S, dout, qkv, p, extras, dqkv, dbias);
  run.keep("attention_backward", dqkv, qkv_size, 8 * error);
  run.keep("attention_backward dbias", dbias, square, 8 * error);
}

template <data2vec::ConvShape shape, class R>
void conv(R& run, int rows) {
  auto& d = run.device();
  constexpr std::size_t taps = shape.kernel_height * shape.kernel_width, area = shape.height * shape.width;
  constexpr std::size_t A = shape.in_channels / shape.groups, B = shape.out_channels / shape.groups,
                        weights = shape.out_channels * A * taps;
  const auto n = static_cast<std::size_t>(rows), in = n * area * shape.in_channels, out = n * area * shape.out_channels;
  const float *x = run.in(numbers(in, 1)), *w = run.in(numbers(weights, 2)),
              *b = run.in(numbers(shape.out_channels, 3)), *dy = run.in(numbers(out, 4));
  float *y = run.space(out), *dx = run.space(in), *dw = run.in(numbers(weights, 5)),
        *db = run.in(numbers(shape.out_channels, 6));
  device::grouped_conv<shape>(d, rows, x, w, b, y);
  run.keep("grouped_conv", y, out, product_rounding(static_cast<double>(taps * A)));
  device::grouped_conv_input_gradient<shape>(d, rows, dy, w, dx);
  run.keep("grouped_conv_input_gradient", dx, in, product_rounding(static_cast<double>(taps * B)));
  device::grouped_conv_input_gradient<shape, Grad::accumulate>(d, rows, dy, w, dx);
  run.keep("grouped_conv_input_gradient, accumulated", dx, in, 2 * product_rounding(static_cast<double>(taps * B)));
  device::grouped_conv_weight_gradient<shape>(d, rows, dy, x, dw, db);
  run.keep("grouped_conv_weight_gradient", dw, weights, product_rounding(static_cast<double>(n * area)));
  run.keep("grouped_conv_weight_gradient bias", db, shape.out_channels,
           product_rounding(static_cast<double>(n * area)));
}

template <class Side>
Results matrices(Side& side) {
  Run<Side> run{side, {}};
  linear<768, 2304>(run, 5);
  linear<12, 20>(run, 70);
  linear<4, 16>(run, 1);
  norm<768>(run, 9);
  norm<96>(run, 600);
  norm<37>(run, 5);
  norm<2>(run, 3);
  return run.results;
}

template <class Side>
Results sequences(Side& side) {
  Run<Side> run{side, {}};
  attention<2, 8, false>(run, 3, 7, false, false);
  attention<2, 8, true>(run, 3, 7, true, true);
  attention<12, 64, false>(run, 1, 40, false, false);
  attention<3, 32, true>(run, 2, 33, true, true);
  attention<1, 64, false>(run, 1, 197, true, false);
  attention<1, 5, false>(run, 2, 1, false, true);
  return run.results;
}

template <class Side>
Results grids(Side& side) {
  Run<Side> run{side, {}};
  conv<data2vec::ConvShape{768, 768, 16, 3, 3, 14, 14}>(run, 1);
  conv<data2vec::ConvShape{16, 16, 4, 3, 3, 4, 4}>(run, 3);
  conv<data2vec::ConvShape{96, 192, 16, 3, 3, 7, 7}>(run, 2);
  conv<data2vec::ConvShape{6, 10, 2, 5, 4, 9, 11}>(run, 2);
  conv<data2vec::ConvShape{16, 24, 1, 1, 7, 1, 700}>(run, 1);
  conv<data2vec::ConvShape{132, 70, 1, 3, 3, 5, 6}>(run, 34);
  return run.results;
}

}  // namespace cases
