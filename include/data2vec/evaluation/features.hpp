// SPDX-License-Identifier: MIT
// Features of a trained encoder: whole samples in, no mask, no decoder, evaluation mode.
#pragma once

#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/model/encoder.hpp>

namespace data2vec::inline v0 {

/// Extracts features of B samples at a time. Weights are read only: any number of threads may share one buffer of
/// parameters, each with a workspace and an index of its own. Nothing is allocated.
template <class Model, int B = 1>
struct Features {
  using Branch = typename Model::First;
  using Enc = typename Branch::Enc;
  using M = typename Branch::M;
  static constexpr int D = Enc::D, E = Enc::E, S = E + Enc::T_, depth = Model::config.depth;
  static constexpr int last_layer = depth;  ///< the encoder's output, behind the final norm of pre-norm models

  template <class T>
  struct Workspace {
    View<T, B, Enc::T_, D> local;
    View<T, B, S, D> kept;
    typename Enc::Local::template Tape<T, B> local_tape;
    typename Enc::template Memory<T, B, 1, Enc::T_, false> encoder;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("kept", w.kept...);
      f("local_tape", w.local_tape...);
      f("encoder", w.encoder...);
    }
  };
  using Index = typename Enc::template Index<B, Enc::T_>;

  /// Features (B, E + T, D) of samples (B, sample_size): the output of shared block `layer` (0 for the prenet's output,
  /// 1 for the first block, ...), by default the encoder's. The result lies in the workspace. Throws OptionError
  /// unless 0 <= layer <= depth. `lengths` (B), of a modality with padding: elements of each sample that are none; null:
  /// all. Features of padding mean nothing; under Padding::exact the others do not depend on it.
  template <Device Dev, class T>
  static View<const T, B, S, D> run(Dev& d, const typename Branch::template Weights<const T>& weights,
                                    View<const SampleOf<M, T>, B, M::sample_size> samples, const Workspace<T>& w,
                                    const Index& index, int layer = last_layer, const int* lengths = nullptr) {
    expect_layer(layer);
    index_tokens(index, lengths);
    return encode(d, weights, samples, w, index, layer, lengths);
  }

  static void expect_layer(int layer) {
    if (layer < 0 || layer > depth)
      throw OptionError("features: expected a layer between 0 and " + std::to_string(depth) + ", found " +
                        std::to_string(layer));
  }
  /// Fills the index of samples of these lengths (B); null: all are full.
  static void index_tokens(const Index& index, const int* lengths) {
    int valid[B];
    for (int b = 0; b < B; ++b) valid[b] = lengths ? Enc::valid_tokens(lengths[b]) : Enc::T_;
    Enc::Rows::index_all(index, Enc::padded ? valid : nullptr);
  }
  /// `run` of a layer that is there, on an index that is filled.
  template <Device Dev, class T>
  static View<const T, B, S, D> encode(Dev& d, const typename Branch::template Weights<const T>& weights,
                                       View<const SampleOf<M, T>, B, M::sample_size> samples, const Workspace<T>& w,
                                       const Index& index, int layer, const int* lengths) {
    Enc::tokens(d, weights.branch.front.local_encoder, samples, w.local, w.local_tape, lengths);
    const auto out = Enc::forward(Pass{d}, Pass{d}, weights.branch.front, weights.blocks, weights.norm,
                                  View<const T, B, Enc::T_, D>(w.local), index, w.encoder,
                                  [&](int i, const auto&, const auto& output) {
                                    if (i + 1 == layer) device::copy(d, w.kept.size, output.data, w.kept.data);
                                  });
    return layer == last_layer ? out.encoder : layer == 0 ? out.prenet : View<const T, B, S, D>(w.kept);
  }

  /// Means over each of `parts.height` x `parts.width` parts of the grid of tokens, extra tokens left out: (B, parts,
  /// D). A part without a token, of a grid with fewer rows or columns than that, is 0.
  template <Device Dev, class T>
  static void pool(Dev& d, View<const T, B, S, D> features, Grid parts, T* pooled) {
    for (int b = 0; b < B; ++b)
      for (int part = 0; part < parts.size(); ++part, pooled += D)
        mean(d, features[b], pooled, [&](auto&& use) { tokens_of_part(parts, part, use); });
  }
  /// use(t) for the tokens of one of these parts, which are counted row by row.
  template <class Use>
  static void tokens_of_part(Grid parts, int part, Use&& use) {
    constexpr Grid grid = M::grid;
    const auto begin = [](int i, int cells, int side) { return (i * side + cells - 1) / cells; };
    const int i = part / parts.width, j = part % parts.width;
    for (int y = begin(i, parts.height, grid.height); y < begin(i + 1, parts.height, grid.height); ++y)
      for (int x = begin(j, parts.width, grid.width); x < begin(j + 1, parts.width, grid.width); ++x)
        use(y * grid.width + x);
  }

  /// The mean over all tokens, with `lengths` (B) over those that are no padding: (B, D).
  template <Device Dev, class T>
  static void mean_pool(Dev& d, View<const T, B, S, D> features, T* pooled, const int* lengths = nullptr) {
    pool_stretches(d, features, 1, pooled, lengths);
  }

  /// Means over `parts` equal stretches of a sequence, of its tokens that are no padding where there are `lengths`: (B,
  /// parts, D). Stretches share tokens where their ends fall within one; with fewer tokens than parts each is one token.
  template <Device Dev, class T>
  static void pool_stretches(Dev& d, View<const T, B, S, D> features, int parts, T* pooled,
                             const int* lengths = nullptr) {
    for (int b = 0; b < B; ++b)
      for (int part = 0; part < parts; ++part, pooled += D)
        mean(d, features[b], pooled, [&](auto&& use) {
          tokens_of_stretch(lengths ? Enc::valid_tokens(lengths[b]) : Enc::T_, parts, part, use);
        });
  }
  /// use(t) for the tokens of one of these stretches of `tokens`.
  template <class Use>
  static void tokens_of_stretch(int tokens, int parts, int part, Use&& use) {
    for (int t = part * tokens / parts; t < ((part + 1) * tokens + parts - 1) / parts; ++t) use(t);
  }

 private:
  /// The mean (D) of those of a sample's features that `each_token(use)` names, 0 if there are none.
  template <class Dev, class T, class F>
  static void mean(Dev& d, View<const T, S, D> features, T* pooled, F&& each_token) {
    int tokens = 0;
    device::fill(d, static_cast<std::size_t>(D), 0, pooled);
    each_token([&](int t) {
      device::add(d, static_cast<std::size_t>(D), static_cast<const T*>(pooled), features[E + t].data, pooled);
      ++tokens;
    });
    if (tokens > 1) device::scale(d, static_cast<std::size_t>(D), 1.0 / tokens, pooled);
  }
};

/// The features of B samples by `Features`: parameters of the model, samples (B, sample_size) -> (B, E + T, D).
template <class Model, int B, Device Dev, class T>
View<const T, B, Features<Model, B>::S, Features<Model, B>::D> features(
    Dev& d, const typename Model::template Parameters<const T>& parameters,
    View<const SampleOf<typename Features<Model, B>::M, T>, B, Features<Model, B>::M::sample_size> samples,
    const typename Features<Model, B>::template Workspace<T>& workspace,
    const typename Features<Model, B>::Index& index, int layer = Features<Model, B>::last_layer,
    const int* lengths = nullptr) {
  return Features<Model, B>::run(d, Model::template weights<0>(parameters), samples, workspace, index, layer, lengths);
}

}  // namespace data2vec::inline v0
