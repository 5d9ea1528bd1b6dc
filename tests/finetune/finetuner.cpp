// SPDX-License-Identifier: MIT
// Fine-tuning steps: what must move, what must stay, what may not matter.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/finetuner.hpp>
#include <data2vec/finetune/mixup.hpp>

using namespace data2vec;

namespace {

using Images = Vision<VisionConfig{.input_size = {8, 12}, .patch_size = 4, .in_chans = 1,
                                   .modality = {.prenet_depth = 1, .num_extra_tokens = 1}}>;
using Masks = RandomMask<Images::tokens, MaskConfig{.mask_prob = 0.5}>;
using Decoder = LinearDecoder<DecoderConfig{.input_dropout = 0}>;
inline constexpr Config config{
    .embed_dim = 16, .depth = 2, .num_heads = 2, .average_top_k_layers = 2, .clone_batch = 2};
struct Model : Data2Vec2<config, Branch<Images, Masks, Decoder>> {};

constexpr int chunk = 4, classes = 3;
using Tuner = FineTuner<Model, ClassifierConfig{.num_classes = classes, .drop_path = true}, Cpu, chunk>;
constexpr auto& table = tensor_table<Tuner::Parameters>;

FineTunerOptions options(double lr = 3e-3, int threads = 1) {
  FineTunerOptions o = FineTunerOptions::of<Model>();
  o.schedule = ConstantSchedule{lr};
  o.optimizer.clip_norm = 0;
  o.optimizer.weight_decay = 0;
  o.threads = threads;
  return o;
}

struct Data {
  std::vector<float> samples;
  std::vector<std::int32_t> labels;
  std::vector<std::uint32_t> ids;
  std::span<const float> sample(std::size_t i) const {
    return std::span(samples).subspan(i * Images::sample_size, Images::sample_size);
  }
};

/// Noise, with more light in one third of the image for each class.
Data data(std::size_t n) {
  Data d;
  Rng rng({.seed = 9});
  for (std::size_t i = 0; i < n; ++i) {
    d.labels.push_back(static_cast<std::int32_t>(i % classes));
    d.ids.push_back(static_cast<std::uint32_t>(100 + i));
    for (int at = 0; at < Images::sample_size; ++at)
      d.samples.push_back(rng.normal() + (at % 12 / 4 == static_cast<int>(i % classes) ? 1.0f : 0.0f));
  }
  return d;
}

std::vector<float> copy(std::span<const float> x) { return {x.begin(), x.end()}; }
bool in_encoder(const TensorInfo& info) { return info.name.view().starts_with("model."); }
std::size_t row_of(std::string_view name) {
  for (std::size_t i = 0; i < table.size(); ++i)
    if (table[i].name.view() == name) return i;
  FAIL("no tensor ", std::string(name));
  return 0;
}

/// Largest change of a tensor.
double change(const std::vector<float>& before, std::span<const float> after, const TensorInfo& info) {
  double most = 0;
  for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
    most = std::max(most, std::fabs(static_cast<double>(after[i]) - static_cast<double>(before[i])));
  return most;
}

}  // namespace

TEST_CASE("fine-tuning: the loss falls and the classes are learnt, in evaluation too") {
  Tuner tuner(options());
  const Data d = data(30);
  const auto fill = [&](std::int64_t i, float* to) {
    const auto from = d.sample(static_cast<std::size_t>(i));
    std::copy(from.begin(), from.end(), to);
    return d.labels[static_cast<std::size_t>(i)];
  };
  const Evaluation before = tuner.evaluate(30, fill);
  const auto first = tuner.step(d.samples, d.labels, d.ids);
  CHECK(first.loss == doctest::Approx(before.loss).epsilon(1e-5));  // no dropout, no smoothing: the same pass
  CHECK(first.samples == 30);
  FineTuneReport last;
  for (int i = 0; i < 150; ++i) last = tuner.step(d.samples, d.labels, d.ids);
  CHECK(last.loss < 0.1 * first.loss);
  CHECK(last.accuracy == 1);
  CHECK(last.update == 150);
  std::vector<std::int64_t> order;
  const Evaluation after =
      tuner.evaluate(30, fill, [&](std::int64_t i, std::int32_t label, std::span<const float> logits) {
        order.push_back(i);
        CHECK(label == d.labels[static_cast<std::size_t>(i)]);
        CHECK(std::max_element(logits.begin(), logits.end()) - logits.begin() == label);
      });
  CHECK(after.accuracy == 1);
  CHECK(after.samples == 30);
  REQUIRE(order.size() == 30);
  for (std::size_t i = 0; i < 30; ++i) CHECK(order[i] == static_cast<std::int64_t>(i));
}

