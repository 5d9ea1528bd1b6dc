// SPDX-License-Identifier: MIT
#include <data2vec/training/checkpoint.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include <data2vec/data2vec.hpp>

namespace {

namespace fs = std::filesystem;
using namespace data2vec;

inline constexpr Config small{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2,
                              .encoder_dropout = 0.1, .layerdrop = 0.2, .end_drop_path_rate = 0.2,
                              .average_top_k_layers = 2, .instance_norm_target_layer = true,
                              .layer_norm_targets = true, .clone_batch = 2};
inline constexpr Config deeper = [] { auto c = small; c.depth = 3; return c; }();
using Images =
    Vision<VisionConfig{.input_size = 8, .patch_size = 4, .in_chans = 1, .modality = {.num_extra_tokens = 1}}>;
using Masks = RandomMask<Images::tokens, MaskConfig{.mask_prob = 0.5}>;
using Decoder = Conv2dDecoder<DecoderConfig{.decoder_dim = 16, .decoder_groups = 2, .decoder_kernel = 3,
                                            .decoder_layers = 1}>;
struct Small : Data2Vec2<small, Branch<Images, Masks, Decoder>> {};
struct Deeper : Data2Vec2<deeper, Branch<Images, Masks, Decoder>> {};

template <class Model>
TrainerOptions options_of() {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = 1e-2, .warmup_updates = 2, .max_update = 40};
  options.ema = {.ema_decay = 0.9, .ema_end_decay = 0.99, .ema_anneal_end_step = 20};
  options.threads = 2;
  return options;
}

/// Batch `update` of a training: a function of the update alone, as a loader's.
template <class Trainer>
void train(Trainer& trainer, std::int64_t until) {
  constexpr int n = 32;
  std::vector<float> samples(n * Images::sample_size);
  std::vector<std::uint32_t> ids(n);
  while (trainer.updates() < until) {
    Rng rng({.seed = 9, .update = static_cast<std::uint32_t>(trainer.updates())});
    for (float& x : samples) x = rng.normal();
    for (auto& id : ids) id = rng.below(1000);
    trainer.step({samples, ids});
  }
}

/// All that a training holds, as bytes.
template <class Trainer>
std::vector<char> bytes_of(Trainer& trainer) {
  const TrainingState state = trainer.state();
  std::vector<char> all(4 * Trainer::size * sizeof(float));
  std::size_t at = 0;
  for (const float* buffer : {state.weights, state.teacher, state.m, state.v}) {
    std::memcpy(all.data() + at, buffer, Trainer::size * sizeof(float));
    at += Trainer::size * sizeof(float);
  }
  return all;
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("data2vec_checkpoint_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a training that is interrupted anywhere goes on bit for bit") {
  const Folder folder;
  const std::string file = folder / "checkpoint.safetensors";
  constexpr std::int64_t end = 21;
  Trainer<Small, Cpu> whole(options_of<Small>());
  std::vector<std::vector<char>> states;  // after 0, 1, ... updates
  for (std::int64_t i = 0; i <= end; ++i) {
    train(whole, i);
    states.push_back(bytes_of(whole));
  }
  for (std::int64_t cut = 1; cut < end; ++cut) {  // 20 cut points
    {
      Trainer<Small, Cpu> first(options_of<Small>());
      train(first, cut);
      save_checkpoint<Small>(file, first.state(), {{"cut", cut}});
    }
    TrainerOptions options = options_of<Small>();
    options.threads = 1 + static_cast<int>(cut % 3);
    Trainer<Small, Cpu> second(options);
    const Json extra = load_checkpoint<Small>(file, second.state());
    CHECK(extra["cut"] == cut);
    CHECK(second.updates() == cut);
    CHECK(bytes_of(second) == states[static_cast<std::size_t>(cut)]);
    train(second, std::min(cut + 3, end));
    CHECK(bytes_of(second) == states[static_cast<std::size_t>(std::min(cut + 3, end))]);
  }
}

TEST_CASE("a checkpoint of another configuration is refused with every difference, and nothing is changed") {
  const Folder folder;
  const std::string file = folder / "checkpoint.safetensors";
  Trainer<Small, Cpu> trainer(options_of<Small>());
  save_checkpoint<Small>(file, trainer.state());
  Trainer<Deeper, Cpu> other(options_of<Deeper>());
  const auto before = bytes_of(other);
  const std::string text = error_of([&] { load_checkpoint<Deeper>(file, other.state()); });
  CHECK(text.find(file) != std::string::npos);
  CHECK(text.find("model.depth: expected 3, found 2") != std::string::npos);
  CHECK(bytes_of(other) == before);
}

TEST_CASE("files that are no checkpoints are named") {
  const Folder folder;
  Trainer<Small, Cpu> trainer(options_of<Small>());
  const auto load = [&](const std::string& file) {
    return error_of([&] { load_checkpoint<Small>(file, trainer.state()); });
  };
  CHECK(load(folder / "none").find("found none") != std::string::npos);
  save_weights<Small::Parameters<float>>(folder / "weights", trainer.weights().data());
  CHECK(load(folder / "weights").find("expected a checkpoint with the metadata entry \"schema\"") != std::string::npos);
  const std::string file = folder / "checkpoint";
  save_checkpoint<Small>(file, trainer.state());
  fs::resize_file(file, fs::file_size(file) - 1);
  CHECK(load(file).find(file) != std::string::npos);
}
