// SPDX-License-Identifier: MIT
// Training of a model over two modalities: what belongs to the other one stays, counts of its own, checkpoints, errors.
#include <data2vec/training/checkpoint.hpp>
#include <data2vec/training/trainer.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <tests/training/support.hpp>

using namespace training_support;

namespace {

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .encoder_dropout = 0.1,
                               .average_top_k_layers = 2, .instance_norm_target_layer = true, .clone_batch = 2};
using Words = Text<TextConfig{.vocab_size = 13, .tokens = 8, .max_source_positions = 8}>;
inline constexpr DecoderConfig text_decoder_config{.decoder_dim = 8, .decoder_groups = 2, .decoder_kernel = 3,
                                                   .decoder_layers = 2, .input_dropout = 0.1, .projection_layers = 2};
using WordBranch = Branch<Words, RandomMask<8, MaskConfig{.mask_prob = 0.5}>, Conv1dDecoder<text_decoder_config>>;
using Pictures = Images<noisy_modality>;
using PictureBranch = Branch<Pictures, Masks, Conv2dDecoder<noisy_decoder>>;

struct Both : Data2Vec2<config, WordBranch, PictureBranch> {};
struct WordsAlone : Data2Vec2<config, WordBranch> {};
struct Swapped : Data2Vec2<config, PictureBranch, WordBranch> {};

struct Texts {
  std::vector<std::int32_t> values;
  std::vector<std::uint32_t> ids;
  Batch<std::int32_t> batch() const { return {values, ids}; }
};

/// Texts in which each word follows from the one before; some are shorter.
Texts texts(std::size_t n, std::uint32_t first) {
  Texts t{std::vector<std::int32_t>(n * 8), std::vector<std::uint32_t>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    t.ids[i] = first + static_cast<std::uint32_t>(i);
    for (std::size_t k = 0; k < 8; ++k)
      t.values[i * 8 + k] = k < 8 - t.ids[i] % 4 ? static_cast<std::int32_t>(2 + (t.ids[i] * 3 + 5 * k) % 11) : 1;
  }
  return t;
}

constexpr std::size_t n = 16;
template <class TrainerType>
StepReport words(TrainerType& trainer, std::uint32_t update) {
  return trainer.template step<Words>(texts(n, 16 * update).batch());
}
template <class TrainerType>
StepReport pictures(TrainerType& trainer, std::uint32_t update) {
  return trainer.template step<Pictures>(waves(n, 16 * update).batch());
}

const auto& table = tensor_table<Both::Parameters<float>>;

/// Copies what `to` has of the tensors of `from`.
template <class From, class To>
void copy_tensors(std::span<const float> from, float* to) {
  for (const TensorInfo& a : tensor_table<typename From::template Parameters<float>>)
    for (const TensorInfo& b : tensor_table<typename To::template Parameters<float>>)
      if (a.name.view() == b.name.view()) std::copy_n(from.data() + a.offset, a.size, to + b.offset);
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const OptionError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("branches: which tensors belong to which, and who learns") {
  CHECK(Both::branches == 2);
  CHECK(Both::branch_of("modality_encoders.TEXT.decoder.proj.0.bias") == 0);
  CHECK(Both::branch_of("modality_encoders.IMAGE.extra_tokens") == 1);
  CHECK(Both::branch_of("blocks.0.norm1.weight") == -1);
  CHECK(Both::receives_gradient("modality_encoders.IMAGE.extra_tokens", 1));
  CHECK(!Both::receives_gradient("modality_encoders.IMAGE.extra_tokens", 0));
  CHECK(Both::receives_gradient("blocks.0.norm1.weight", 1));
  CHECK(!Both::in_teacher("modality_encoders.TEXT.local_encoder.embed_tokens.weight"));
  CHECK(Both::in_teacher("modality_encoders.IMAGE.local_encoder.proj.weight"));
}

TEST_CASE("branches: steps of one modality are those of a model that has it alone, to the bit") {
  TrainerOptions options = fast_options<Both>();
  options.optimizer.clip_norm = 0;  // the norm's blocks lie elsewhere
  Trainer<Both, Cpu> both(options);
  Trainer<WordsAlone, Cpu> alone(options);
  copy_tensors<Both, WordsAlone>(both.weights(), alone.weights().data());
  copy_tensors<Both, WordsAlone>(both.teacher(), alone.state().teacher);
  const auto before = copy(both.weights());
  for (std::uint32_t u = 0; u < 4; ++u) {
    const StepReport a = words(both, u), b = words(alone, u);
    CHECK(a.loss == b.loss);
    CHECK(a.sample_size == b.sample_size);
    CHECK(a.pred_var == b.pred_var);
  }
  std::vector<float> learned(both.weights().size());
  copy_tensors<WordsAlone, Both>(alone.weights(), learned.data());
  for (const TensorInfo& info : table) {
    const bool image = Both::branch_of(info.name.view()) == 1;
    INFO(info.name.view());
    CHECK(same_bits(both.weights().subspan(info.offset, info.size),
                    std::span<const float>(image ? before : learned).subspan(info.offset, info.size)));
  }
}

TEST_CASE("branches: the teacher of the other modality goes on following") {
  Trainer<Both, Cpu> trainer(fast_options<Both>());
  pictures(trainer, 0);
  const auto student = copy(trainer.weights()), teacher = copy(trainer.teacher());
  const double decay = words(trainer, 1).ema_decay;
  int moved = 0;
  for (const TensorInfo& info : table) {
    if (Both::branch_of(info.name.view()) != 1 || !Both::in_teacher(info.name.view()) || !info.trained) continue;
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i) {
      const double expected = decay * static_cast<double>(teacher[i]) + (1 - decay) * static_cast<double>(student[i]);
      CHECK(trainer.teacher()[i] == doctest::Approx(expected).epsilon(1e-6));
      moved += trainer.teacher()[i] != teacher[i];
    }
  }
  CHECK(moved > 1000);
}

