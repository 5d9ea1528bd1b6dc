// SPDX-License-Identifier: MIT
// wav2vec 2.0: gradients of the step, the terms of the loss, what is drawn, names.
#include <data2vec/objective/wav2vec2.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <data2vec/masking/span.hpp>
#include <data2vec/objective/objective.hpp>
#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int B = 2;

constexpr Config post{.embed_dim = 4, .depth = 2, .num_heads = 2, .mlp_ratio = 1.5, .norm_eps = 1e-5,
                      .block_names = BlockNames::fairseq};
constexpr Config pre = [] {
  Config c = post;
  c.layer_norm_first = c.pre_norm_mlp_residual = true;
  c.encoder_dropout = c.post_mlp_drop = c.attention_dropout = c.activation_dropout = c.dropout_input = 0.5;
  return c;
}();
constexpr SpeechConfig waveforms(ExtractorMode mode, Padding padding, double dropout) {
  return {.input_size = 60, .feature_encoder_spec = {{3, 5, 3}, {4, 3, 2}}, .extractor_mode = mode,
          .conv_pos_width = 4, .conv_pos_groups = 2, .conv_pos_depth = 1, .conv_pos_weight_norm = true,
          .conv_bias = mode == ExtractorMode::layer_norm, .project_equal_width = padding == Padding::reference,
          .dropout = dropout, .clear_padding = true, .modality = {.local_grad_mult = 0.5, .padding = padding}};
}
constexpr Wav2Vec2Config contrast{.final_dim = 6, .latent_vars = 5, .latent_groups = 2, .latent_dim = 4,
                                  .num_negatives = 3, .cross_sample_negatives = 2, .codebook_negatives = 2,
                                  .dropout_features = 0, .features_pen_weight = 2};
constexpr Wav2Vec2Config plain{.final_dim = 6, .latent_vars = 5, .num_negatives = 3, .dropout_features = 0.5,
                               .features_pen_weight = 0};
template <class M>
using Masks = SpanMask<M::tokens, MaskConfig{.mask_prob = 0.5, .mask_length = 2}>;
using PaddedWaveforms = Speech<waveforms(ExtractorMode::default_, Padding::reference, 0)>;
using FullWaveforms = Speech<waveforms(ExtractorMode::layer_norm, Padding::none, 0.5)>;
struct Post : Wav2Vec2<post, PaddedWaveforms, Masks<PaddedWaveforms>, contrast> {};
struct Pre : Wav2Vec2<pre, FullWaveforms, Masks<FullWaveforms>, plain> {};
static_assert(Objective<Post> && Objective<Pre>);
static_assert(PaddedWaveforms::tokens == 9 && Post::First::R == 4);

constexpr int lengths[B] = {60, 45};
constexpr ContrastOptions options{
    .logit_temp = 0.4, .diversity_weight = 0.7, .features_pen_weight = 0.3, .dropout_features = 0.5};

/// The step as a layer from parameters to the loss: of those that the choice of codes does not depend on. The others
/// have a gradient that is none of the loss (it is the softmax's); they are checked with the quantiser and by parity.
template <class Model>
struct StepLayer {
  using Step = typename Model::First;
  using Enc = typename Step::Enc;
  using Observer = std::function<void(const std::string&, int, const double*, std::size_t)>;
  static constexpr int input_size = 1, output_size = 1, rest = 3;
  static constexpr bool has_input_gradient = false;
  static constexpr double temperature = 0.8;
  static constexpr bool projects = Step::Local::projects;

  template <class T>
  struct Parameters {
    std::conditional_t<projects, typename Step::Local::Projection::template Parameters<T>, Nothing> projection;
    typename Enc::Relative::template Parameters<T> positions;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    View<T, Step::D> mask_emb;
    View<T, 1, Step::codebooks.codes(), Step::codebooks.width> vars;
    typename Step::TargetProjection::template Parameters<T> project_q;
    typename Step::Projection::template Parameters<T> final_proj;
    static constexpr void visit(auto&& f, auto&... p) {
      f("projection", p.projection...);
      f("positions", p.positions...);
      f("blocks", p.blocks...);
      f("norm", p.norm...);
      f("mask_emb", p.mask_emb...);
      f("vars", p.vars...);
      f("project_q", p.project_q...);
      f("final_proj", p.final_proj...);
    }
  };
  template <class T>
  using Tape = typename Step::template Workspace<T, B>;
  template <class T>
  using Whole = typename Model::template Parameters<T>;