TEST_CASE("fine-tuning: the encoder is the pre-trained one, positions included; the head is new") {
  Trainer<Model, Cpu> pretrained(TrainerOptions::of<Model>());
  Tuner tuner(options(), pretrained.weights());
  using Source = Model::Parameters<float>;
  int found = 0;
  for (const TensorInfo& from : tensor_table<Source>) {
    if (Model::in_decoder(from.name.view())) continue;
    const TensorInfo& to = table[row_of("model." + std::string(from.name.view()))];
    REQUIRE(to.size == from.size);
    CHECK(std::equal(pretrained.weights().begin() + static_cast<std::ptrdiff_t>(from.offset),
                     pretrained.weights().begin() + static_cast<std::ptrdiff_t>(from.offset + from.size),
                     tuner.weights().begin() + static_cast<std::ptrdiff_t>(to.offset)));
    ++found;
  }
  for (const TensorInfo& info : table) found -= in_encoder(info);
  CHECK(found == 0);
  FineTunerOptions other = options();
  other.seed = 5;
  CHECK(change(copy(tuner.weights()), Tuner(other).weights(), table[row_of("head.weight")]) > 0);
  CHECK(change(copy(tuner.weights()), Tuner(other).weights(), table[row_of("model.blocks.0.attn.qkv.weight")]) > 0);
  CHECK_THROWS_AS(Tuner(options(), pretrained.weights().first(16)), MismatchError);
}

TEST_CASE("fine-tuning: padding is left out: five samples in chunks of four are the mean of five single ones") {
  const Data d = data(5);
  const auto all = std::span(d.samples);
  for (const bool soft : {false, true}) {
    CAPTURE(soft);
    std::vector<float> q(5 * classes);
    mix_labels<float>({}, d.labels, classes, 0.1, q);
    const auto step = [&](std::size_t first, std::size_t n) {
      FineTunerOptions o = options(0);
      o.label_smoothing = soft ? 0 : 0.1;
      Tuner tuner(o);
      const auto samples = all.subspan(first * Images::sample_size, n * Images::sample_size);
      const auto ids = std::span(d.ids).subspan(first, n);
      const auto report =
          soft ? tuner.step(samples, std::span<const float>(q).subspan(first * classes, n * classes), ids)
               : tuner.step(samples, std::span<const std::int32_t>(d.labels).subspan(first, n), ids);
      return std::pair(report, copy(tuner.gradient()));
    };
    const auto [report, gradient] = step(0, 5);
    std::vector<double> mean(gradient.size());
    double loss = 0, accuracy = 0, largest = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      const auto [one, part] = step(i, 1);
      loss += one.loss / 5;
      accuracy += one.accuracy / 5;
      for (std::size_t k = 0; k < part.size(); ++k) mean[k] += static_cast<double>(part[k]) / 5;
    }
    for (const double g : mean) largest = std::max(largest, std::fabs(g));
    CHECK(report.loss == doctest::Approx(loss).epsilon(1e-6));
    CHECK(report.accuracy == doctest::Approx(accuracy));
    // Sums over 5 x 7 tokens in another order: 8 eps sqrt(35) of the largest gradient, for each of the 3 blocks and
    // the layers around them once.
    const double bound = 5 * 8 * static_cast<double>(std::numeric_limits<float>::epsilon()) * std::sqrt(35.0) * largest;
    double error = 0;
    for (std::size_t k = 0; k < mean.size(); ++k)
      error = std::max(error, std::fabs(mean[k] - static_cast<double>(gradient[k])));
    CHECK(error <= bound);
  }
}

TEST_CASE("fine-tuning: soft labels that are one-hot are hard labels") {
  const Data d = data(7);
  std::vector<float> q(7 * classes);
  mix_labels<float>({}, d.labels, classes, 0, q);
  Tuner hard(options()), soft(options());
  for (int i = 0; i < 2; ++i) {
    const auto a = hard.step(d.samples, d.labels, d.ids), b = soft.step(d.samples, q, d.ids);
    CHECK(a.loss == doctest::Approx(b.loss).epsilon(1e-6));
    CHECK(a.accuracy == b.accuracy);
  }
}

