// SPDX-License-Identifier: MIT
// RoBERTa through trainer, loop, checkpoints, features and fine-tuning: the same as every other system.
#include <data2vec/training/loop.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <data2vec/data/text.hpp>
#include <data2vec/data/text_feed.hpp>
#include <data2vec/data/words.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/features.hpp>
#include <data2vec/finetune/finetuner.hpp>
#include <data2vec/objective/roberta.hpp>
#include <tests/data/text_files.hpp>

namespace {

using namespace data2vec;

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                               .block_names = BlockNames::fairseq, .encoder_dropout = 0.1, .attention_dropout = 0.1};
constexpr int T_ = 16;
using Words = Text<TextConfig{.vocab_size = ByteTokenizer::size, .tokens = T_, .max_source_positions = T_}>;
struct Model : MaskedLanguageModel<config, Words, TokenMask<T_, TokenMaskConfig{.mask_prob = 0.25}>> {};
struct WholeWords
    : MaskedLanguageModel<config, Words, TokenMask<T_, TokenMaskConfig{.mask_prob = 0.25, .mask_whole_words = true}>> {};
using ModelTrainer = Trainer<Model, Cpu>;

template <class M = Model>
TrainerOptions options(int threads = 1) {
  TrainerOptions options = TrainerOptions::of<M>();
  options.schedule = CosineSchedule{.lr = 1e-2, .warmup_updates = 2, .max_update = 300};
  options.threads = threads;
  return options;
}

struct Corpus {
  text_files::Folder folder{"training_roberta"};
  TokenShards shards;
  TokenBlocks blocks;
  Corpus() : shards(open()), blocks(shards, ByteTokenizer(), T_, BlockMode::sentences) {}

 private:
  TokenShards open() const {
    std::string text;
    for (int i = 0; i < 60; ++i) text += i % 3 == 0 ? "one two\n" : i % 3 == 1 ? "three\n" : "four, five!\n";
    return open_text(folder.write("text.txt", text), ByteTokenizer(), folder.text() + "/shards",
                     {.document_end = DocumentEnd::line});
  }
};

struct Source {
  TextBatches batches;
  Source(const Corpus& corpus, std::int64_t first, int depth = 0)
      : batches(TextFeed(corpus.blocks, 16, 3), {.depth = depth, .first = static_cast<std::uint64_t>(first)}) {}
  Batch<std::int32_t> operator()() {
    const TextBatch b = batches.next();
    return {b.samples, b.ids, {}, b.lengths};
  }
};

const volatile std::sig_atomic_t never = 0;

}  // namespace

TEST_CASE("roberta: learns what stands where, stopped and resumed to the bit, with any number of threads") {
  const Corpus corpus;
  const std::string whole = corpus.folder.text() + "/whole", cut = corpus.folder.text() + "/cut";
  ModelTrainer a(options());
  Source from_start(corpus, 0);
  double first = 0, last = 0, accuracy = 0;
  CHECK(run_loop(a, {.out = whole, .updates = 150}, from_start, never, {.step = [&](const StepReport& r) {
                   if (r.update == 0) first = r.loss;
                   last = r.loss;
                   REQUIRE(std::string(r.terms[0].name) == "accuracy");
                   accuracy = r.terms[0].value;
                 }}) == LoopEnd::finished);
  CHECK(std::fabs(first - std::log(ByteTokenizer::size)) < 0.5);  // nothing is known yet
  CHECK(last < 1.5);
  CHECK(accuracy > 0.5);
  volatile std::sig_atomic_t stop = 0;
  {
    ModelTrainer b(options(2));
    Source source(corpus, 0, 3);
    run_loop(b, {.out = cut, .updates = 150}, source, stop,
             {.step = [&](const StepReport& r) { stop = r.update >= 70; }});
    CHECK(b.updates() == 71);
  }
  ModelTrainer c(options());
  Source source(corpus, 71, 1);
  CHECK(run_loop(c, {.out = cut, .updates = 150, .resume = true}, source, never) == LoopEnd::finished);
  CHECK(std::equal(a.weights().begin(), a.weights().end(), c.weights().begin()));
}

TEST_CASE("roberta: two micro-batches are one batch") {
  const Corpus corpus;
  TrainerOptions halves = options();
  halves.accumulation = 2;
  ModelTrainer whole(options()), accumulated(halves);
  Source source(corpus, 0);
  const auto batch = source();
  const StepReport one = whole.step(batch);
  for (const std::size_t half : {0, 1})
    accumulated.step({batch.samples.subspan(half * 8 * T_, 8 * T_), batch.ids.subspan(half * 8, 8), {},
                      batch.lengths.subspan(half * 8, 8)});
  REQUIRE(accumulated.updates() == 1);
  CHECK(one.sample_size > 16);
  for (std::size_t i = 0; i < ModelTrainer::size; ++i)
    REQUIRE(std::fabs(whole.weights()[i] - accumulated.weights()[i]) <= 1e-5f);
}