  static const std::vector<double>& numbers(std::size_t n, std::uint64_t seed) {
    static std::map<std::uint64_t, std::vector<double>> all;
    std::vector<double>& v = all[seed];
    Rng rng({.seed = seed});
    if (v.empty())
      for (v.resize(n); double& x : v) x = static_cast<double>(rng.normal());
    return v;
  }
  /// The step's parameters: those of the layer, and fixed ones.
  template <class T>
  static auto all_of(const Parameters<T>& p, T* fixed) {
    auto w = Model::template weights<0>(bind<Whole<T>>(fixed));
    w.branch.front.local_encoder.projection = p.projection;
    w.branch.front.relative_positional_encoder = p.positions;
    w.blocks = p.blocks;
    w.norm = p.norm;
    w.branch.mask_emb = p.mask_emb;
    w.branch.quantizer.vars = p.vars;
    w.branch.project_q = p.project_q;
    w.branch.final_proj = p.final_proj;
    return w;
  }
  static auto indices() {
    static std::vector<int> memory(buffer_size<typename Step::template Indices<B>>);
    const auto index = bind<typename Step::template Indices<B>>(memory.data());
    index.draw({.seed = 7, .update = 3, .sample_ids = sample_ids.data()}, Step::padded ? lengths : nullptr);
    return index;
  }
  static Wav2Vec2Sums step(Cpu& d, const Parameters<const double>& p, const Parameters<double>& gradient,
                           const Tape<double>& tape, const Observer& observe = [](auto&&...) {}) {
    static std::vector<double> unused(buffer_size<Whole<double>>);
    const std::vector<double>& fixed = numbers(buffer_size<Whole<double>>, 21);
    const std::vector<double>& noise = numbers(tape.noise.size, 22);
    std::copy(noise.begin(), noise.end(), tape.noise.data);
    const auto index = indices();
    return Step::step(fixed_pass<true>(d), all_of<const double>(p, fixed.data()),
                      all_of<double>(gradient, unused.data()), {numbers(B * Step::M::sample_size, 23).data()}, options,
                      temperature, index.count() + rest, tape, index, Step::padded ? lengths : nullptr, observe);
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double*, double* y, const Tape<double>& tape) {
    static std::vector<double> none(buffer_size<Parameters<double>>);
    const Wav2Vec2Sums sums = step(d, p, bind<Parameters<double>>(none.data()), tape);
    *y = sums.total() / (sums.sample_size + rest);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double*, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    static constexpr double start = 0.5;  // the step must add to what is there
    std::vector<double> own(buffer_size<Parameters<double>>, start);
    const auto from = bind<Parameters<double>>(own.data());
    step(d, p, from, tape);
    for_each_tensor(
        [&](const auto&, const Field&, auto& to, auto& added) {
          for (std::size_t i = 0; i < to.size; ++i) to.data[i] += *dy * (added.data[i] - start);
        },
        gradient, from);
  }
};

}  // namespace

TEST_CASE("wav2vec 2.0: gradients of the step, post-norm with padding and every kind of negatives") {
  expect_gradients<StepLayer<Post>>();
}

TEST_CASE("wav2vec 2.0: gradients of the step, pre-norm with every dropout") { expect_gradients<StepLayer<Pre>>(); }

TEST_CASE("wav2vec 2.0: masks, negatives and codes") {
  using Layer = StepLayer<Post>;
  const auto index = Layer::indices();
  const int n = index.count();
  CHECK(index.first[0] == 0);
  CHECK(n == Post::First::positions_of(60) + Post::First::positions_of(45));
  for (int i = 0; i < n; ++i) {
    const int b = index.rows[i] / 9;
    CHECK(b == (i >= index.first[1]));
    CHECK(index.rows[i] % 9 < PaddedWaveforms::valid_tokens(lengths[b]));
    for (int k = 0; k < 3; ++k) {
      CHECK(index.negatives[i][k] != i);
      CHECK(index.negatives[i][k] >= index.first[b]);
      CHECK(index.negatives[i][k] < index.first[b + 1]);
    }
    for (int k = 3; k < 5; ++k) CHECK((index.negatives[i][k] != i && index.negatives[i][k] < n));
    for (int k = 5; k < 7; ++k) CHECK(index.negatives[i][k] == n + (k - 5) * n + i);
  }
  for (int i = 0; i < n; ++i)
    for (int g = 0; g < 2; ++g) index.codes[i][g] = i == 1 ? 4 : i % 3;
  Cpu d;
  device::leave_out_equal(d, n, Post::First::K, 2, index.codes.data, index.negatives.data, index.candidates.data);
  for (int i = 0; i < n; ++i)
    for (int k = 0; k < 5; ++k) {
      const int other = index.negatives[i][k];
      const bool same = (i == 1 ? 4 : i % 3) == (other == 1 ? 4 : other % 3);
      CHECK(index.candidates[i][k] == (same ? -1 : other));
    }
}

