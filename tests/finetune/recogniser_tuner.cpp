// SPDX-License-Identifier: MIT
// Fine-tuning to letters: what must be learnt, what must stay, what may not matter, what is refused; several lengths.
#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/ctc_decode.hpp>
#include <data2vec/finetune/recogniser_checkpoint.hpp>
#include <data2vec/objective/lengths.hpp>
#include <data2vec/training/loop.hpp>

#include "tests/allocation_counter.hpp"

using namespace data2vec;

namespace {

template <int size>
using Waves = Speech<SpeechConfig{.input_size = size,
                                  .feature_encoder_spec = {{8, 6, 4}, {8, 3, 2}},
                                  .conv_pos_width = 6,
                                  .conv_pos_groups = 2,
                                  .conv_pos_depth = 2,
                                  .modality = {.use_alibi_encoder = true, .padding = Padding::exact}}>;
inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                               .average_top_k_layers = 1};
template <int size>
struct Of : Data2Vec2<config, Branch<Waves<size>, RandomMask<Waves<size>::tokens, MaskConfig{.mask_prob = 0.5}>,
                                     Conv1dDecoder<DecoderConfig{.decoder_dim = 4, .decoder_groups = 2,
                                                                 .decoder_kernel = 3, .decoder_layers = 1,
                                                                 .input_dropout = 0}>>> {};
constexpr int symbols = 4, short_size = 128, long_size = 192;
struct Both : Lengths<Of<short_size>, Of<long_size>> {};
using Tuner = RecogniserTuner<Of<short_size>, symbols, Cpu>;
using Lengthy = RecogniserTuner<Both, symbols, Cpu>;
static_assert(Lengthy::lengths == 2 && std::is_same_v<Lengthy::Parameters, Tuner::Parameters>);

RecogniserOptions options(double lr = 3e-3, int threads = 1) {
  RecogniserOptions o = RecogniserOptions::of<Of<short_size>>();
  o.schedule = ConstantSchedule{lr};
  o.threads = threads;
  return o;
}

/// Utterances of two of three tones (labels 1 to 3), one behind the other, with noise.
struct Data {
  int size;
  std::vector<float> samples;
  std::vector<std::vector<std::int32_t>> targets;
  std::vector<std::span<const std::int32_t>> labels;
  std::vector<std::uint32_t> ids;
  std::vector<int> lengths;

  Data(std::size_t n, int length) : size(length), samples(n * static_cast<std::size_t>(length)) {
    Rng rng({.seed = 9});
    for (std::size_t i = 0; i < n; ++i) {
      targets.push_back({1 + static_cast<std::int32_t>(i % 3), 1 + static_cast<std::int32_t>(i / 3 % 3)});
      ids.push_back(static_cast<std::uint32_t>(50 + i));
      lengths.push_back(i % 4 == 3 ? short_size - 10 : short_size);
      for (int t = 0; t < lengths.back(); ++t) {
        const int tone = targets[i][t < lengths.back() / 2 ? 0 : 1];
        samples[i * static_cast<std::size_t>(size) + static_cast<std::size_t>(t)] =
            std::sin(0.4f * static_cast<float>(tone * t)) + 0.1f * rng.normal();
      }
    }
    for (const auto& target : targets) labels.push_back(target);
  }
  UtteranceBatch<> batch(std::size_t first, std::size_t n, int bucket = 0) const {
    const auto width = static_cast<std::size_t>(size);
    return {std::span(samples).subspan(first * width, n * width), std::span(ids).subspan(first, n),
            std::span(labels).subspan(first, n), std::span(lengths).subspan(first, n), bucket};
  }
};

std::vector<float> copy(std::span<const float> x) { return {x.begin(), x.end()}; }
double distance(std::span<const float> a, std::span<const float> b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(static_cast<double>(a[i] - b[i])));
  return most;
}

template <class T>
int right(T& tuner, const UtteranceBatch<>& batch, const Data& data) {
  int count = 0;
  std::size_t next = 0;
  tuner.logits(batch, [&](std::size_t row, std::span<const float> logits) {
    CHECK(row == next++);
    count += ctc_greedy(logits, symbols).labels == data.targets[row];
  });
  CHECK(next == batch.ids.size());
  return count;
}

}  // namespace

