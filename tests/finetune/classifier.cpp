// SPDX-License-Identifier: MIT
// The fine-tuning network: gradients by central differences, pooling and losses against their formulas, the tables of
// learning rates and stochastic depth.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/classifier.hpp>
#include <data2vec/layers/check_gradients.hpp>

using namespace data2vec;

namespace {

constexpr Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .average_top_k_layers = 2};
using Images = Vision<VisionConfig{.input_size = 4, .patch_size = 2, .in_chans = 1,
                                   .modality = {.prenet_depth = 1, .num_extra_tokens = 2}}>;
struct Model : Data2Vec2<config, Branch<Images, RandomMask<4, MaskConfig{.mask_prob = 0.5}>,
                                        LinearDecoder<DecoderConfig{.input_dropout = 0}>>> {};

constexpr int B = 3, classes = 4;
constexpr std::array<std::uint32_t, B> ids{4, 9, 17};
constexpr std::array<std::int32_t, B> hard_labels{2, -1, 0};  // the second row does not count
constexpr std::array<double, B * classes> soft_labels{0.7, 0.1, 0.2, 0, 0, 0, 1, 0, 0.25, 0.25, 0.25, 0.25};

/// The loss of a network as a layer with one output, whose gradients can be checked.
template <ClassifierConfig H, bool soft>
struct LossLayer {
  using Net = Classifier<Model, H>;
  static constexpr int input_size = B * Images::sample_size, output_size = 1;
  static constexpr bool has_input_gradient = false;
  template <class T>
  using Parameters = typename Net::template Parameters<T>;
  template <class T>
  using Tape = typename Net::template Workspace<T, B>;
  using Samples = View<const double, B, Images::sample_size>;
  using Index = typename Net::template Index<B>;

  static Pass<Cpu, true> pass(Cpu& d) {
    DropoutRates rates = with_drop_path<Model>({}, 0.5);
    return {d, {.seed = 3, .update = 2, .sample_ids = ids.data(), .masks = 1}, rates};
  }
  static typename Net::template Labels<double> labels() {
    if (soft) return {.soft = soft_labels.data()};
    return {.hard = hard_labels.data(), .smoothing = 0.1};
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y, const Tape<double>& tape) {
    std::array<int, buffer_size<Index>> indices;
    Net::forward(pass(d), p, Samples{x}, tape, bind<Index>(indices.data()));
    double* const none = nullptr;
    *y = Net::loss(d, B, tape.logits.data, labels(), 1, none, none).loss;
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    std::array<int, buffer_size<Index>> indices;
    Net::step(pass(d), p, gradient, Samples{x}, labels(), 1 / *dy, tape, bind<Index>(indices.data()));
  }
};

template <ClassifierConfig H, bool soft>
void check_network() {
  const GradientReport report = check_gradients<LossLayer<H, soft>, Cpu>();
  INFO(report.text());
  CHECK(report.passed);
}

template <Pooling P>
void check_pooling() {
  CAPTURE(static_cast<int>(P));
  check_network<ClassifierConfig{.num_classes = classes, .prediction_mode = P}, false>();
  check_network<ClassifierConfig{.num_classes = classes, .prediction_mode = P}, true>();
}

double log_sigmoid(double x) { return -std::log1p(std::exp(-x)); }

/// The pooled channel of tokens x, as the specification of lin_softmax has it.
double lin_softmax(const std::vector<double>& x) {
  double twice = 0, once = 0;
  for (const double v : x) {
    twice += std::exp(2 * log_sigmoid(v));
    once += std::exp(log_sigmoid(v) + 1e-6);
  }
  const double z = std::min(0.0, std::log(twice) - std::log(once)), result = z - std::log(-std::expm1(z));
  return is_finite(result) ? result : 0;
}

}  // namespace

TEST_CASE("gradients of the network: mean pooling, hard and soft labels") { check_pooling<Pooling::mean_pooling>(); }
TEST_CASE("gradients of the network: CLS token, hard and soft labels") { check_pooling<Pooling::cls_token>(); }
TEST_CASE("gradients of the network: lin_softmax, hard and soft labels") { check_pooling<Pooling::lin_softmax>(); }
TEST_CASE("gradients of the network: no norm before the head, stochastic depth") {
  check_network<ClassifierConfig{.num_classes = classes, .use_fc_norm = false, .drop_path = true}, false>();
}

