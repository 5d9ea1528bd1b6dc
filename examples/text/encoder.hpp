// SPDX-License-Identifier: MIT
// A pre-trained encoder with its vocabulary, and the features that it makes of many samples on all threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <data2vec/evaluation/features.hpp>

#include "examples/common/encoder.hpp"
#include "examples/text/data.hpp"
#include "examples/text/labelled.hpp"

namespace demo {

/// Which encoder, and which vocabulary.
struct EncoderOptions {
  std::string weights, vocab;
  bool teacher = false;

  void add_to(CLI::App& app, bool required) {
    app.add_option("--weights", weights, "pre-trained weights or checkpoint (.safetensors)")->required(required);
    app.add_flag("--teacher", teacher, "the teacher of a checkpoint instead of the student");
    app.add_option("--vocab", vocab, "folder of vocab.bpe, encoder.json, dict.txt; without it the one beside the "
                                     "weights, without weights one is learnt");
  }
  d2v::Json json() const { return {{"weights", weights}, {"teacher", teacher}, {"vocab", vocab}}; }
  std::string folder() const {
    if (!vocab.empty() || weights.empty()) return vocab;
    return (std::filesystem::path(weights).parent_path() / "vocab").string();
  }
};

struct TextEncoder {
  std::optional<Encoder> encoder;  ///< none without weights
  Vocabulary vocabulary;

  /// Throws the errors of both, MismatchError for a vocabulary that is not the weights' own, and UsageError without
  /// weights and vocabulary.
  explicit TextEncoder(const EncoderOptions& o) : vocabulary(vocabulary_of(o)) {
    if (o.weights.empty()) return;
    encoder = read_weights<Model>(o.weights, o.teacher);
    const std::string known = encoder->kept.value("vocabulary", vocabulary.fingerprint());
    if (known != vocabulary.fingerprint())
      throw d2v::MismatchError(o.folder() + ": expected the vocabulary " + known + ", with which " + o.weights +
                               " was trained, found " + vocabulary.fingerprint());
  }

  std::span<const float> weights() const { return {encoder->weights.data(), encoder->weights.size()}; }

 private:
  static Vocabulary vocabulary_of(const EncoderOptions& o) {
    if (o.folder().empty()) throw UsageError("--vocab: expected a folder where there are no --weights, found none");
    return Vocabulary::open(o.folder());
  }
};

/// What becomes of a text's tokens: the mean of all, the first one (`<s>`), or all of them as they are.
enum class Pool { mean, first, none };
inline const std::map<std::string, Pool> pool_names{{"mean", Pool::mean}, {"first", Pool::first}, {"none", Pool::none}};

class FeatureExtractor {
 public:
  static constexpr int chunk = 8;
  using F = d2v::Features<Model, chunk>;
  static constexpr int D = F::D, last_layer = F::last_layer;

  /// `threads` 0: as many as the machine has.
  explicit FeatureExtractor(int threads) : team_(threads) {
    for (int i = 0; i < team_.size(); ++i) {
      memory_.emplace_back(d2v::buffer_size<F::Workspace<float>>);
      indices_.emplace_back(d2v::buffer_size<F::Index>);
    }
  }

  /// Numbers of a text.
  static constexpr std::size_t width(Pool pool) {
    return static_cast<std::size_t>(D * (pool == Pool::none ? F::S : 1));
  }

  /// Features (n, width(pool)) of token ids (n, T). `weights` is a buffer of the model's parameters; layer as in
  /// d2v::features.
  void operator()(const float* weights, const std::int32_t* samples, std::size_t n, Pool pool, int layer, float* out) {
    const auto parameters = d2v::bind<Model::Parameters<const float>>(weights);
    team_.for_each_task(static_cast<int>((n + chunk - 1) / chunk), [&](int thread, int task) {
      d2v::Cpu device;
      const std::size_t first = static_cast<std::size_t>(task) * chunk, count = std::min<std::size_t>(chunk, n - first);
      std::array<std::int32_t, chunk * sample_size> input;  // the last chunk is filled up with its last sample
      std::array<int, chunk> lengths;
      for (std::size_t b = 0; b < chunk; ++b) {
        const std::int32_t* const sample = samples + (first + std::min(b, count - 1)) * sample_size;
        std::copy_n(sample, sample_size, &input[b * sample_size]);
        lengths[b] = std::max(1, Words::length_of(sample));
      }
      const auto found = d2v::features<Model, chunk>(
          device, parameters, d2v::View<const std::int32_t, chunk, Words::sample_size>{input.data()},
          d2v::bind<F::Workspace<float>>(memory_[static_cast<std::size_t>(thread)].data()),
          d2v::bind<F::Index>(indices_[static_cast<std::size_t>(thread)].data()), layer,
          lengths.data());                                                                       // (chunk, T, D)
      float* const to = out + first * width(pool);
      if (pool == Pool::mean) {
        std::array<float, chunk * D> pooled;
        F::mean_pool(device, found, pooled.data(), lengths.data());                                        // (chunk, D)
        std::copy_n(pooled.data(), count * width(pool), to);
      } else {
        for (std::size_t b = 0; b < count; ++b)
          std::copy_n(found[static_cast<std::ptrdiff_t>(b)].data, width(pool), to + b * width(pool));
      }
    });
  }

 private:
  d2v::ThreadTeam team_;
  std::vector<d2v::Buffer<float>> memory_;
  std::vector<d2v::Buffer<int>> indices_;
};

}  // namespace demo