TEST_CASE("fine-tuning: a frozen encoder stays as it is, then its moments begin anew") {
  FineTunerOptions o = options(1e-3);
  o.freeze_finetune_updates = 2;
  o.optimizer.weight_decay = 0.1;
  o.optimizer.decay_scope = DecayScope::all;
  Tuner tuner(o), free(options(1e-3));
  const Data d = data(6);
  const auto before = copy(tuner.weights());
  for (int i = 0; i < 2; ++i) {
    const auto report = tuner.step(d.samples, d.labels, d.ids);
    CHECK(report.frozen);
    double squares = 0;
    for (const TensorInfo& info : table) {
      if (in_encoder(info)) {
        CHECK(change(before, tuner.weights(), info) == 0);
        continue;
      }
      CHECK(change(before, tuner.weights(), info) > 0);
      for (std::size_t k = info.offset; k < info.offset + info.size; ++k)
        squares += static_cast<double>(tuner.gradient()[k]) * static_cast<double>(tuner.gradient()[k]);
    }
    CHECK(report.gradient_norm == doctest::Approx(std::sqrt(squares)).epsilon(1e-6));
    if (i > 0) continue;  // the head's first gradient is the one of a step that is not frozen
    free.step(d.samples, d.labels, d.ids);
    const TensorInfo& head = table[row_of("head.weight")];
    for (std::size_t k = head.offset; k < head.offset + head.size; ++k)
      CHECK(tuner.gradient()[k] == free.gradient()[k]);
  }
  const auto frozen = copy(tuner.weights());
  CHECK(!tuner.step(d.samples, d.labels, d.ids).frozen);
  // The first update of Adam is lr times the gradient's sign: |step| <= lr, and close to it where the gradient is
  // large.
  const double most = change(frozen, tuner.weights(), table[row_of("model.blocks.1.mlp.fc2.weight")]);
  CHECK(most > 0.99e-3 * 0.9);
  CHECK(most < 1.01e-3 * 1.1);
}

TEST_CASE("fine-tuning: layer decay scales the first update of a block by its depth") {
  FineTunerOptions o = options(1e-3);
  o.layer_decay = 0.5;
  Tuner tuner(o);
  const Data d = data(6);
  const auto before = copy(tuner.weights());
  tuner.step(d.samples, d.labels, d.ids);
  // Adam's first step is lr * sign(g) wherever |g| is far above eps; float weights near 0.1 hold it to some 1e-8.
  const auto expect = [&](const char* name, double scale) {
    CAPTURE(name);
    CHECK(change(before, tuner.weights(), table[row_of(name)]) == doctest::Approx(1e-3 * scale).epsilon(0.01));
  };
  expect("model.modality_encoders.IMAGE.context_encoder.blocks.0.mlp.fc2.weight", 0.125);
  expect("model.blocks.0.mlp.fc2.weight", 0.25);
  expect("model.blocks.1.mlp.fc2.weight", 0.5);
  expect("model.modality_encoders.IMAGE.local_encoder.proj.weight", 1);
  expect("head.weight", 1);
}

TEST_CASE("fine-tuning: stochastic depth acts in training alone and follows the ids") {
  FineTunerOptions o = options(0);
  o.rates = FineTunerOptions::of<Model>(0.9).rates;
  Tuner dropped(o), plain(options(0));
  const Data d = data(8);
  const auto a = dropped.step(d.samples, d.labels, d.ids);
  CHECK(a.loss != plain.step(d.samples, d.labels, d.ids).loss);
  std::vector<float> x(8 * classes), y(8 * classes);
  dropped.logits(d.samples, x);
  plain.logits(d.samples, y);
  CHECK(x == y);
  Tuner again(o);
  CHECK(again.step(d.samples, d.labels, d.ids).loss == a.loss);
  std::vector<std::uint32_t> other(8, 1);
  CHECK(Tuner(o).step(d.samples, d.labels, other).loss != a.loss);
}

