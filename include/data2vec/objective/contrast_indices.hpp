// SPDX-License-Identifier: MIT
// What wav2vec 2.0 hides, and which targets each hidden frame is told apart from.
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/layers/dropout.hpp>
#include <data2vec/masking/negatives.hpp>
#include <data2vec/masking/policy.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// Indices of B samples. Targets are those of the n hidden positions, sample by sample, then random ones.
template <class Enc, class Masking, Wav2Vec2Config W, int B>
struct ContrastIndices {
  static constexpr int T_ = Enc::T_, most = B * masked_tokens<Masking>, pool = most * (1 + W.codebook_negatives);
  static constexpr int K = W.num_negatives + W.cross_sample_negatives + W.codebook_negatives;
  static constexpr int groups = W.latent_groups;

  typename Enc::template Index<B, T_> encoder;
  View<int, B + 1> first;          // where the positions of each sample begin; the last: their number, n
  View<int, most> rows;            // of (B, T): the hidden positions
  View<int, most, K> negatives;    // targets that position i is told apart from
  View<int, most, K> candidates;   // the same, -1 for those of the same codes
  View<int, pool, groups> codes;   // of the targets; n + j n + i is the j-th random one of position i
  View<int, B * T_> kept;          // of (B, T): the row itself, -1 where a vector stands for the hidden frame
  View<int, B * T_> mask_tokens;   // 0 where it does, -1 elsewhere
  View<int, 2> temperature_memory;
  static constexpr void visit(auto&& f, auto&... i) {
    f("encoder", i.encoder...);
    f("first", i.first...);
    f("rows", i.rows...);
    f("negatives", i.negatives...);
    f("candidates", i.candidates...);
    f("codes", i.codes...);
    f("kept", i.kept...);
    f("mask_tokens", i.mask_tokens...);
    f("temperature", i.temperature_memory...);
  }
  int count() const { return first[B]; }
  /// The quantiser's in this step.
  double* temperature() const { return reinterpret_cast<double*>(temperature_memory.data); }

  /// Hides the places of a mask; samples in their order.
  void hide(int b, const bool* hidden) const {
    if (b == 0) first[0] = 0;
    int at = first[b];
    for (int t = 0; t < T_; ++t)
      if (hidden[t]) rows[at++] = b * T_ + t;
    first[b + 1] = at;
  }

  /// Frames of a sample that are no padding. `lengths` (B): numbers of each that are none; null: all.
  static int valid(const int* lengths, int b) { return lengths ? Enc::valid_tokens(lengths[b]) : T_; }

  /// Draws masks, negatives and random codes.
  void draw(const Draws& draws, const int* lengths) const {
    for (int b = 0; b < B; ++b) {
      Mask<T_> mask;
      Rng rng(draws.at(Site::masks, 0, 0).key(b));
      if constexpr (Enc::padded) Masking::sample(rng, mask, valid(lengths, b));
      else Masking::sample(rng, mask);
      hide(b, mask.hidden);
    }
    const int n = count();
    for (int b = 0; b < B; ++b) {
      Rng rng(draws.at(Site::negatives, 0, 0).key(b));
      for (int i = first[b]; i < first[b + 1]; ++i) {
        int* const own = negatives[i].data;
        sample_negatives(rng, first[b], first[b + 1] - first[b], i, W.num_negatives, own);
        sample_negatives(rng, 0, n, i, W.cross_sample_negatives, own + W.num_negatives);
        for (int j = 0; j < W.codebook_negatives; ++j)
          for (int g = 0; g < groups; ++g)
            codes[n + j * n + i][g] = static_cast<int>(rng.below(static_cast<std::uint32_t>(W.latent_vars)));
      }
    }
    add_random_negatives();
  }
  /// The random codes of each position among its negatives.
  void add_random_negatives() const {
    const int n = count();
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < W.codebook_negatives; ++j) negatives[i][K - W.codebook_negatives + j] = n + j * n + i;
  }
  /// Completes the index once hidden places, negatives and random codes are there.
  void complete(const int* lengths, double latent_temp) const {
    int frames[B];
    for (int b = 0; b < B; ++b) frames[b] = valid(lengths, b);
    Enc::Rows::index_all(encoder, Enc::padded ? frames : nullptr);
    for (int i = 0; i < B * T_; ++i) kept[i] = i, mask_tokens[i] = -1;
    for (int i = 0; i < count(); ++i) kept[rows[i]] = -1, mask_tokens[rows[i]] = 0;
    *temperature() = latent_temp;
  }
};

}  // namespace data2vec::inline v0