TEST_CASE("recogniser: utterances are learnt, with masks too") {
  for (const bool masks : {false, true}) {
    RecogniserOptions o = options();
    o.schedule = RecogniserOptions::tri_stage(5e-3, 601);
    if (masks) o.mask = {.mask_prob = 0.2, .mask_length = 2, .mask_channel_prob = 0.1, .mask_channel_length = 2};
    Tuner tuner(o);
    const Data data(9, short_size);
    const auto first = tuner.step(data.batch(0, 9));
    CHECK(first.samples == 9);
    CHECK(first.labels == 18);
    RecogniserReport last;
    for (int i = 0; i < 600; ++i) last = tuner.step(data.batch(0, 9));
    CHECK(last.update == 600);
    CHECK(last.loss < 0.2 * first.loss);
    CHECK(right(tuner, data.batch(0, 9), data) == 9);
  }
}

TEST_CASE("recogniser: weights do not depend on threads, gradients not on who shares a chunk") {
  const Data data(7, short_size);
  RecogniserOptions o = options(1e-3);
  o.mask = {.mask_prob = 0.3, .mask_length = 2, .mask_channel_prob = 0.1, .mask_channel_length = 2};
  Tuner one(o);
  o.threads = 3;
  Tuner three(o);
  for (int i = 0; i < 3; ++i) one.step(data.batch(0, 7)), three.step(data.batch(0, 7));
  CHECK(copy(one.weights()) == copy(three.weights()));

  o.sentence_avg = false;
  std::vector<double> sum(Tuner::size);
  double loss = 0;
  for (std::size_t i = 0; i < 7; ++i) {
    Tuner alone(o);
    loss += alone.step(data.batch(i, 1)).loss / 7;
    for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += static_cast<double>(alone.gradient()[k]) / 7;
  }
  Tuner all(o);
  CHECK(all.step(data.batch(0, 7)).loss == doctest::Approx(loss).epsilon(1e-5));
  double largest = 0, error = 0;
  for (std::size_t k = 0; k < sum.size(); ++k) {
    largest = std::max(largest, std::fabs(sum[k]));
    error = std::max(error, std::fabs(sum[k] - static_cast<double>(all.gradient()[k])));
  }
  CHECK(error < 1e-4 * largest);
}

TEST_CASE("recogniser: the encoder is the pre-trained one; frozen it stays, then its moments begin anew") {
  Trainer<Of<short_size>, Cpu> pretrained(TrainerOptions::of<Of<short_size>>());
  RecogniserOptions o = options(1e-3);
  o.seed = 8;
  o.freeze_finetune_updates = 2;
  Tuner tuner(o, pretrained.weights());
  constexpr auto& table = tensor_table<Tuner::Parameters>;
  const Data data(4, short_size);
  const auto before = copy(tuner.weights());
  const auto changed = [&](const TensorInfo& info) {
    return distance(std::span(before).subspan(info.offset, info.size),
                    tuner.weights().subspan(info.offset, info.size)) > 0;
  };
  for (const TensorInfo& from : tensor_table<Of<short_size>::Parameters<float>>)
    for (const TensorInfo& to : table)
      if (to.name.view() == "w2v_model." + std::string(from.name.view()))
        CHECK(distance(pretrained.weights().subspan(from.offset, from.size),
                       tuner.weights().subspan(to.offset, to.size)) == 0);
  for (int i = 0; i < 2; ++i) {
    CHECK(tuner.step(data.batch(0, 4)).frozen);
    for (const TensorInfo& info : table) CHECK(changed(info) == info.name.view().starts_with("proj."));
  }
  CHECK(!tuner.step(data.batch(0, 4)).frozen);
  for (const TensorInfo& info : table)
    if (info.size > 8 && !info.name.view().ends_with("bias")) CHECK(changed(info));
  CHECK_THROWS_AS(Tuner(o, pretrained.weights().first(16)), MismatchError);
}

TEST_CASE("recogniser: the same utterance in either length gives the same within rounding") {
  const Data narrow(5, short_size), wide(5, long_size);
  Lengthy a(options()), b(options());
  CHECK(copy(a.weights()) == copy(Tuner(options()).weights()));
  const auto x = a.step(narrow.batch(0, 5, 0)), y = b.step(wide.batch(0, 5, 1));
  CHECK(x.loss == doctest::Approx(y.loss).epsilon(1e-5));
  CHECK(y.bucket == 1);
  CHECK(distance(a.gradient(), b.gradient()) < 1e-4 * x.gradient_norm);
  for (int i = 0; i < 150; ++i) a.step(narrow.batch(0, 5, 0)), a.step(wide.batch(0, 5, 1));
  CHECK(right(a, narrow.batch(0, 5, 0), narrow) == 5);
  CHECK(right(a, wide.batch(0, 5, 1), wide) == 5);
}