TEST_CASE("fine-tuning: threads change no bit; logits do not depend on the batch") {
  constexpr std::size_t n = 2 * Tuner::unit_samples + 5;  // three units and a short chunk
  const Data d = data(n);
  const auto run = [&](int threads) {
    FineTunerOptions o = options(1e-3, threads);
    o.rates = FineTunerOptions::of<Model>(0.3).rates;
    o.optimizer.clip_norm = 0.1;
    o.optimizer.weight_decay = 0.05;
    o.label_smoothing = 0.1;
    o.layer_decay = 0.7;
    o.freeze_finetune_updates = 1;
    Tuner tuner(o);
    std::vector<double> losses;
    for (int i = 0; i < 3; ++i) losses.push_back(tuner.step(d.samples, d.labels, d.ids).loss);
    std::vector<float> logits(n * classes);
    tuner.logits(d.samples, logits);
    std::vector<float> one(classes);
    for (const std::size_t i : {std::size_t{0}, std::size_t{6}, n - 1}) {
      tuner.logits(d.sample(i), one);
      for (std::size_t c = 0; c < classes; ++c) CHECK(one[c] == logits[i * classes + c]);
    }
    losses.push_back(tuner.evaluate(n, [&](std::int64_t i, float* to) {
      const auto from = d.sample(static_cast<std::size_t>(i));
      std::copy(from.begin(), from.end(), to);
      return d.labels[static_cast<std::size_t>(i)];
    }).loss);
    return std::tuple(losses, logits, copy(tuner.weights()));
  };
  const auto one = run(1);
  for (const int threads : {2, 3}) CHECK(run(threads) == one);
}

TEST_CASE("fine-tuning: clipping, decay and a gradient that is not finite") {
  FineTunerOptions o = options(1e-3);
  Data d = data(4);
  Tuner tuner(o);
  d.samples[3] = std::numeric_limits<float>::infinity();
  const auto before = copy(tuner.weights());
  const auto report = tuner.step(d.samples, d.labels, d.ids);
  CHECK(report.skipped);
  CHECK(tuner.updates() == 0);
  CHECK(copy(tuner.weights()) == before);
  // With a learning rate but no gradient through a frozen encoder, decay of matrices alone leaves the head's bias to
  // Adam and pulls its weight.
  d = data(4);
  o.optimizer.weight_decay = 1;
  Tuner decayed(o), plain(options(1e-3));
  decayed.step(d.samples, d.labels, d.ids);
  plain.step(d.samples, d.labels, d.ids);
  CHECK(change(copy(plain.weights()), decayed.weights(), table[row_of("head.bias")]) == 0);
  CHECK(change(copy(plain.weights()), decayed.weights(), table[row_of("model.blocks.0.norm1.weight")]) == 0);
  CHECK(change(copy(plain.weights()), decayed.weights(), table[row_of("model.blocks.0.mlp.fc1.weight")]) > 0);
}

TEST_CASE("fine-tuning: what is refused") {
  Tuner tuner(options());
  const Data d = data(4);
  std::vector<std::int32_t> wrong = d.labels;
  wrong[2] = classes;
  CHECK_THROWS_WITH_AS(tuner.step(d.samples, wrong, d.ids), "fine-tuning: expected labels from 0 to 2, found 3",
                       OptionError);
  wrong.resize(3);
  CHECK_THROWS_AS(tuner.step(d.samples, wrong, d.ids), OptionError);
  CHECK_THROWS_AS(tuner.step(d.samples, std::vector<float>(11), d.ids), OptionError);
  CHECK_THROWS_AS(tuner.step(std::span(d.samples).first(10), d.labels, d.ids), OptionError);
  CHECK_THROWS_AS(tuner.step({}, std::vector<std::int32_t>{}, {}), OptionError);
  std::vector<float> logits(5);
  CHECK_THROWS_AS(tuner.logits(d.samples, logits), OptionError);
  CHECK_THROWS_AS(tuner.evaluate(0, [](std::int64_t, float*) { return 0; }), OptionError);
  FineTunerOptions o = options();
  o.layer_decay = 0;
  CHECK_THROWS_WITH_AS(Tuner{o}, "FineTunerOptions::layer_decay: expected above 0, at most 1, found 0.000000",
                       OptionError);
  o = options();
  o.label_smoothing = 1;
  CHECK_THROWS_AS(Tuner{o}, OptionError);
  CHECK(tuner.updates() == 0);
}
