// SPDX-License-Identifier: MIT
// Cases of the operations of speech and text. T is the type of the arrays; with `half` the bounds are those of
// bfloat16's roundings, for a device that has such arrays beside one that has floats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <data2vec/device/contrast.hpp>
#include <data2vec/device/ctc.hpp>
#include <data2vec/device/embedding.hpp>
#include <data2vec/device/quantise.hpp>
#include <data2vec/device/strided_conv.hpp>
#include <data2vec/device/time_norm.hpp>
#include <data2vec/device/weight_norm.hpp>

#include "tests/device/cuda/cases_half.hpp"

namespace cases {

template <class T, class Side>
struct SequenceRun : HalfRun<T, Side> {
  bool half;

  /// The bound for a sum of so many terms in [-1, 1).
  double bound(double terms) const {
    return half ? 6 * half_rounding * (1 + std::sqrt(terms) / 3) : product_rounding(terms);
  }
};

template <int C, class T, class Side>
void embedding(SequenceRun<T, Side>& run, int tokens) {
  constexpr int samples = 5, pad = 1, vocabulary = 60;
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(samples) * static_cast<std::size_t>(tokens);
  std::vector<std::int32_t> words = indices(n, 1, 0, vocabulary);  // pads here and there
  for (std::size_t i = n - static_cast<std::size_t>(tokens) / 2; i < n; ++i) words[i] = pad;
  const std::int32_t* const ids = run.side.in(words);
  const data2vec::EmbeddingShape shape{samples, tokens, pad};
  const auto places = static_cast<std::size_t>(pad + 1 + tokens);
  const T *table = run.in(numbers(vocabulary * C, 2)), *positions = run.in(numbers(places * C, 3)),
          *dy = run.in(numbers(n * C, 4));
  T *y = run.space(n * C), *dtable = run.in(numbers(vocabulary * C, 5)), *dpositions = run.in(numbers(places * C, 6));
  namespace device = data2vec::device;
  device::embed<C>(d, shape, ids, table, 1.7, positions, y);
  run.keep("embed", y, n * C, run.bound(2));
  device::embed<C>(d, shape, ids, table, 1.7, nullptr, y);
  run.keep("embed without positions", y, n * C, run.bound(2));
  device::embed_gradient<C>(d, shape, ids, dy, 1.7, dtable, dpositions);
  run.keep("embed_gradient", dtable, vocabulary * C, 2 * run.bound(static_cast<double>(n) / vocabulary + 1));
  run.keep("embed_gradient positions", dpositions, places * C, run.bound(samples + 1));
  device::embed_gradient<C>(d, shape, ids, dy, 0.3, dtable, nullptr);
  run.keep("embed_gradient without positions", dtable, vocabulary * C,
           2 * run.bound(static_cast<double>(n) / vocabulary + 1));
  T* const sines = run.space(70 * C);
  device::sinusoids<C>(d, 70, pad, sines);
  run.keep("sinusoids", sines, 70 * C, run.half ? half_rounding : 1e-7);
}

template <data2vec::StridedConvShape S, class T, class Side>
void strided_conv(SequenceRun<T, Side>& run, int rows) {
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(rows);
  const std::size_t in = n * S.length * S.in_channels, out = n * S.out_length() * S.out_channels;
  const T *x = run.in(numbers(in, 1)), *w = run.in(numbers(S.weight_size(), 2)),
          *bias = run.in(numbers(S.out_channels, 3)), *dy = run.in(numbers(out, 4));
  T *ordered = run.space(S.weight_size()), *y = run.space(out), *dx = run.space(in);
  T *dw = run.in(numbers(S.weight_size(), 5)), *db = run.in(numbers(S.out_channels, 6));
  T* const scratch = run.space(S.weight_size());
  namespace device = data2vec::device;
  device::strided_conv_order<S>(d, w, ordered);
  run.keep("strided_conv_order", ordered, S.weight_size(), 0);
  device::strided_conv<S>(d, rows, x, ordered, y, bias);
  run.keep("strided_conv", y, out, run.bound(S.window()));
  device::strided_conv<S>(d, rows, x, ordered, y);
  run.keep("strided_conv without bias", y, out, run.bound(S.window()));
  device::strided_conv_input_gradient<S>(d, rows, dy, ordered, dx);
  run.keep("strided_conv_input_gradient", dx, in, run.bound(S.out_channels * S.kernel));
  device::strided_conv_weight_gradient<S>(d, rows, dy, x, dw, scratch, db);
  run.keep("strided_conv_weight_gradient", dw, S.weight_size(), run.bound(rows * S.out_length()));
  run.keep("strided_conv_weight_gradient bias", db, S.out_channels, run.bound(rows * S.out_length()));
}

template <int C, class T, class Side>
void time_norm(SequenceRun<T, Side>& run, int frames) {
  constexpr int rows = 4;
  auto& d = run.device();
  const auto row = static_cast<std::size_t>(frames) * C, n = rows * row;
  auto values = numbers(n, 1);
  for (float& v : values) v += 2;
  const T *x = run.in(values), *gamma = run.in(numbers(C, 2)), *beta = run.in(numbers(C, 3));
  const int* const lengths = run.side.in(std::vector<int>{frames, 0, 1, frames / 2});
  // A deviation of 0.58; a row of one frame has none, and its x is its mean to the bit.
  const double error = run.half ? 4 * half_rounding : rounding(4, 8);
  namespace device = data2vec::device;
  for (const int* valid : {static_cast<const int*>(nullptr), lengths}) {
    T *y = run.space(n), *dx = run.space(n), *dgamma = run.in(numbers(C, 5)), *dbeta = run.in(numbers(C, 6));
    T* const stats = run.space(static_cast<std::size_t>(rows * data2vec::kept_numbers<T>(2 * C)));
    device::time_norm<C>(d, rows, frames, valid, x, gamma, beta, 1e-5, y, stats);
    run.keep("time_norm", y, n, error);
    device::time_norm_backward<C>(d, rows, frames, valid, run.in(numbers(n, 4)), x, gamma, stats, dx, dgamma, dbeta);
    const double steep = valid ? 400 : 1;  // 1 / sqrt(eps) for the row of one frame
    run.keep("time_norm_backward", dx, n, steep * 4 * error);
    run.keep("time_norm_backward dgamma", dgamma, C, error * std::sqrt(rows * frames));
    run.keep("time_norm_backward dbeta", dbeta, C, error * std::sqrt(rows * frames));
    T* const in_place = run.in(values);
    device::time_norm<C>(d, rows, frames, valid, in_place, gamma, beta, 1e-5, in_place, stats);
    run.keep("time_norm in place", in_place, n, error);
  }
}

template <int rows, int taps, class T, class Side>
void weight_norm(SequenceRun<T, Side>& run) {
  auto& d = run.device();
  constexpr std::size_t n = std::size_t{rows} * taps;
  const T *v = run.in(numbers(n, 1)), *g = run.in(numbers(taps, 2)), *dweight = run.in(numbers(n, 3));
  T *weight = run.space(n), *norms = run.space(static_cast<std::size_t>(data2vec::kept_numbers<T>(taps)));
  T *dv = run.in(numbers(n, 4)), *dg = run.in(numbers(taps, 5));
  data2vec::device::weight_norm<rows, taps>(d, v, g, weight, norms);
  run.keep("weight_norm", weight, n, run.half ? half_rounding : rounding(1));
  data2vec::device::weight_norm_backward<rows, taps>(d, dweight, v, g, norms, dv, dg);
  run.keep("weight_norm_backward", dv, n, run.half ? 2 * half_rounding : rounding(2));
  run.keep("weight_norm_backward dg", dg, taps, run.half ? 4 * half_rounding : rounding(4));
}

/// Targets that fit, one that needs all of its frames, one that does not fit, no labels, no frames.
template <int classes, class T, class Side>
void ctc(SequenceRun<T, Side>& run, int frames) {
  constexpr int rows = 6, most_labels = 9;
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(rows * frames) * classes;
  const T* const logits = run.in(numbers(n, 1, 4));
  auto labels = indices(rows * most_labels, 2, 1, classes);
  for (int i = 0; i < 4; ++i) labels[static_cast<std::size_t>(most_labels + i)] = 1 + i % 2;
  for (int i = 0; i < 3; ++i) labels[static_cast<std::size_t>(2 * most_labels + i)] = 2;  // blanks between them
  const std::int32_t *targets = run.side.in(labels),
                     *input_lengths = run.side.in(std::vector<std::int32_t>{frames, 4, 4, frames / 2, 0, 0}),
                     *target_lengths = run.side.in(std::vector<std::int32_t>{most_labels, 4, 3, 0, 0, 2});
  double* const losses = run.side.in(std::vector<double>(rows, 7.0));
  double* const workspace =
      run.side.in(std::vector<double>(data2vec::ctc_workspace_size(frames, most_labels), 7.0));
  T* const dlogits = run.space(n);
  data2vec::CtcOptions options;
  const auto sums = data2vec::device::ctc<classes>(d, rows, frames, logits, input_lengths, most_labels, targets,
                                                   target_lengths, options, 0.5, losses, dlogits, workspace);
  run.keep("ctc", sums.loss, 1e-9);
  run.keep("ctc impossible", sums.impossible, 0);
  run.keep("ctc first impossible", sums.first_impossible, 0);
  run.keep_plain("ctc losses", losses, rows, 1e-9);
  run.keep("ctc gradient", dlogits, n, run.half ? half_rounding : rounding(1));
  const auto again = data2vec::device::ctc<classes>(d, rows - 4, frames, logits, input_lengths, most_labels, targets,
                                                    target_lengths, options, 0.5, nullptr, nullptr, workspace);
  run.keep("ctc without gradient", again.loss, 1e-9);
  run.keep("ctc, none impossible", again.first_impossible, 0);
}

template <data2vec::CodebookShape S, class T, class Side>
void quantise(SequenceRun<T, Side>& run, int rows) {
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(rows), size = n * S.codes(), wide = n * S.dim();
  const std::vector<std::uint32_t> samples{3, 7};
  data2vec::DropoutDraws draws;
  draws.seed = 4;
  draws.sample_ids = run.side.in(samples);
  draws.masks = (rows + 1) / 2;
  T* const drawn = run.space(size);
  namespace device = data2vec::device;
  device::gumbel_noise(d, rows, S.codes(), draws, drawn);
  run.keep("gumbel_noise", drawn, size, run.half ? 16 * half_rounding : 1e-5);
  const T *logits = run.in(numbers(size, 1, 4)), *noise = run.in(numbers(size, 2, 2)),
          *entries = run.in(numbers(S.codes() * S.width, 3)), *dq = run.in(numbers(wide, 4));
  T *soft = run.space(size), *q = run.space(wide), *dlogits = run.space(size);
  T* const dentries = run.in(numbers(S.codes() * S.width, 5));
  int* const codes = run.side.in(std::vector<int>(n * S.groups, 7));
  const double* const temperature = run.side.in(std::vector<double>{0.7});
  device::choose_codes<S>(d, rows, logits, nullptr, nullptr, nullptr, codes);
  run.keep_plain("choose_codes without noise", codes, n * S.groups, 0);
  device::choose_codes<S>(d, rows, logits, noise, temperature, soft, codes);
  run.keep_plain("choose_codes", codes, n * S.groups, 0);
  run.keep("choose_codes soft", soft, size, run.half ? half_rounding : rounding(1));
  device::look_up_codes<S>(d, rows, codes, entries, q);
  run.keep("look_up_codes", q, wide, 0);
  device::look_up_codes_backward<S>(d, rows, codes, dq, dentries);
  run.keep("look_up_codes_backward", dentries, S.codes() * S.width, run.bound(rows));
  device::choose_codes_backward<S>(d, rows, dq, entries, soft, temperature, dlogits);
  run.keep("choose_codes_backward", dlogits, size, 2 * run.bound(S.width));
  double* const usage = run.side.in(std::vector<double>(S.codes(), 7.0));
  const auto found = device::perplexities<S>(d, rows, logits, usage);
  run.keep("perplexities code", found.code, 1e-9);
  run.keep("perplexities prob", found.prob, 1e-9);
  run.keep_plain("perplexities usage", usage, S.codes(), 1e-12);
  T* const slope = run.in(numbers(size, 6));
  device::perplexity_backward<S>(d, rows, logits, usage, 3, slope);
  run.keep("perplexity_backward", slope, size, run.half ? 4 * half_rounding : rounding(4, 4));
}

/// Few codes, so that many targets have the same.
template <class T, class Side>
void equal_codes(SequenceRun<T, Side>& run, int rows, int pool, int K, int groups) {
  const auto n = static_cast<std::size_t>(rows) * static_cast<std::size_t>(K);
  const int* const codes = run.side.in(indices(static_cast<std::size_t>(pool * groups), 1, 0, 3));
  const int* const negatives = run.side.in(indices(n, 2, -1, pool));
  int* const candidates = run.side.in(std::vector<int>(n, 7));
  data2vec::device::leave_out_equal(run.device(), rows, K, groups, codes, negatives, candidates);
  run.keep_plain("leave_out_equal", candidates, n, 0);
}

template <int C, class T, class Side>
void contrast(SequenceRun<T, Side>& run, int rows, int pool, int K) {
  auto& d = run.device();
  const auto n = static_cast<std::size_t>(rows), m = static_cast<std::size_t>(pool), k = static_cast<std::size_t>(K);
  auto prediction = numbers(n * C, 1);
  const auto target_values = numbers(m * C, 2);
  std::copy_n(target_values.begin(), C, prediction.begin());  // one is right
  auto negatives = indices(n * k, 3, -1, pool);
  if (rows > 1)
    for (std::size_t i = 0; i < k; ++i) negatives[k + i] = 1;  // all are its own target: none is closest
  const T *x = run.in(prediction), *targets = run.in(target_values);
  T *logits = run.space(n * (k + 1)), *dx = run.space(n * C), *dy = run.space(m * C), *scratch = run.space(n + m);
  const auto sums = data2vec::device::contrast<C>(d, rows, pool, K, x, targets, run.side.in(negatives), 0.1, 0.5,
                                                  logits, dx, dy, scratch);
  run.keep("contrast", sums.loss, rounding(C, 10) * rows);
  run.keep("contrast correct", sums.correct, 0);
  std::vector<T> values = run.side.out(logits, n * (k + 1));
  for (std::size_t i = 0; i < n; ++i)  // infinities have no difference
    for (std::size_t j = 0; j < k; ++j)
      if (negatives[i * k + j] < 0) values[i * (k + 1) + j + 1] = values[i * (k + 1)];
  run.keep("contrast logits", run.side.in(values), n * (k + 1), run.half ? 10 * half_rounding : rounding(C, 10));
  // Slopes of 0.5 / 0.1 over |x| = sqrt(C / 3), for as many pairs.
  const double slope = 5 / std::sqrt(C / 3.0);
  run.keep("contrast dprediction", dx, n * C, slope * (run.half ? 4 * half_rounding : rounding(C, 10)));
  run.keep("contrast dtargets", dy, m * C, slope * (run.half ? 16 * half_rounding : rounding(C, 40)));
}

template <class T, class Side>
Results speech_and_text(Side& side, bool half) {
  SequenceRun<T, Side> run{{side}, half};
  embedding<64>(run, 80);
  embedding<37>(run, 5);
  strided_conv<data2vec::StridedConvShape{1, 12, 10, 5, 203}>(run, 3);  // neighbours overlap; some places unread
  strided_conv<data2vec::StridedConvShape{16, 24, 3, 2, 51}>(run, 2);
  strided_conv<data2vec::StridedConvShape{8, 8, 2, 2, 9}>(run, 2);      // windows side by side, a place left
  strided_conv<data2vec::StridedConvShape{4, 6, 2, 3, 14}>(run, 2);     // gaps between windows
  strided_conv<data2vec::StridedConvShape{3, 5, 7, 2, 8}>(run, 1);      // fewer frames than overlap
  time_norm<64>(run, 90);
  time_norm<37>(run, 2300);  // chunks of more than 32 frames
  weight_norm<700, 16>(run);
  weight_norm<5, 19>(run);
  ctc<32>(run, 40);
  ctc<70>(run, 13);
  quantise<data2vec::CodebookShape{2, 40, 16}>(run, 70);
  quantise<data2vec::CodebookShape{3, 7, 5}>(run, 9);
  equal_codes(run, 20, 26, 10, 2);
  equal_codes(run, 5, 5, 70, 3);
  contrast<64>(run, 20, 26, 10);
  contrast<37>(run, 5, 5, 70);
  contrast<8>(run, 1, 3, 0);
  return run.results;
}

}  // namespace cases
