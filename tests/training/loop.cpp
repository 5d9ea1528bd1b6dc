// SPDX-License-Identifier: MIT
#include <data2vec/training/loop.hpp>

#include <doctest/doctest.h>

#include <fstream>
#include <limits>
#include <vector>

#include <unistd.h>

#include <data2vec/data2vec.hpp>

namespace {

namespace fs = std::filesystem;
using namespace data2vec;

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .average_top_k_layers = 2,
                               .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2};
using Images =
    Vision<VisionConfig{.input_size = 8, .patch_size = 4, .in_chans = 1, .modality = {.num_extra_tokens = 1}}>;
using Masks = RandomMask<Images::tokens, MaskConfig{.mask_prob = 0.5}>;
using Decoder = Conv2dDecoder<DecoderConfig{.decoder_dim = 16, .decoder_groups = 2, .decoder_kernel = 3,
                                            .decoder_layers = 1, .input_dropout = 0}>;
struct Model : Data2Vec2<config, Branch<Images, Masks, Decoder>> {};
using ModelTrainer = Trainer<Model, Cpu>;
constexpr int batch_size = 16;

ModelTrainer make_trainer() {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = 1e-2, .warmup_updates = 2, .max_update = 1000};
  options.threads = 1;
  return ModelTrainer(options);
}

/// Batches of noise, a function of the update.
struct Source {
  ModelTrainer& trainer;
  std::vector<float> samples = std::vector<float>(batch_size * Images::sample_size);
  std::vector<std::uint32_t> ids = std::vector<std::uint32_t>(batch_size);
  std::int64_t poisoned = -1;  ///< from this update on, sample 3 holds a NaN

  Batch<float> operator()() {
    Rng rng({.seed = 4, .update = static_cast<std::uint32_t>(trainer.updates())});
    for (float& x : samples) x = rng.normal();
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(100 + i);
    if (poisoned >= 0 && trainer.updates() >= poisoned)
      samples[3 * Images::sample_size] = std::numeric_limits<float>::quiet_NaN();
    return {samples, ids};
  }
};

struct Folder {
  std::string path = (fs::temp_directory_path() / ("data2vec_loop_" + std::to_string(::getpid()))).string();
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

std::vector<float> weights_after(std::int64_t updates) {
  auto trainer = make_trainer();
  Source source{trainer};
  while (trainer.updates() < updates) trainer.step(source());
  return {trainer.weights().begin(), trainer.weights().end()};
}

std::vector<Json> lines_of(const std::string& path) {
  std::ifstream in(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(parse_json(line, path));
  return lines;
}

const volatile std::sig_atomic_t never = 0;

}  // namespace

TEST_CASE("stopped, resumed and finished: the same weights and one line an update") {
  const Folder folder;
  volatile std::sig_atomic_t stop = 0;
  {
    auto trainer = make_trainer();
    Source source{trainer};
    const auto end = run_loop(trainer, {.out = folder.path, .updates = 30}, source, stop,
                              {.step = [&](const StepReport& r) { stop = r.update >= 11; }});
    CHECK(end == LoopEnd::stopped);
    CHECK(trainer.updates() == 12);
  }
  auto trainer = make_trainer();
  Source source{trainer};
  CHECK(run_loop(trainer, {.out = folder.path, .updates = 30, .resume = true}, source, never) == LoopEnd::finished);
  CHECK(std::vector<float>(trainer.weights().begin(), trainer.weights().end()) == weights_after(30));
  const auto lines = lines_of(folder.path + "/log.jsonl");
  REQUIRE(lines.size() == 30);
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK(lines[i]["update"] == i);
}

TEST_CASE("a NaN is named with its sample and tensor, changes nothing, and stops a run that does not recover") {
  const Folder folder;
  auto trainer = make_trainer();
  Source source{trainer};
  source.poisoned = 5;
  std::vector<std::string> notes;
  std::string text;
  try {
    run_loop(trainer, {.out = folder.path, .updates = 30, .most_skipped = 3}, source, never,
             {.note = [&](const std::string& note) { notes.push_back(note); }});
  } catch (const Error& error) {
    text = error.what();
  }
  REQUIRE(notes.size() == 3);
  CHECK(notes[0].find("update 5 skipped: samples with values that are not finite: 103; first tensor: gradient of "
                      "modality_encoders.IMAGE.extra_tokens") != std::string::npos);
  CHECK(text.find("3 updates in a row") != std::string::npos);
  CHECK(std::vector<float>(trainer.weights().begin(), trainer.weights().end()) == weights_after(5));
  for (const float x : trainer.teacher()) REQUIRE(is_finite(x));
}

TEST_CASE("a folder in use and a folder with another training are refused") {
  const Folder folder;
  auto trainer = make_trainer();
  Source source{trainer};
  const auto error_of = [&](const LoopOptions& options) {
    try {
      run_loop(trainer, options, source, never);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(error_of({.out = folder.path, .updates = 1}).empty());
  CHECK(error_of({.out = folder.path, .updates = 2}).find("expected a folder without a checkpoint") !=
        std::string::npos);
  {
    const FolderLock lock(folder.path);
    CHECK(error_of({.out = folder.path, .updates = 2, .resume = true}).find("process " + std::to_string(::getpid())) !=
          std::string::npos);
  }
  CHECK(error_of({.out = "/proc/nowhere", .updates = 1}).find("/proc/nowhere") != std::string::npos);
}
