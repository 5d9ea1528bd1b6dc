// SPDX-License-Identifier: MIT
// A training on text of all lengths: from text over shards to a loop that is stopped and resumed, and what the monitor
// says of it.
#include <data2vec/training/loop.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <data2vec/data/text.hpp>
#include <data2vec/data/text_feed.hpp>
#include <data2vec/data2vec.hpp>
#include <tests/data/text_files.hpp>

namespace {

using namespace data2vec;

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .average_top_k_layers = 2,
                               .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2};
using Words = Text<TextConfig{.vocab_size = ByteTokenizer::size, .tokens = 16, .max_source_positions = 16}>;
struct Model : Data2Vec2<config, Branch<Words, RandomMask<16, MaskConfig{.mask_prob = 0.5}>,
                                        Conv1dDecoder<DecoderConfig{.decoder_dim = 8, .decoder_groups = 2,
                                                                    .decoder_kernel = 3, .decoder_layers = 1}>>> {};
using ModelTrainer = Trainer<Model, Cpu>;

TrainerOptions options(int threads = 1) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = 1e-2, .warmup_updates = 2, .max_update = 100};
  options.threads = threads;
  return options;
}

struct Corpus {
  text_files::Folder folder{"training_text"};
  TokenShards shards;
  TokenBlocks blocks;
  Corpus() : shards(open()), blocks(shards, ByteTokenizer(), 16, BlockMode::document) {}

 private:
  TokenShards open() const {
    std::string text;
    for (int i = 0; i < 60; ++i)
      text += "line " + std::string(static_cast<std::size_t>(i % 8), 'x') + std::to_string(i) + "\n";
    return open_text(folder.write("text.txt", text), ByteTokenizer(), folder.text() + "/shards",
                     {.document_end = DocumentEnd::line});
  }
};

struct Source {
  TextBatches batches;
  Source(const Corpus& corpus, std::int64_t first, int depth)
      : batches(TextFeed(corpus.blocks, 8, 3), {.depth = depth, .first = static_cast<std::uint64_t>(first)}) {}
  Batch<std::int32_t> operator()() {
    const TextBatch b = batches.next();
    return {b.samples, b.ids, {}, b.lengths};
  }
};

const volatile std::sig_atomic_t never = 0;

}  // namespace

TEST_CASE("text: stopped and resumed, with other threads and prefetching, the same weights to the bit") {
  const Corpus corpus;
  REQUIRE(corpus.blocks.size() == 60);
  const std::string whole = corpus.folder.text() + "/whole", cut = corpus.folder.text() + "/cut";
  ModelTrainer a(options());
  Source from_start(corpus, 0, 0);
  int looks = 0;
  std::vector<std::string> notes;
  CHECK(run_loop(a, {.out = whole, .updates = 20, .monitor_every = 5}, from_start, never,
                 {.health = [&](const HealthReport& r) { looks += r.effective_rank > 1; },
                  .note = [&](const std::string& note) { notes.push_back(note); }}) == LoopEnd::finished);
  CHECK(looks == 4);
  CHECK(notes.empty());
  volatile std::sig_atomic_t stop = 0;
  {
    ModelTrainer b(options(2));
    Source source(corpus, 0, 3);
    run_loop(b, {.out = cut, .updates = 20}, source, stop,
             {.step = [&](const StepReport& r) { stop = r.update >= 8; }});
    CHECK(b.updates() == 9);
  }
  ModelTrainer c(options());
  Source source(corpus, 9, 1);  // in the middle of the second epoch of 7 batches
  CHECK(run_loop(c, {.out = cut, .updates = 20, .resume = true}, source, never) == LoopEnd::finished);
  CHECK(std::equal(a.weights().begin(), a.weights().end(), c.weights().begin()));
  CHECK(std::equal(a.teacher().begin(), a.teacher().end(), c.teacher().begin()));
}

TEST_CASE("text: what the monitor sees does not depend on what stands behind a text") {
  ModelTrainer trainer(options());
  std::vector<std::int32_t> rows(8 * 16, 1), other;
  const std::vector<int> lengths{5, 6, 7, 8, 9, 10, 1, 16};
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<int>(i % 16) < lengths[i / 16]) rows[i] = static_cast<std::int32_t>(4 + i * 7 % 200);
  other = rows;
  for (std::size_t i = 0; i < other.size(); ++i)
    if (other[i] == 1) other[i] = 77;
  const auto look = [&](const std::vector<std::int32_t>& input, const int* given) {
    CollapseMonitor<Model> monitor;
    return monitor.look(input.data(), trainer.weights().data(), trainer.teacher().data(), 1, 1, 0.9, given);
  };
  const HealthReport own = look(rows, nullptr), told = look(other, lengths.data());
  REQUIRE(own.stages.size() == 4);
  for (std::size_t i = 1; i < own.stages.size(); ++i) {  // the first one is of the ids as they are
    CHECK(own.stages[i].over_tokens == told.stages[i].over_tokens);
    CHECK(own.stages[i].over_samples == told.stages[i].over_samples);
    CHECK(own.stages[i].over_tokens > 0);
  }
  CHECK(own.effective_rank == told.effective_rank);
  CHECK(own.effective_rank > 5);
  CHECK(own.alarm.text.empty());
  const std::vector<std::int32_t> same(8 * 16, 9);
  CHECK(look(same, nullptr).alarm.cause == Collapse::constant_input);
}
