// SPDX-License-Identifier: MIT
// A run that costs a millisecond an update, for tests that end it in every way there is.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include <data2vec/data2vec.hpp>
#include <data2vec/training/loop.hpp>

namespace tiny_run {

using namespace data2vec;

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .average_top_k_layers = 2,
                               .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2};
using Images =
    Vision<VisionConfig{.input_size = 8, .patch_size = 4, .in_chans = 1, .modality = {.num_extra_tokens = 1}}>;
using Masks = RandomMask<Images::tokens, MaskConfig{.mask_prob = 0.5}>;
using Decoder = LinearDecoder<DecoderConfig{.input_dropout = 0}>;
struct Model : Data2Vec2<config, Branch<Images, Masks, Decoder>> {};
using ModelTrainer = Trainer<Model, Cpu>;

inline TrainerOptions options() {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = 1e-2, .warmup_updates = 2, .max_update = 1000};
  options.threads = 1;  // a process that forks may have no other threads
  return options;
}

/// Batches of noise, a function of the update.
struct Source {
  ModelTrainer& trainer;
  std::vector<float> samples = std::vector<float>(16 * Images::sample_size);
  std::vector<std::uint32_t> ids = std::vector<std::uint32_t>(16);

  Batch<float> operator()() {
    Rng rng({.seed = 4, .update = static_cast<std::uint32_t>(trainer.updates())});
    for (float& x : samples) x = rng.normal();
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(100 + i);
    return {samples, ids};
  }
};

/// The same updates without loop, files or interruption.
inline void train(ModelTrainer& trainer, std::int64_t until) {
  Source source{trainer};
  while (trainer.updates() < until) trainer.step(source());
}

inline bool same_state(ModelTrainer& a, ModelTrainer& b) {
  const TrainingState s = a.state(), t = b.state();
  constexpr std::size_t bytes = ModelTrainer::size * sizeof(float);
  return *s.updates == *t.updates && std::memcmp(s.weights, t.weights, bytes) == 0 &&
         std::memcmp(s.teacher, t.teacher, bytes) == 0 && std::memcmp(s.m, t.m, bytes) == 0 &&
         std::memcmp(s.v, t.v, bytes) == 0;
}

struct Folder {
  std::filesystem::path path;
  explicit Folder(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("data2vec_" + name + "_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

inline const volatile std::sig_atomic_t never = 0;

}  // namespace tiny_run
