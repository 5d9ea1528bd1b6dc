// SPDX-License-Identifier: MIT
// A fine-tuning that is interrupted goes on to the same bits, by hand and in the loop that pre-training has too.
#include <data2vec/finetune/checkpoint.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <unistd.h>

#include <data2vec/data2vec.hpp>
#include <data2vec/training/loop.hpp>

namespace {

namespace fs = std::filesystem;
using namespace data2vec;

using Images = Vision<VisionConfig{.input_size = 8, .patch_size = 4, .in_chans = 1,
                                   .modality = {.num_extra_tokens = 1}}>;
inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .encoder_dropout = 0.1,
                               .average_top_k_layers = 2, .clone_batch = 2};
struct Model : Data2Vec2<config, Branch<Images, RandomMask<Images::tokens, MaskConfig{.mask_prob = 0.5}>,
                                        LinearDecoder<DecoderConfig{.input_dropout = 0}>>> {};
constexpr int classes = 3, chunk = 4;
inline constexpr ClassifierConfig head{.num_classes = classes, .drop_path = true};
using Tuner = FineTuner<Model, head, Cpu, chunk>;

/// Everything that a fine-tuning has, with a change in the middle: the encoder is frozen for 4 updates.
FineTunerOptions options(int threads = 1) {
  FineTunerOptions o = FineTunerOptions::of<Model>(0.3);
  o.schedule = CosineSchedule{.lr = 1e-2, .warmup_updates = 2, .max_update = 20};
  o.layer_decay = 0.7;
  o.label_smoothing = 0.1;
  o.freeze_finetune_updates = 4;
  o.threads = threads;
  return o;
}

/// Batch `update`, a function of the update alone: 6 samples, every third time 5, with hard or soft labels in turn.
struct Source {
  const Tuner& tuner;
  std::vector<float> samples = std::vector<float>(6 * Images::sample_size), soft = std::vector<float>(6 * classes);
  std::vector<std::uint32_t> ids = std::vector<std::uint32_t>(6);
  std::vector<std::int32_t> labels = std::vector<std::int32_t>(6);
  std::int64_t poisoned = -1;  ///< in this update, sample 2 holds a NaN

  LabelledBatch<> operator()() {
    const std::int64_t update = tuner.updates();
    const std::size_t n = update % 3 == 2 ? 5 : 6;
    Rng rng({.seed = 4, .update = static_cast<std::uint32_t>(update)});
    for (float& x : samples) x = rng.normal();
    for (std::size_t i = 0; i < n; ++i) {
      ids[i] = static_cast<std::uint32_t>(10 * update) + static_cast<std::uint32_t>(i);
      labels[i] = static_cast<std::int32_t>(rng.below(classes));
      for (std::size_t c = 0; c < classes; ++c) soft[i * classes + c] = c == i % classes ? 0.8f : 0.1f;
    }
    if (update == poisoned) samples[2 * Images::sample_size] = std::numeric_limits<float>::quiet_NaN();
    LabelledBatch<> batch{std::span(samples).first(n * Images::sample_size), std::span(ids).first(n)};
    if (update % 2 == 0) batch.labels = std::span(labels).first(n);
    else batch.soft_labels = std::span(soft).first(n * classes);
    return batch;
  }
};

void train(Tuner& tuner, std::int64_t until) {
  Source source{tuner};
  while (tuner.updates() < until) tuner.step(source());
}

/// All that a fine-tuning holds.
std::vector<float> state_of(Tuner& tuner) {
  const TrainingState state = tuner.state();
  CHECK(state.teacher == nullptr);
  std::vector<float> all{static_cast<float>(*state.updates)};
  for (const float* buffer : {state.weights, state.m, state.v}) all.insert(all.end(), buffer, buffer + Tuner::size);
  return all;
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("data2vec_finetune_" + std::to_string(::getpid()));
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

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

const volatile std::sig_atomic_t never = 0;

}  // namespace

TEST_CASE("a fine-tuning that is cut anywhere goes on bit for bit, with any number of threads") {
  const Folder folder;
  const std::string file = folder / "checkpoint";
  constexpr std::int64_t end = 12;
  Tuner whole(options());
  std::vector<std::vector<float>> states;  // after 0, 1, ... updates
  for (std::int64_t i = 0; i <= end; ++i) {
    train(whole, i);
    states.push_back(state_of(whole));
  }
  for (std::size_t i = 1; i < states.size(); ++i) REQUIRE(states[i] != states[i - 1]);
  for (std::int64_t cut = 0; cut < end; ++cut) {  // before, at and behind the end of the frozen part
    CAPTURE(cut);
    {
      Tuner first(options());
      train(first, cut);
      save_checkpoint<Tuner::ModelType>(file, first.state(), {{"cut", cut}});
    }
    FineTunerOptions other = options(1 + static_cast<int>(cut % 3));
    Tuner second(other);
    train(second, 1);  // a state that must be replaced as a whole
    CHECK(load_checkpoint<Tuner::ModelType>(file, second.state())["cut"] == cut);
    CHECK(state_of(second) == states[static_cast<std::size_t>(cut)]);
    train(second, end);
    CHECK(state_of(second) == states[end]);
  }
}