TEST_CASE("branches: Adam counts the updates of each modality") {
  TrainerOptions options = fast_options<Both>();
  options.optimizer = {.adam_eps = 1e-12, .weight_decay = 0, .clip_norm = 0};
  Trainer<Both, Cpu> trainer(options);
  words(trainer, 0), words(trainer, 1);
  const auto before = copy(trainer.weights());
  CHECK(pictures(trainer, 2).branch == 1);
  CHECK(trainer.updates() == 3);
  CHECK(trainer.updates(0) == 2);
  CHECK(trainer.updates(1) == 1);
  int checked = 0;
  for (const TensorInfo& info : table) {
    if (info.name.view() != "modality_encoders.IMAGE.local_encoder.proj.weight") continue;
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i) {
      if (std::fabs(trainer.gradient()[i]) < 1e-6f) continue;
      // The first update of Adam is the learning rate, whatever the gradient.
      CHECK(std::fabs(trainer.weights()[i] - before[i]) == doctest::Approx(2e-3).epsilon(1e-3));
      ++checked;
    }
  }
  CHECK(checked > 40);
}

TEST_CASE("branches: the same bits for any number of threads, and after a restart from a checkpoint") {
  const auto run = [](auto& trainer, std::uint32_t from, std::uint32_t to) {
    for (std::uint32_t u = from; u < to; ++u)
      if (u % 3 == 1) pictures(trainer, u);
      else words(trainer, u);
  };
  Trainer<Both, Cpu> one(fast_options<Both>(1)), three(fast_options<Both>(3)), first(fast_options<Both>(2));
  run(one, 0, 7), run(three, 0, 7), run(first, 0, 4);
  CHECK(same_bits(one.weights(), three.weights()));
  const std::string path = "branches_test.safetensors";
  save_checkpoint<Both>(path, first.state());
  Trainer<Both, Cpu> second(fast_options<Both>(1));
  load_checkpoint<Both>(path, second.state());
  CHECK(second.updates(0) == 3);
  CHECK(second.updates(1) == 1);
  run(second, 4, 7);
  CHECK(same_bits(one.weights(), second.weights()));
  CHECK(same_bits(one.teacher(), second.teacher()));
  Trainer<Swapped, Cpu> other(fast_options<Swapped>());
  CHECK_THROWS_AS(load_checkpoint<Swapped>(path, other.state()), MismatchError);
  std::remove(path.c_str());
}

TEST_CASE("branches: rates of each modality") {
  const TrainerOptions options = TrainerOptions::of<Both>();
  REQUIRE(options.others.size() == 1);
  CHECK(options.rates.embedding_dropout == 0.1);
  CHECK(options.rates.prenet_dropout == 0);
  CHECK(options.of_branch(1).rates.prenet_dropout == 0.1);
  CHECK(options.of_branch(1).rates.embedding_dropout == 0);
  CHECK(options.of_branch(1).rates.encoder_dropout == 0.1);
}

TEST_CASE("branches: clear errors") {
  TrainerOptions options = fast_options<Both>();
  options.accumulation = 2;
  Trainer<Both, Cpu> trainer(options);
  Texts t = texts(n, 0);
  trainer.step<Words>(t.batch());
  CHECK(message_of([&] { pictures(trainer, 0); }) ==
        "batch: expected branch 0 as in the micro-batch before, found 1");
  CHECK(trainer.step<0>(t.batch()).updated);
  t.values[5] = 13;
  CHECK(message_of([&] { trainer.step<Words>(t.batch()); }) == "batch: expected token ids below 13, found 13");
  t.values[5] = -1;
  CHECK(message_of([&] { trainer.step<Words>(t.batch()); }) == "batch: expected token ids below 13, found -1");
  t.values[5] = 3;
  const std::vector<int> long_one(n, 9), few(2, 8);
  CHECK(message_of([&] { trainer.step<Words>({t.values, t.ids, {}, long_one}); }) ==
        "batch: expected lengths from 1 to 8, found 9");
  CHECK(message_of([&] { trainer.step<Words>({t.values, t.ids, {}, few}); }) ==
        "batch: expected as many lengths as samples, 16, found 2");
  const Samples images = waves(n);
  CHECK(message_of([&] { trainer.step<Pictures>({images.values, images.ids, {}, long_one}); }) ==
        "batch: expected lengths of 64 (ModalityConfig::padding is Padding::none), found 9");
}