TEST_CASE("roberta: whole words are told by the options") {
  const Corpus corpus;
  TrainerOptions with = options<WholeWords>();
  with.begins_word = begins_word(ByteTokenizer());
  Trainer<WholeWords, Cpu> words(with), tokens(options<WholeWords>());
  Source one(corpus, 0), two(corpus, 0);
  const StepReport a = words.step(one()), b = tokens.step(two());
  CHECK(a.loss != b.loss);
  CHECK(is_finite(a.gradient_norm));
}

TEST_CASE("roberta: features and fine-tuning run the encoder that was trained") {
  const Corpus corpus;
  ModelTrainer trainer(options());
  Source source(corpus, 0);
  const auto batch = source();
  trainer.step(batch);
  constexpr int B = 4;
  using F = Features<Model, B>;
  Buffer<float> workspace(buffer_size<F::Workspace<float>>);
  Buffer<int> index(buffer_size<F::Index>);
  Cpu d;
  const auto found = features<Model, B>(
      d, bind<Model::Parameters<const float>>(static_cast<const float*>(trainer.weights().data())),
      {batch.samples.data()}, bind<F::Workspace<float>>(workspace.data()), bind<F::Index>(index.data()), F::last_layer,
      batch.lengths.data());
  double squares = 0;
  for (std::size_t i = 0; i < found.size; ++i) squares += static_cast<double>(found.data[i] * found.data[i]);
  CHECK(is_finite(squares));
  CHECK(squares > 0);

  // Every tensor of the encoder is one of the classifier's under the same name.
  using Net = Classifier<Model, ClassifierConfig::sentence(3)>;
  const auto& table = tensor_table<Net::Parameters<float>>;
  for (const TensorInfo& info : tensor_table<Model::Parameters<float>>) {
    const bool there = std::any_of(table.begin(), table.end(),
                                   [&](const TensorInfo& i) { return i.name.view() == info.name.view(); });
    CHECK(there == !Model::in_decoder(info.name.view()));
  }
}

TEST_CASE("roberta: sentences are learnt from the encoder that was trained") {
  const Corpus corpus;
  ModelTrainer trainer(options());
  Source source(corpus, 0);
  for (int i = 0; i < 20; ++i) trainer.step(source());
  FineTunerOptions o = FineTunerOptions::of<Model>();
  o.schedule = ConstantSchedule{.lr = 3e-3};
  o.threads = 1;
  o.layer_decay = 0.9;
  using Tuner = FineTuner<Model, ClassifierConfig::sentence(2), Cpu>;
  Tuner tuner(o, trainer.weights());
  const auto& table = tensor_table<Model::Parameters<float>>;
  std::size_t copied = 0;
  for (const TensorInfo& info : tensor_table<Tuner::Parameters>)
    for (const TensorInfo& from : table)
      if (from.name.view() == info.name.view()) {
        ++copied;
        REQUIRE(std::equal(trainer.weights().begin() + static_cast<std::ptrdiff_t>(from.offset),
                           trainer.weights().begin() + static_cast<std::ptrdiff_t>(from.offset + from.size),
                           tuner.weights().begin() + static_cast<std::ptrdiff_t>(info.offset)));
      }
  CHECK(copied == static_cast<std::size_t>(tensor_count<Model::Parameters<float>>) - 5);  // all but the LM head's
  CHECK(layer_lr_scale<Model>("encoder.sentence_encoder.layers.1.fc1.weight", 0.9) == doctest::Approx(0.9));
  CHECK(layer_lr_scale<Model>("encoder.sentence_encoder.layers.0.fc1.weight", 0.9) == doctest::Approx(0.81));
  std::vector<std::int32_t> samples, labels;
  std::vector<std::uint32_t> ids;
  for (std::int32_t i = 0; i < 16; ++i) {
    labels.push_back(i % 2);
    ids.push_back(static_cast<std::uint32_t>(i));
    for (std::int32_t t = 0; t < T_; ++t)
      samples.push_back(t == 0 ? 0 : t > 9 ? 1 : t == 3 + i % 5 ? 90 + i % 2 : 40 + (i * 7 + t) % 30);
  }
  double loss = 0;
  for (int i = 0; i < 150; ++i) loss = tuner.step(samples, labels, ids).loss;
  CHECK(loss < 0.3);
}
