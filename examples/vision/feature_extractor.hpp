// SPDX-License-Identifier: MIT
// Features of many images on all threads or on a GPU, with the tokens of each pooled as asked for.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/evaluation/features.hpp>

#include "examples/vision/data.hpp"
#include "examples/vision/device_features.hpp"

namespace demo {

inline const std::map<std::string, Pool> pool_names{{"mean", Pool::mean},
                                                    {"quarters", Pool::quarters},
                                                    {"ninths", Pool::ninths},
                                                    {"cls", Pool::cls},
                                                    {"none", Pool::none}};

inline std::string name_of(Pool pool) {
  for (const auto& [name, value] : pool_names)
    if (value == pool) return name;
  return "";
}

class FeatureExtractor {
 public:
  static constexpr int chunk = 8;
  using F = d2v::Features<Model, chunk>;
  static constexpr int D = F::D, last_layer = F::last_layer;
  static_assert(F::E >= 1, "Pool::cls needs an extra token");

  /// `threads` 0: as many as the machine has.
  explicit FeatureExtractor(int threads) : team_(threads) {
    for (int i = 0; i < team_.size(); ++i) {
      memory_.emplace_back(d2v::buffer_size<F::Workspace<float>>);
      indices_.emplace_back(d2v::buffer_size<F::Index>);
    }
  }

  d2v::ThreadTeam& team() { return team_; }
  /// From now on threads load images, and a GPU (device_features) does the rest.
  void run_on(ExtractFeatures device) { on_device_ = std::move(device); }

  /// Numbers of an image.
  static constexpr std::size_t width(Pool pool) {
    return static_cast<std::size_t>(D * (pool == Pool::none ? F::S : cells(pool) * cells(pool)));
  }

  /// Features (n, width(pool)) of samples (n, sample_size). `weights` is a buffer of the model's parameters; layer as
  /// in d2v::features. Throws OptionError for a layer that is not there.
  void operator()(const float* weights, const float* samples, std::size_t n, Pool pool, int layer, float* out) {
    if (layer < 0 || layer > last_layer)
      throw d2v::OptionError("--layer: expected 0 to " + std::to_string(last_layer) + ", found " +
                             std::to_string(layer));
    if (on_device_)
      return on_device_({weights, d2v::buffer_size<Model::Parameters<float>>}, samples, n, pool, layer, out);
    const auto parameters = d2v::bind<Model::Parameters<const float>>(weights);
    team_.for_each_task(static_cast<int>((n + chunk - 1) / chunk), [&](int thread, int task) {
      d2v::Cpu device;
      const std::size_t first = static_cast<std::size_t>(task) * chunk, count = std::min<std::size_t>(chunk, n - first);
      std::vector<float> filled;  // the last chunk, with its first samples again
      const float* input = samples + first * sample_size;
      if (count < chunk) {
        filled.resize(chunk * sample_size);
        for (std::size_t b = 0; b < chunk; ++b)
          std::copy_n(input + b % count * sample_size, sample_size, &filled[b * sample_size]);
        input = filled.data();
      }
      const auto tokens = d2v::features<Model, chunk>(
          device, parameters, d2v::View<const float, chunk, Images::sample_size>{input},
          d2v::bind<F::Workspace<float>>(memory_[static_cast<std::size_t>(thread)].data()),
          d2v::bind<F::Index>(indices_[static_cast<std::size_t>(thread)].data()), layer);          // (chunk, E + T, D)
      float* const to = out + first * width(pool);
      if (pool == Pool::none || pool == Pool::cls) {
        for (std::size_t b = 0; b < count; ++b)
          std::copy_n(tokens[static_cast<std::ptrdiff_t>(b)].data, width(pool), to + b * width(pool));
      } else {
        std::vector<float> pooled(chunk * width(pool));
        F::pool(device, tokens, {cells(pool), cells(pool)}, pooled.data());                        // (chunk, parts, D)
        std::copy_n(pooled.data(), count * width(pool), to);
      }
    });
  }

  /// The same of views [first, first + n), loaded in pieces; labels (n) unless null.
  void operator()(const float* weights, const Views& views, std::size_t first, std::size_t n, Pool pool, int layer,
                  float* out, int* labels = nullptr) {
    constexpr std::size_t piece = 1024;
    std::vector<float> samples(std::min(n, piece) * sample_size);
    for (std::size_t done = 0; done < n; done += piece) {
      const std::size_t count = std::min(piece, n - done);
      views.load(team_, first + done, count, samples.data(), labels ? labels + done : nullptr);
      (*this)(weights, samples.data(), count, pool, layer, out + done * width(pool));
      if (interrupted) return;
    }
  }

 private:
  d2v::ThreadTeam team_;
  ExtractFeatures on_device_;
  std::vector<d2v::Buffer<float>> memory_;
  std::vector<d2v::Buffer<int>> indices_;
};

}  // namespace demo