TEST_CASE("recogniser: what does not fit is named") {
  Tuner tuner(options());
  Data data(2, short_size);
  const auto problem = [&](const UtteranceBatch<>& batch) -> std::string {
    const auto before = copy(tuner.weights());
    try {
      tuner.step(batch);
    } catch (const Error& error) {
      CHECK(copy(tuner.weights()) == before);
      return error.what();
    }
    return "";
  };
  const std::vector<std::int32_t> repeated(11, 2), unknown{4}, none;
  data.labels[1] = repeated;
  CHECK(problem(data.batch(0, 2)) ==
        "utterance 51: transcript of 11 letters: expected 21 frames or more, found 15");
  data.labels[1] = unknown;
  CHECK(problem(data.batch(0, 2)) == "utterance 51: label: expected 0 to 3 without the blank 0, found 4");
  data.labels[1] = none;
  CHECK(problem(data.batch(0, 2)) == "utterance 51: transcript: expected letters, found none");
  data.labels[1] = data.targets[1];
  data.lengths[0] = 5;
  CHECK(problem(data.batch(0, 2)) ==
        "recogniser: expected lengths of one frame or more, up to 128, found 5");
  data.lengths[0] = short_size;
  CHECK(problem(data.batch(0, 2, 1)) == "recogniser: expected a length from 0 to 0, found 1");
  UtteranceBatch<> batch = data.batch(0, 2);
  batch.labels = batch.labels.first(1);
  CHECK(problem(batch) == "recogniser: expected 2 targets, found 1");
  RecogniserOptions o = options();
  o.freeze_finetune_updates = -1;
  CHECK_THROWS_AS(Tuner{o}, OptionError);
}

TEST_CASE("recogniser: the published schedule") {
  const TriStageSchedule s = RecogniserOptions::tri_stage(1e-4, 100);
  CHECK(s(0) == doctest::Approx(1e-6));
  CHECK(s(10) == doctest::Approx(1e-4));
  CHECK(s(50) == doctest::Approx(1e-4));
  CHECK(s(100) == doctest::Approx(5e-6));
}

TEST_CASE("recogniser: a run that is stopped and goes on ends with the same bits") {
  const std::string folder = std::filesystem::temp_directory_path() / ("d2v_recogniser_" + std::to_string(::getpid()));
  const Data data(6, short_size);
  const auto run = [&](std::int64_t updates, bool resume, const std::string& out) {
    RecogniserOptions o = options(1e-3);
    o.mask = {.mask_prob = 0.3, .mask_length = 2};
    o.freeze_finetune_updates = 2;
    Tuner tuner(o);
    const volatile std::sig_atomic_t go = 0;
    const auto next = [&] { return data.batch(tuner.updates() % 2 * 3, 3); };
    run_loop(tuner, {.out = folder + out, .updates = updates, .resume = resume}, next, go);
    return copy(tuner.weights());
  };
  const auto whole = run(6, false, "/a");
  run(3, false, "/b");
  CHECK(run(6, true, "/b") == whole);
  using Other = RecogniserTuner<Of<short_size>, symbols + 1, Cpu>;
  Other other(options());
  const std::string file = folder + "/a/checkpoint.safetensors";
  CHECK_THROWS_AS(load_checkpoint<Other::ModelType>(file, other.state()), MismatchError);
  std::filesystem::remove_all(folder);
}

#if defined(D2V_COUNTS_ALLOCATIONS)
TEST_CASE("recogniser: a step and logits allocate nothing, a short last chunk included") {
  RecogniserOptions o = options(1e-3, 3);
  o.mask = {.mask_prob = 0.3, .mask_length = 2, .mask_channel_prob = 0.1, .mask_channel_length = 2};
  Lengthy tuner(o);
  const Data data(7, long_size);
  CHECK(allocations_of([&] { tuner.step(data.batch(0, 7, 1)); }) == 0);
  CHECK(allocations_of([&] { tuner.logits(data.batch(0, 7, 1), [](auto&&...) {}); }) == 0);
}
#endif