TEST_CASE("wav2vec 2.0: the terms of the loss") {
  using Layer = StepLayer<Post>;
  Cpu d;
  const auto& weights = Layer::numbers(buffer_size<Layer::Parameters<double>>, 31);
  std::vector<double> gradient(weights.size()), memory(buffer_size<Layer::Tape<double>>);
  double penalty = 0, contrastive = 0;
  const auto sums = Layer::step(
      d, bind<Layer::Parameters<const double>>(weights.data()), bind<Layer::Parameters<double>>(gradient.data()),
      bind<Layer::Tape<double>>(memory.data()), [&](const std::string& name, int, const double* v, std::size_t n) {
        if (name == "conv_features")
          for (std::size_t i = 0; i < n; ++i) penalty += v[i] * v[i] / static_cast<double>(n);
        if (name == "logits")
          for (std::size_t i = 0; i < n; i += 8) {
            double sum = 0;
            for (std::size_t k = 0; k < 8; ++k) sum += std::exp(v[i + k]);
            contrastive += std::log(sum) - v[i];
          }
      });
  const double n = sums.sample_size, bound = 1e3 * std::numeric_limits<double>::epsilon();
  CHECK(std::fabs(sums.contrastive - contrastive) < bound * contrastive);
  CHECK(std::fabs(sums.features_pen - 0.3 * n * penalty) < bound * sums.features_pen);
  CHECK(std::fabs(sums.diversity - 0.7 * n * (10 - sums.prob_perplexity / n) / 10) < bound * n);
  CHECK(sums.prob_perplexity / n > 2);
  CHECK(sums.prob_perplexity / n < 10);
  CHECK(sums.total() == sums.contrastive + sums.diversity + sums.features_pen);
}

TEST_CASE("wav2vec 2.0: the quantiser's temperature falls to its last value") {
  const ContrastOptions o{.latent_temp = {2, 0.5, 0.9}};
  CHECK(o.latent_temp_at(0) == 2);
  CHECK(o.latent_temp_at(2) == doctest::Approx(1.62));
  CHECK(o.latent_temp_at(1000) == 0.5);
}

TEST_CASE("wav2vec 2.0: names of the reference, and where the weights start") {
  std::vector<std::string> all;
  for (const TensorInfo& info : tensor_table<Pre::Parameters<float>>) all.emplace_back(info.name.view());
  for (const char* name :
       {"mask_emb", "feature_extractor.conv_layers.0.0.bias", "feature_extractor.conv_layers.1.2.1.weight",
        "layer_norm.weight", "quantizer.vars", "quantizer.weight_proj.bias", "project_q.weight", "final_proj.bias",
        "encoder.pos_conv.0.weight_g", "encoder.pos_conv.0.weight_v", "encoder.layer_norm.weight",
        "encoder.layers.1.self_attn.v_proj.weight", "encoder.layers.0.final_layer_norm.bias"})
    CHECK(std::count(all.begin(), all.end(), name) == 1);
  CHECK(std::count(all.begin(), all.end(), "post_extract_proj.weight") == 0);  // the widths are the same
  std::vector<float> weights(buffer_size<Pre::Parameters<float>>);
  Pre::initialise(weights.data(), 5);
  const auto p = bind<Pre::Parameters<float>>(weights.data());
  const auto inside = [](const auto& view) {
    return std::all_of(view.data, view.data + view.size, [](float x) { return x >= 0 && x < 1; }) &&
           view.data[0] != view.data[1];
  };
  CHECK(inside(p.encoder.mask_emb));
  CHECK(inside(p.quantizer.vars));
  const auto& positions = p.encoder.front_end.relative_positional_encoder;
  double squares = 0;
  for (std::size_t i = 0; i < positions.weight_v.size; i += 4) squares += std::pow(positions.weight_v.data[i], 2);
  CHECK(positions.weight_g.data[0] == doctest::Approx(std::sqrt(squares)));
}
