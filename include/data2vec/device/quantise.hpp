// SPDX-License-Identifier: MIT
// Product quantisation with a Gumbel softmax (Jang et al., 2017; wav2vec 2.0, Baevski et al., 2020, section 2): each of
// G groups takes one of its V entries; the gradient passes as if the softmax had been taken instead.
#pragma once

#include <data2vec/device/device.hpp>
#include <data2vec/device/dropout.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Quantise;
}

/// G groups of V entries, vectors of `width` numbers.
struct CodebookShape {
  int groups, entries, width;
  constexpr int codes() const { return groups * entries; }
  constexpr int dim() const { return groups * width; }
  friend constexpr bool operator==(const CodebookShape&, const CodebookShape&) = default;
};

/// exp(entropy) of the use of the entries, summed over groups.
struct CodebookPerplexities {
  double code = 0;  ///< of the entries with the largest logits
  double prob = 0;  ///< of the softmax of the logits
};

namespace device {

/// y (rows, elements_per_row) = -log(-log U), U uniform in (0, 1): element e of a row comes from word e of its stream.
template <Device D, class T>
void gumbel_noise(D& d, int rows, int elements_per_row, const DropoutDraws& draws, T* y) {
  kernel::Quantise<D>::template noise<T>(d, rows, elements_per_row, draws, y);
}

/// Of logits (rows, G, V): codes (rows, G), the entries whose logit plus noise is largest, and soft (rows, G, V), the
/// softmax of (logits + noise) / *temperature, a number in memory of the device, which changes from step to step.
/// `noise` and `soft` may be null (evaluation); without `soft` the temperature may be too.
template <CodebookShape S, Device D, class T>
void choose_codes(D& d, int rows, const T* logits, In<T> noise, const double* temperature, Out<T> soft, int* codes) {
  kernel::Quantise<D>::template choose<S, T>(d, rows, logits, noise, temperature, soft, codes);
}

/// q (rows, G * width): the entries of the codes side by side. entries (G * V, width).
template <CodebookShape S, Device D, class T>
void look_up_codes(D& d, int rows, const int* codes, In<T> entries, T* q) {
  kernel::Quantise<D>::template look_up<S, T>(d, rows, codes, entries, q);
}

/// dentries (G * V, width), accumulated.
template <CodebookShape S, Device D, class T>
void look_up_codes_backward(D& d, int rows, const int* codes, In<T> dq, T* dentries) {
  kernel::Quantise<D>::template look_up_backward<S, T>(d, rows, codes, dq, dentries);
}

/// dlogits (rows, G, V), overwritten: as if q had been the mean of the entries under `soft`.
template <CodebookShape S, Device D, class T>
void choose_codes_backward(D& d, int rows, In<T> dq, In<T> entries, In<T> soft, const double* temperature,
                           T* dlogits) {
  kernel::Quantise<D>::template choose_backward<S, T>(d, rows, dq, entries, soft, temperature, dlogits);
}

/// How evenly the rows use the entries. usage (G, V) receives the mean of softmax(logits) over rows.
template <CodebookShape S, Device D, class T>
CodebookPerplexities perplexities(D& d, int rows, const T* logits, double* usage) {
  return kernel::Quantise<D>::template perplexities<S, T>(d, rows, logits, usage);
}

/// Adds `weight` times the derivative of CodebookPerplexities::prob to dlogits.
template <CodebookShape S, Device D, class T>
void perplexity_backward(D& d, int rows, In<T> logits, const double* usage, double weight, T* dlogits) {
  kernel::Quantise<D>::template perplexity_backward<S, T>(d, rows, logits, usage, weight, dlogits);
}

}  // namespace device
}  // namespace data2vec::inline v0
