// SPDX-License-Identifier: MIT
// Which tokens the student's rows hold, which the decoder predicts, and where each lies in the memory of a step.
#pragma once

#include <type_traits>

#include <data2vec/core/parameter.hpp>
#include <data2vec/layers/dropout.hpp>
#include <data2vec/masking/index.hpp>
#include <data2vec/masking/policy.hpp>

namespace data2vec::inline v0 {

/// What padding adds to the indices of B samples and N rows.
template <int B, int N>
struct PaddedIndices {
  View<int, B> lengths;        // of the samples, in numbers of a waveform or in tokens: set before anything else
  View<int, B> valid;          // tokens that are no padding
  View<int, N> shown, hidden;  // places in use of the V and R of a row
  static constexpr void visit(auto&& f, auto&... i) {
    f("lengths", i.lengths...);
    f("valid", i.valid...);
    f("shown", i.shown...);
    f("hidden", i.hidden...);
  }
};

/// Indices of B samples with M masks each, made from masks: drawn by `draw`, or given and then completed by `complete`.
/// `sees_all` tells a decoder that is fed all tokens from one that is fed the visible ones.
template <class Enc, class Masking, bool sees_all, int B, int M>
struct MaskIndices {
  static constexpr int N = B * M, E = Enc::E, T_ = Enc::T_, V = Masking::visible, R = masked_tokens<Masking>;
  static constexpr int S = E + V, filled = T_ - V;
  static constexpr bool padded = Enc::padded, exact = Enc::exact;

  typename Enc::template Index<N, V> student;
  typename Enc::template Index<B, T_> teacher;
  View<int, N, T_> restore;        // place of each token among the row's visible, then hidden tokens
  View<int, N, V> visible;         // visible positions, ascending (student.keep may have another order)
  View<int, N, R> masked;          // hidden positions, ascending
  View<int, N, R> masked_rows;     // the same as rows of (N, T)
  View<int, N, R> target_rows;     // the same as rows of (B, T)
  View<int, N, T_> pool_rows;      // decoder input as rows of the pool
  View<int, N, S> decoder_rows;    // encoder output as rows of the decoder's input, -1 for extra tokens
  View<int, N> cls_rows, samples;  // the CLS token of each row; the sample of each row
  std::conditional_t<padded, PaddedIndices<B, N>, Nothing> padding;
  static constexpr void visit(auto&& f, auto&... i) {
    f("student", i.student...);
    f("teacher", i.teacher...);
    f("restore", i.restore...);
    f("visible", i.visible...);
    f("masked", i.masked...);
    f("masked_rows", i.masked_rows...);
    f("target_rows", i.target_rows...);
    f("pool_rows", i.pool_rows...);
    f("decoder_rows", i.decoder_rows...);
    f("cls_rows", i.cls_rows...);
    f("samples", i.samples...);
    f("padding", i.padding...);
  }

  /// Tokens of sample b that are no padding, of which row n shows and hides so many.
  int valid(int b) const {
    if constexpr (padded) return padding.valid[b];
    else return T_;
  }
  int shown(int n) const {
    if constexpr (exact) return padding.shown[n];
    else return V;
  }
  int hidden(int n) const {
    if constexpr (exact) return padding.hidden[n];
    else return R;
  }
  /// Hidden positions of all rows: what the sample size counts.
  int hidden() const {
    int sum = 0;
    for (int n = 0; n < N; ++n) sum += hidden(n);
    return sum;
  }

  /// Takes over the lengths (B) of the samples; null: all are full.
  void set_lengths(const int* lengths) const {
    if constexpr (padded)
      for (int b = 0; b < B; ++b) {
        padding.lengths[b] = lengths ? lengths[b] : Enc::full_length;
        padding.valid[b] = lengths ? Enc::valid_tokens(lengths[b]) : T_;
      }
  }

  /// Draws the mask of every row from the policy and indexes it.
  void draw(const Draws& draws) const {
    for (int n = 0; n < N; ++n) {
      Mask<T_> mask;
      Rng rng(draws.at(Site::masks, 0, 0).key(n));
      if constexpr (exact) {
        const int tokens = valid(n / M);
        Masking::sample(rng, mask, tokens);
        padding.shown[n] = Masking::visible_of(tokens);
        padding.hidden[n] =
            index_mask(mask.hidden, tokens, padding.shown[n], student.keep[n].data, restore[n].data, masked[n].data);
        // Hidden tokens come behind the V places of the visible ones, of which some are not in use.
        for (int t = 0; t < T_; ++t)
          if (t >= tokens) restore[n][t] = -1;
          else if (restore[n][t] >= padding.shown[n]) restore[n][t] += V - padding.shown[n];
      } else {
        Masking::sample(rng, mask);
        index_mask(mask.hidden, T_, V, student.keep[n].data, restore[n].data, masked[n].data);
      }
    }
    complete();
  }

  /// Completes the indices, the teacher's too, once lengths, `student.keep`, `restore` and `masked` are there.
  void complete() const {
    const int* valid_tokens = nullptr;
    if constexpr (padded) valid_tokens = padding.valid.data;
    Enc::Rows::index_all(teacher, valid_tokens);
    Enc::Rows::index_rows(
        M, student, valid_tokens, [&](int n) { return shown(n); },
        [&](int n, auto&& hide) {
          for (int r = 0; r < hidden(n); ++r) hide(masked[n][r]);
        });
    for (int n = 0; n < N; ++n) {
      for (int r = 0; r < R; ++r) {
        const bool used = r < hidden(n);
        masked_rows[n][r] = used ? n * T_ + masked[n][r] : -1;
        target_rows[n][r] = used ? n / M * T_ + masked[n][r] : -1;
      }
      for (int t = 0, v = 0; t < T_; ++t) {
        const int place = restore[n][t];
        if (place >= 0 && place < V) visible[n][v++] = t;
        pool_rows[n][t] = place < 0 ? -1 : place < V ? n * S + E + place : N * S + n * filled + place - V;
      }
      for (int e = 0; e < E; ++e) decoder_rows[n][e] = -1;
      for (int v = 0; v < V; ++v)
        decoder_rows[n][E + v] = v >= shown(n) ? -1 : sees_all ? n * T_ + student.keep[n][v] : n * V + v;
      cls_rows[n] = n * S + E - 1;
      samples[n] = n / M;
    }
  }
};

}  // namespace data2vec::inline v0
