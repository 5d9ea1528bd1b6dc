// SPDX-License-Identifier: MIT
// Operations on bfloat16 arrays beside the CPU's on floats of the same values: T is the type of the arrays. Tolerances
// are a few roundings of the results and, in attention, of the probabilities (2^-9 of their size each).
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <type_traits>

#include <data2vec/device/attention.hpp>
#include <data2vec/device/conv.hpp>
#include <data2vec/device/gelu.hpp>
#include <data2vec/device/linear.hpp>
#include <data2vec/device/norm.hpp>

#include "tests/device/cuda/cases.hpp"

namespace cases {

/// Arrays of T on a device, made from floats that bfloat16 can hold.
template <class T, class Side>
struct HalfRun {
  Side& side;
  Results results = {};

  auto& device() { return side.device; }
  T* in(std::vector<float> v) {
    std::vector<T> w(v.size());
    for (std::size_t i = 0; i < v.size(); ++i) {
      const auto word = std::bit_cast<std::uint32_t>(v[i]) + 0x8000u;  // numbers are never halfway
      if constexpr (std::is_same_v<T, float>)
        w[i] = std::bit_cast<float>(word & 0xFFFF0000u);
      else
        w[i] = std::bit_cast<T>(static_cast<std::uint16_t>(word >> 16));
    }
    return side.in(w);
  }
  T* space(std::size_t n) { return in(std::vector<float>(n, 7.0f)); }
  void keep(const std::string& name, const T* p, std::size_t n, double tolerance) {
    const auto v = side.out(const_cast<T*>(p), n);
    std::vector<double> numbers(n);
    for (std::size_t i = 0; i < n; ++i)
      if constexpr (std::is_same_v<T, float>)
        numbers[i] = v[i];
      else
        numbers[i] = std::bit_cast<float>(static_cast<std::uint32_t>(std::bit_cast<std::uint16_t>(v[i])) << 16);
    results.push_back({name, numbers, tolerance});
  }
  /// Numbers that are of the same type whatever T is.
  template <class U>
  void keep_plain(const std::string& name, const U* p, std::size_t n, double tolerance) {
    const auto v = side.out(const_cast<U*>(p), n);
    results.push_back({name, {v.begin(), v.end()}, tolerance});
  }
  void keep(const std::string& name, double x, double tolerance) { results.push_back({name, {x}, tolerance}); }
};

inline constexpr double half_rounding = 1.0 / 256;  // twice the largest relative error of one rounding

template <int H, int Dh, bool drops, class T, class Side>
void half_attention(HalfRun<T, Side>& run, int rows, int S, bool with_bias, bool with_hidden) {
  auto& d = run.device();
  const auto tokens = static_cast<std::size_t>(rows) * static_cast<std::size_t>(S);
  const auto square = tokens * H * static_cast<std::size_t>(S);
  const auto kept = static_cast<std::size_t>(data2vec::attention_kept<T>(S));
  const T* const qkv = run.in(numbers(tokens * 3 * H * Dh, 1, 2));
  const T* const dout = run.in(numbers(tokens * H * Dh, 2));
  data2vec::AttentionExtras<T> extras;
  if (with_bias) extras.bias = run.in(numbers(square, 3));
  std::vector<std::uint8_t> hidden(tokens);
  for (std::size_t i = 0; i < tokens; ++i) hidden[i] = i % static_cast<std::size_t>(S) >= 3 && i % 5 == 1;
  if (with_hidden) extras.key_hidden = reinterpret_cast<const bool*>(run.side.in(hidden));
  std::vector<std::uint32_t> ids(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(5 * i);
  if (drops) {  // one by one: nvcc 13.0 drops the names of a braced list that a template assigns
    extras.dropout.seed = 3;
    extras.dropout.update = 1;
    extras.dropout.sample_ids = run.side.in(ids);
    extras.dropout.rate = 0.25;
  }
  T *p = run.space(tokens * H * kept), *out = run.space(tokens * H * Dh), *dqkv = run.space(tokens * 3 * H * Dh);
  T* const dbias = with_bias ? run.space(square) : nullptr;
  data2vec::device::attention<H, Dh, drops>(d, rows, S, qkv, extras, p, out);
  data2vec::device::attention_backward<H, Dh, drops>(d, rows, S, dout, qkv, p, extras, dqkv, dbias);
  const std::string name = "attention " + std::to_string(S) + " x " + std::to_string(Dh);
  run.keep(name, out, tokens * H * Dh, 4 * half_rounding * 2);
  run.keep(name + " dqkv", dqkv, tokens * 3 * H * Dh, 8 * half_rounding * 2);
  if (dbias) run.keep(name + " dbias", dbias, square, 4 * half_rounding * 2);
}

template <data2vec::ConvShape S, class T, class Side>
void half_conv(HalfRun<T, Side>& run, int rows) {
  auto& d = run.device();
  constexpr int taps = S.kernel_height * S.kernel_width, A = S.in_channels / S.groups;
  const auto pixels = static_cast<std::size_t>(rows) * S.height * S.width;
  const T *x = run.in(numbers(pixels * S.in_channels, 1)), *dy = run.in(numbers(pixels * S.out_channels, 2));
  const auto weights = static_cast<std::size_t>(S.out_channels) * A * taps;
  const T *w = run.in(numbers(weights, 3)), *bias = run.in(numbers(S.out_channels, 4));
  T *y = run.space(pixels * S.out_channels), *dx = run.in(numbers(pixels * S.in_channels, 5));
  T *dw = run.in(numbers(weights, 6)), *db = run.in(numbers(S.out_channels, 7));
  namespace device = data2vec::device;
  device::grouped_conv<S>(d, rows, x, w, bias, y);
  device::grouped_conv_input_gradient<S, data2vec::Grad::accumulate>(d, rows, dy, w, dx);
  device::grouped_conv_weight_gradient<S>(d, rows, dy, x, dw, db);
  const auto size = [](double terms) { return 6 * (1 + std::sqrt(terms) / 3); };  // of the largest of many sums
  const std::string name = "conv " + std::to_string(S.height) + " x " + std::to_string(S.width);
  run.keep(name, y, pixels * S.out_channels, half_rounding * size(A * taps));
  run.keep(name + " dx", dx, pixels * S.in_channels, half_rounding * size(S.out_channels / S.groups * taps));
  run.keep(name + " dweight", dw, weights, half_rounding * size(static_cast<double>(pixels)));
  run.keep(name + " dbias", db, S.out_channels, half_rounding * size(static_cast<double>(pixels)));
}

template <int C, class T, class Side>
void half_rows(HalfRun<T, Side>& run, int rows) {
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(rows) * C;
  const T *x = run.in(numbers(n, 1)), *dy = run.in(numbers(n, 2)), *gamma = run.in(numbers(C, 3)),
          *beta = run.in(numbers(C, 4)), *w = run.in(numbers(2 * C * C, 5)), *bias = run.in(numbers(2 * C, 6));
  T *y = run.space(n), *dx = run.space(n), *dgamma = run.in(numbers(C, 7)), *dbeta = run.in(numbers(C, 8));
  T *stats = run.space(static_cast<std::size_t>(rows) * data2vec::kept_numbers<T>(2)), *z = run.space(2 * n);
  namespace device = data2vec::device;
  device::layer_norm<C>(d, rows, x, gamma, beta, 1e-5, y, stats);
  run.keep("layer_norm", y, n, half_rounding * 4);
  device::layer_norm_backward<C>(d, rows, dy, x, gamma, stats, dx, dgamma, dbeta);
  run.keep("layer_norm dx", dx, n, half_rounding * 8);
  run.keep("layer_norm dgamma", dgamma, C, half_rounding * 2 * (1 + std::sqrt(rows)));
  run.keep("layer_norm dbeta", dbeta, C, half_rounding * 2 * (1 + std::sqrt(rows)));
  device::linear<C, 2 * C>(d, rows, x, w, bias, z);
  run.keep("linear", z, 2 * n, half_rounding * 2 * (1 + std::sqrt(C)));
  device::gelu(d, n, x, y);
  run.keep("gelu", y, n, half_rounding);
}

template <class T, class Side>
Results halves(Side& side) {
  HalfRun<T, Side> run{side};
  half_attention<2, 64, false>(run, 3, 41, false, false);
  half_attention<3, 32, false>(run, 2, 5, true, true);
  half_attention<1, 16, true>(run, 2, 64, true, false);
  half_attention<2, 32, true>(run, 1, 70, true, true);
  half_attention<1, 64, false>(run, 1, 130, false, true);
  half_attention<2, 23, true>(run, 2, 17, true, true);  // a width that is no multiple of 16
  half_attention<2, 23, true>(run, 1, 70, true, true);
  half_conv<data2vec::ConvShape{24, 24, 2, 3, 3, 4, 4}>(run, 5);        // 12 channels a group: parts of packs
  half_conv<data2vec::ConvShape{96, 48, 2, 3, 3, 7, 5}>(run, 3);        // whole packs, another width out
  half_conv<data2vec::ConvShape{80, 70, 1, 1, 5, 1, 30}>(run, 2);       // two steps of channels
  half_conv<data2vec::ConvShape{8, 6, 2, 1, 3, 1, 300}>(run, 1);        // two tiles of one line
  half_conv<data2vec::ConvShape{6, 10, 2, 5, 5, 17, 16}>(run, 1);       // tiles of lines, odd channels, taps in parts
  half_rows<96>(run, 50);
  half_rows<256>(run, 9);
  return run.results;
}

}  // namespace cases