TEST_CASE("head_step: loss and gradients of fc_norm and head are those of a whole step, the encoder has none") {
  using Net = Classifier<Model, ClassifierConfig{.num_classes = classes}>;
  using P = Net::Parameters<double>;
  std::vector<double> weights(buffer_size<P>), whole(buffer_size<P>), head(buffer_size<P>);
  std::vector<double> samples(B * Images::sample_size), memory(buffer_size<Net::Workspace<double, B>>);
  std::vector<int> indices(buffer_size<Net::Index<B>>);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.3 * std::sin(1.7 * static_cast<double>(i));
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = std::cos(0.9 * static_cast<double>(i));
  const Net::Labels<double> labels{.hard = hard_labels.data(), .smoothing = 0.1};
  Cpu d;
  const Pass<Cpu, true> pass{d, {.seed = 3, .update = 2, .sample_ids = ids.data(), .masks = 1}, DropoutRates{}};
  const auto p = bind<Net::Parameters<const double>>(static_cast<const double*>(weights.data()));
  const View<const double, B, Images::sample_size> x{samples.data()};
  const auto w = bind<Net::Workspace<double, B>>(memory.data());
  const auto index = bind<Net::Index<B>>(indices.data());
  const auto a = Net::step(pass, p, bind<P>(whole.data()), x, labels, 3, w, index);
  const auto b = Net::head_step(pass, p, bind<P>(head.data()), x, labels, 3, w, index);
  CHECK(a.loss == b.loss);
  CHECK(a.correct == b.correct);
  double of_encoder = 0;
  for (const TensorInfo& info : tensor_table<P>) {
    CAPTURE(info.name.view());
    const bool in_encoder = info.name.view().starts_with("model.");
    double most = 0;
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i) {
      most = std::max(most, std::fabs(whole[i]));
      CHECK(head[i] == (in_encoder ? 0 : whole[i]));
    }
    if (in_encoder) of_encoder = std::max(of_encoder, most);
    else CHECK(most > 0);
  }
  CHECK(of_encoder > 0);
}

TEST_CASE("pooling: formulas, and extra tokens left out") {
  constexpr int tokens = 5, first = 2, C = 3;
  Cpu d;
  std::vector<double> x(2 * tokens * C), pooled(2 * C);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 3 * std::sin(1.3 * static_cast<double>(i));
  const auto of = [&](int row, int token, int c) {
    return x[static_cast<std::size_t>((row * tokens + token) * C + c)];
  };
  for (int row = 0; row < 2; ++row)
    for (int c = 0; c < C; ++c) {
      const auto at = static_cast<std::size_t>(row * C + c);
      device::pool<Pooling::mean_pooling, C>(d, 2, tokens, first, x.data(), pooled.data());
      CHECK(pooled[at] == doctest::Approx((of(row, 2, c) + of(row, 3, c) + of(row, 4, c)) / 3).epsilon(1e-14));
      device::pool<Pooling::cls_token, C>(d, 2, tokens, 0, x.data(), pooled.data());
      CHECK(pooled[at] == of(row, 0, c));
      device::pool<Pooling::lin_softmax, C>(d, 2, tokens, first, x.data(), pooled.data());
      CHECK(pooled[at] == doctest::Approx(lin_softmax({of(row, 2, c), of(row, 3, c), of(row, 4, c)})).epsilon(1e-12));
    }
}

TEST_CASE("lin_softmax: what is not finite gives 0 and no gradient, large values stay finite") {
  Cpu d;
  const double dpooled = 1, lowest = std::numeric_limits<double>::lowest();
  for (const auto& x : {std::array{lowest, lowest}, std::array{60.0, 60.0}, std::array{-1e3, 1e3}}) {
    CAPTURE(x[0]);
    double pooled = 5, dx[2] = {5, 5};
    device::pool<Pooling::lin_softmax, 1>(d, 1, 2, 0, x.data(), &pooled);
    device::pool_backward<Pooling::lin_softmax, 1>(d, 1, 2, 0, &dpooled, x.data(), dx);
    for (const double value : {pooled, dx[0], dx[1]}) CHECK(is_finite(value));
    if (x[0] != lowest) continue;
    CHECK(pooled == 0);  // twice the logarithm of the odds overflows
    CHECK(dx[0] == 0);
    CHECK(dx[1] == 0);
  }
}

TEST_CASE("losses: label smoothing, rows that do not count, soft labels") {
  Cpu d;
  const std::array<double, B * classes> logits{1, 2, 0.5, -1, 0, 0, 0, 0, 3, -2, 0.1, 0.4};
  const auto log_p = [&](int row, int k) {
    double sum = 0;
    for (int j = 0; j < classes; ++j) sum += std::exp(logits[static_cast<std::size_t>(row * classes + j)]);
    return logits[static_cast<std::size_t>(row * classes + k)] - std::log(sum);
  };
  const double smoothing = 0.1;
  double expected = 0;
  for (const int row : {0, 2}) {
    expected -= (1 - smoothing) * log_p(row, hard_labels[static_cast<std::size_t>(row)]);
    for (int k = 0; k < classes; ++k) expected -= smoothing / classes * log_p(row, k);
  }
  std::array<double, B> losses{7, 7, 7};
  const auto hard = device::cross_entropy<classes>(d, B, logits.data(), hard_labels.data(), smoothing, 1, losses.data(),
                                                   static_cast<double*>(nullptr));
  CHECK(hard.loss == doctest::Approx(expected).epsilon(1e-14));
  CHECK(losses[1] == 0);
  CHECK(losses[0] + losses[2] == doctest::Approx(expected).epsilon(1e-14));
  CHECK(hard.correct == 1);  // row 2: logit 0 is the largest; row 0 says 1
  double soft_expected = 0;
  for (int row = 0; row < B; ++row)
    for (int k = 0; k < classes; ++k)
      soft_expected -= soft_labels[static_cast<std::size_t>(row * classes + k)] * log_p(row, k);
  const auto soft = device::soft_cross_entropy<classes>(d, B, logits.data(), soft_labels.data(), 1,
                                                        static_cast<double*>(nullptr), static_cast<double*>(nullptr));
  CHECK(soft.loss == doctest::Approx(soft_expected).epsilon(1e-14));
}