TEST_CASE("in the loop: stopped, resumed and finished are the same weights and one line an update") {
  const Folder folder;
  const std::string out = folder / "run";
  volatile std::sig_atomic_t stop = 0;
  {
    Tuner tuner(options());
    Source source{tuner};
    CHECK(run_loop(tuner, {.out = out, .updates = 12}, source, stop,
                   {.step = [&](const FineTuneReport& r) { stop = r.update >= 5; }}) == LoopEnd::stopped);
    CHECK(tuner.updates() == 6);
  }
  Tuner tuner(options(2)), whole(options());
  Source source{tuner};
  const LoopOptions again{.out = out, .updates = 12, .resume = true};
  {
    const FolderLock lock(out);
    CHECK(has(error_of([&] { run_loop(tuner, again, source, never); }), "expected nobody else at work"));
  }
  CHECK(has(error_of([&] { run_loop(tuner, {.out = out, .updates = 12}, source, never); }),
            "expected a folder without a checkpoint"));
  CHECK(run_loop(tuner, again, source, never) == LoopEnd::finished);
  train(whole, 12);
  CHECK(state_of(tuner) == state_of(whole));
  std::ifstream log(out + "/log.jsonl");
  std::int64_t update = 0;
  for (std::string line; std::getline(log, line); ++update) {
    const Json json = parse_json(line, "log");
    CHECK(json["update"] == update);
    CHECK(json["samples"] == (update % 3 == 2 ? 5 : 6));
    CHECK(json["frozen"] == (update < 4));
    CHECK(json["accuracy"].get<double>() >= 0);
  }
  CHECK(update == 12);
}

TEST_CASE("in the loop: a NaN is named with its sample and passed over") {
  const Folder folder;
  Tuner tuner(options());
  Source source{tuner};
  source.poisoned = 6;
  std::vector<std::string> notes;
  CHECK(run_loop(tuner, {.out = folder / "run", .updates = 9}, source, never,
                 {.note = [&](const std::string& text) { notes.push_back(text); }}) == LoopEnd::finished);
  REQUIRE(notes.size() == 1);
  CHECK(has(notes[0], "update 6 skipped: samples with values that are not finite: 62; "));
  CHECK(has(notes[0], "first tensor: gradient of model."));
  for (const float x : tuner.weights()) REQUIRE(is_finite(x));
  CHECK(tuner.updates() == 9);
}

TEST_CASE("checkpoints of something else are refused with every difference, and nothing is changed") {
  const Folder folder;
  Tuner tuner(options());
  train(tuner, 2);
  const auto before = state_of(tuner);
  const auto load = [&](const std::string& file) {
    return error_of([&] { load_checkpoint<Tuner::ModelType>(file, tuner.state()); });
  };
  std::vector<float> zeros(std::max(buffer_size<Model::Parameters<float>>, 2 * Tuner::size));
  std::int64_t updates = 0;
  float* const z = zeros.data();
  save_checkpoint<Model>(folder / "pretrained", {z, z, z, z, &updates});
  std::string text = load(folder / "pretrained");
  CHECK(has(text, "of another configuration"));
  CHECK(has(text, "head: expected {\"num_classes\":3"));
  CHECK(has(text, "decoder: expected nothing"));
  using Other = Classifier<Model, ClassifierConfig{.num_classes = 4, .drop_path = true}>;
  save_checkpoint<Other>(folder / "other", {z, nullptr, z, z, &updates});
  CHECK(has(load(folder / "other"), "head.num_classes: expected 3, found 4"));
  save_weights<Tuner::Parameters>(folder / "weights", tuner.weights().data());
  CHECK(has(load(folder / "weights"), "expected a checkpoint with the metadata entry \"schema\""));
  save_checkpoint<Tuner::ModelType>(folder / "tuned", tuner.state());
  text = error_of([&] { load_checkpoint<Model>(folder / "tuned", {z, z, z, z, &updates}); });
  CHECK(has(text, "head: expected nothing"));
  CHECK(state_of(tuner) == before);
}
