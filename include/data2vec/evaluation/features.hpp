// SPDX-License-Identifier: MIT
// Features of a trained encoder: whole samples in, no mask, no decoder, evaluation mode.
#pragma once

#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/device/classify.hpp>
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
  /// unless 0 <= layer <= depth.
  template <Device Dev, class T>
  static View<const T, B, S, D> run(Dev& d, const typename Branch::template Weights<const T>& weights,
                                    View<const T, B, M::sample_size> samples, const Workspace<T>& w, const Index& index,
                                    int layer = last_layer) {
    if (layer < 0 || layer > depth)
      throw OptionError("features: expected a layer between 0 and " + std::to_string(depth) + ", found " +
                        std::to_string(layer));
    Enc::index_all(index);
    Enc::Local::forward(d, weights.branch.front.local_encoder, samples, w.local, w.local_tape);
    const auto out = Enc::forward(Pass{d}, Pass{d}, weights.branch.front, weights.blocks, weights.norm,
                                  View<const T, B, Enc::T_, D>(w.local), index, w.encoder,
                                  [&](int i, const auto&, const auto& output) {
                                    if (i + 1 == layer) device::copy(d, w.kept.size, output.data, w.kept.data);
                                  });
    return layer == last_layer ? out.encoder : layer == 0 ? out.prenet : View<const T, B, S, D>(w.kept);
  }

  /// Mean over the tokens, extra tokens left out: (B, D).
  template <Device Dev, class T>
  static void mean_pool(Dev& d, View<const T, B, S, D> features, T* pooled) {
    device::pool<Pooling::mean_pooling, D>(d, B, S, E, features.data, pooled);
  }
};

/// The features of B samples by `Features`: parameters of the model, samples (B, sample_size) -> (B, E + T, D).
template <class Model, int B, Device Dev, class T>
View<const T, B, Features<Model, B>::S, Features<Model, B>::D> features(
    Dev& d, const typename Model::template Parameters<const T>& parameters,
    View<const T, B, Features<Model, B>::M::sample_size> samples,
    const typename Features<Model, B>::template Workspace<T>& workspace,
    const typename Features<Model, B>::Index& index, int layer = Features<Model, B>::last_layer) {
  return Features<Model, B>::run(d, Model::template weights<0>(parameters), samples, workspace, index, layer);
}

}  // namespace data2vec::inline v0