TEST_CASE("layer-wise learning rates: VisionBase has twelve blocks, the last with decay^1") {
  const double decay = 0.65;
  const std::string image = "model.modality_encoders.IMAGE.";
  const auto factor = [&](const std::string& name) { return layer_lr_scale<VisionBase>(name, decay); };
  for (int i = 0; i < 2; ++i)
    CHECK(factor(image + "context_encoder.blocks." + std::to_string(i) + ".attn.qkv.weight") ==
          doctest::Approx(std::pow(decay, 12 - i)).epsilon(1e-14));
  for (int i = 0; i < 10; ++i)
    CHECK(factor("model.blocks." + std::to_string(i) + ".norm1.bias") ==
          doctest::Approx(std::pow(decay, 10 - i)).epsilon(1e-14));
  for (const char* name : {"local_encoder.proj.weight", "extra_tokens", "context_encoder.norm.weight",
                           "fixed_positional_encoder.positions", "decoder.blocks.0.0.weight"})
    CHECK(factor(image + name) == 1);
  for (const char* name : {"fc_norm.weight", "head.weight", "head.bias"}) CHECK(factor(name) == 1);
  CHECK(layer_lr_scale<VisionLarge>("model.blocks.0.mlp.fc1.weight", 0.75) == doctest::Approx(std::pow(0.75, 24)));
  CHECK(layer_lr_scale<VisionLarge>("model.blocks.23.mlp.fc1.weight", 0.75) == doctest::Approx(0.75));
}

TEST_CASE("stochastic depth of fine-tuning: linspace over the shared blocks, shared out to prenet and blocks") {
  const DropoutRates base = with_drop_path<VisionBase>({.encoder_dropout = 0.3}, 0.1);  // r[i] = 0.1 i / 9
  CHECK(base.prenet_start_drop_path_rate == 0);
  CHECK(base.prenet_end_drop_path_rate == doctest::Approx(0.1 / 9).epsilon(1e-14));
  CHECK(base.start_drop_path_rate == doctest::Approx(0.2 / 9).epsilon(1e-14));
  CHECK(base.end_drop_path_rate == doctest::Approx(0.1).epsilon(1e-14));
  CHECK(base.encoder_dropout == 0.3);  // the others stay
  const DropoutRates large = with_drop_path<VisionLarge>({}, 0.2);
  CHECK(large.start_drop_path_rate == 0);
  CHECK(large.end_drop_path_rate == doctest::Approx(0.2).epsilon(1e-14));
  CHECK(large.prenet_end_drop_path_rate == 0);
}

TEST_CASE("names of the parameters") {
  using P = Classifier<Model, ClassifierConfig{.num_classes = classes}>::Parameters<float>;
  using Bare = Classifier<Model, ClassifierConfig{.num_classes = classes, .use_fc_norm = false}>::Parameters<float>;
  const auto shape = [](const auto& table, std::string_view name) {
    for (const TensorInfo& info : table)
      if (info.name.view() == name) return std::vector<int>(info.shape.begin(), info.shape.begin() + info.rank);
    return std::vector<int>{};
  };
  const auto& table = tensor_table<P>;
  CHECK(shape(table, "head.weight") == std::vector{classes, 8});
  CHECK(shape(table, "fc_norm.bias") == std::vector{8});
  CHECK(shape(tensor_table<Bare>, "fc_norm.bias").empty());
  // Behind "model." stands the pre-trained model without its decoder.
  std::size_t encoder = 0;
  for (const TensorInfo& info : tensor_table<Model::Parameters<float>>) {
    if (Model::in_decoder(info.name.view())) continue;
    encoder += info.size;
    CHECK(shape(table, "model." + std::string(info.name.view())) ==
          std::vector<int>(info.shape.begin(), info.shape.begin() + info.rank));
  }
  CHECK(element_count<P> == encoder + 2 * 8 + classes * 8 + classes);
}
