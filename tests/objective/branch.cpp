// SPDX-License-Identifier: MIT
// The whole step of a branch: gradients of the summed loss over every parameter, the targets being constants, and every
// loss term from its plain formula.
#include <data2vec/objective/branch.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/decoder/cross_attention.hpp>
#include <data2vec/decoder/linear.hpp>
#include <data2vec/masking/random.hpp>
#include <data2vec/modality/vision.hpp>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int B = 2;
constexpr LossWeights weights{.d2v_loss = 0.75, .cls_loss = 0.5, .recon_loss = 1.5};

/// A step on fixed samples and draws as a layer: parameters in, one number out. `rest` is what other chunks of the
/// batch add to the sample size.
template <Config C, class Br>
struct StepLayer {
  using Step = BranchStep<C, Br>;
  static constexpr int N = B * Step::masks, size = Step::M::sample_size, rest = 5;
  static constexpr int input_size = B * size, output_size = 1;
  static constexpr bool has_input_gradient = false;
  static constexpr double sample_size = N * Step::R + rest;

  template <class T>
  struct Parameters {
    typename Step::template Parameters<T> branch;
    typename Step::Enc::template Shared<T> blocks;
    typename Step::Enc::template FinalNorm<T> norm;
    typename Step::template Recon<T> recon_proj;
    static constexpr void visit(auto&& f, auto&... p) {
      f("branch", p.branch...);
      f("blocks", p.blocks...);
      f("norm", p.norm...);
      f("recon_proj", p.recon_proj...);
    }
    typename Step::template Weights<T> all() const { return {branch, blocks, norm, recon_proj}; }
  };
  template <class T>
  struct Tape {
    typename Step::template Workspace<T, B> workspace;
    Parameters<T> gradient;
    View<T, 4 * Step::D> moments;
    static constexpr void visit(auto&& f, auto&... t) {
      f("workspace", t.workspace...);
      f("gradient", t.gradient...);
      f("moments", t.moments...);
    }
  };

  static auto indices() {
    static std::vector<int> memory(buffer_size<typename Step::template Indices<B>>);
    const auto index = bind<typename Step::template Indices<B>>(memory.data());
    Step::template draw_masks<B>({.seed = 7, .update = 3, .sample_ids = sample_ids.data(), .masks = Step::masks},
                                 index);
    return index;
  }
  static std::vector<double>& teacher() {
    static std::vector<double> values = [] {
      std::vector<double> w(buffer_size<Parameters<double>>);
      Rng rng({.seed = 77});
      for (double& v : w) v = 0.5 * static_cast<double>(rng.normal());
      return w;
    }();
    return values;
  }

  template <class Observer>
  static LossSums step(Cpu& d, const Parameters<const double>& p, const double* x, const Tape<double>& tape,
                       Observer&& observe) {
    device::fill(d, tape.moments.size, 0, tape.moments.data);
    const View<const double, B, size> samples{x};
    const double* const teacher_weights = teacher().data();
    return Step::step(fixed_pass<true>(d, Step::masks), p.all(), bind<Parameters<const double>>(teacher_weights).all(),
                      tape.gradient.all(), samples, samples, static_cast<const double*>(nullptr), 1.0, weights,
                      sample_size, tape.workspace, indices(), tape.moments.data, observe);
  }
  /// With the targets of the first call: they are constants, even where the student's own front end computes them.
  static double loss(Cpu& d, const Parameters<const double>& p, const double* x, const Tape<double>& tape) {
    static std::vector<double> targets;
    fill_gradient(d, tape);
    const LossSums sums = step(d, p, x, tape, [](const std::string& name, int, const double* v, std::size_t n) {
      if (name != "targets") return;
      if (targets.empty()) targets.assign(v, v + n);
      std::copy(targets.begin(), targets.end(), const_cast<double*>(v));
    });
    return (sums.regression + sums.recon) / sample_size + sums.cls;
  }
  static constexpr double start = 0.5;  // the step must add to what is there
  static void fill_gradient(Cpu& d, const Tape<double>& tape) {
    for_each_tensor([&](const auto&, const auto&, const auto& g) { device::fill(d, g.size, start, g.data); },
                    tape.gradient);
  }

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y,
                      const Tape<double>& tape) {
    y[0] = loss(d, p, x, tape);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    loss(d, p, x, tape);
    for_each_tensor(
        [&](const auto&, const Field& field, auto& to, auto& from) {
          for (std::size_t i = 0; i < to.size && field.trained; ++i) to.data[i] += dy[0] * (from.data[i] - start);
        },
        gradient, tape.gradient);
  }
};

constexpr VisionConfig images(ModalityConfig m) {
  return {.input_size = 6, .patch_size = 2, .in_chans = 1, .modality = m};
}
constexpr MaskConfig hide_six{.mask_prob = 0.6};
constexpr MaskConfig hide_six_show_two{.mask_prob = 0.6, .keep_masked_pct = 0.3};

constexpr Config published{.embed_dim = 4, .depth = 2, .num_heads = 2, .mlp_ratio = 1.5, .average_top_k_layers = 2,
                           .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2,
                           .cls_loss = 0.5};
using Published = Branch<Vision<images({.prenet_depth = 1, .num_extra_tokens = 1, .ema_local_encoder = true})>,
                         RandomMask<9, hide_six>,
                         Conv2dDecoder<DecoderConfig{.decoder_dim = 4, .decoder_groups = 2, .decoder_kernel = 3,
                                                     .decoder_layers = 2, .input_dropout = 0}>>;

constexpr Config everything{.embed_dim = 4, .depth = 2, .num_heads = 2, .mlp_ratio = 1.5, .layer_norm_first = true,
                            .pre_norm_mlp_residual = true, .encoder_dropout = 0.5, .post_mlp_drop = 0.5,
                            .attention_dropout = 0.5, .activation_dropout = 0.5, .dropout_input = 0.5,
                            .start_drop_path_rate = 0.5, .average_top_k_layers = 1, .end_of_block_targets = true,
                            .ema_encoder_only = true, .clone_batch = 3, .loss_beta = 0.8, .loss_scale = 1.25,
                            .cls_loss = 0.5, .recon_loss = 1};
using Everything = Branch<Vision<images({.prenet_depth = 1, .prenet_dropout = 0.5, .num_extra_tokens = 2,
                                         .use_alibi_encoder = true, .learned_alibi_scale = true})>,
                          RandomMask<9, hide_six_show_two>,
                          LinearDecoder<DecoderConfig{.input_dropout = 0.5, .add_positions_masked = true,
                                                      .add_positions_all = true}>>;

constexpr Config bare{.embed_dim = 4, .depth = 1, .num_heads = 2, .mlp_ratio = 1, .average_top_k_layers = 1,
                      .clone_batch = 1};
using Bare = Branch<Vision<images({})>, RandomMask<9, hide_six>,
                    CrossAttentionDecoder<DecoderConfig{.decoder_dim = 8, .decoder_layers = 1, .input_dropout = 0}>>;

/// What a step computed, by the observer's names.
struct Seen {
  std::map<std::string, std::vector<double>> values;
  LossSums sums;
  std::vector<double> parameters, x, gradient, moments, teacher_before;
};

template <class Layer>
Seen look() {
  Seen seen;
  Cpu d;
  Rng rng({.seed = 3});
  seen.parameters.resize(buffer_size<typename Layer::template Parameters<double>>);
  seen.x.resize(Layer::input_size);
  for (double& v : seen.parameters) v = 0.5 * static_cast<double>(rng.normal());
  for (double& v : seen.x) v = static_cast<double>(rng.normal());
  seen.teacher_before = Layer::teacher();
  std::vector<double> memory(buffer_size<typename Layer::template Tape<double>>);
  const auto tape = bind<typename Layer::template Tape<double>>(memory.data());
  seen.sums = Layer::step(d, bind<typename Layer::template Parameters<const double>>(seen.parameters.data()),
                          seen.x.data(), tape, [&](const std::string& name, int, const double* v, std::size_t n) {
                            seen.values[name].assign(v, v + n);
                          });
  for_each_tensor([&](const TensorName& name, const Field&, const auto& g) {
    if (name.view().find("local_encoder") != std::string_view::npos)
      seen.gradient.insert(seen.gradient.end(), g.data, g.data + g.size);
  }, tape.gradient);
  seen.moments.assign(tape.moments.data, tape.moments.data + tape.moments.size);
  return seen;
}

double squared_error(const double* a, const double* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

void expect_close(double found, double expected, int terms) {
  CHECK(std::fabs(found - expected) <=
        8 * std::numeric_limits<double>::epsilon() * std::sqrt(terms) * std::fabs(expected));
}

}  // namespace

TEST_CASE("step: gradients of the published kind of model: post-norm, CLS, squared error, two masks") {
  expect_gradients<StepLayer<published, Published>>({.quadratic = 0});
}

TEST_CASE("step: gradients with pre-norm, dropouts, smooth L1, reconstruction, three masks, the student's front end") {
  expect_gradients<StepLayer<everything, Everything>>({.quadratic = 0});
}

TEST_CASE("step: gradients with a decoder that sees visible tokens only") {
  expect_gradients<StepLayer<bare, Bare>>({.quadratic = 0});
}

TEST_CASE("step: the loss terms are sums of squares at hidden positions and at the CLS token") {
  using Layer = StepLayer<published, Published>;
  constexpr int D = 4, T_ = 9, R = 6, V = 3, S = 1 + V, N = Layer::N, masks = 2;
  const Seen seen = look<Layer>();
  const auto& targets = seen.values.at("targets");        // (B, T, D): one teacher pass for all masks of a sample
  const auto& prediction = seen.values.at("prediction");  // (N, R, D)
  const auto& encoder = seen.values.at("encoder");        // (N, S, D)
  CHECK(targets.size() == B * T_ * D);
  CHECK(prediction.size() == N * R * D);
  const auto index = Layer::indices();
  double regression = 0, cls = 0;
  for (int n = 0; n < N; ++n) {
    for (int r = 0; r < R; ++r)
      regression += squared_error(&prediction[static_cast<std::size_t>((n * R + r) * D)],
                                  &targets[static_cast<std::size_t>((n / masks * T_ + index.masked[n][r]) * D)], D);
    double mean[D] = {};
    for (int t = 0; t < T_; ++t)
      for (int c = 0; c < D; ++c) mean[c] += targets[static_cast<std::size_t>((n / masks * T_ + t) * D + c)] / T_;
    cls += squared_error(&encoder[static_cast<std::size_t>(n * S * D)], mean, D);
  }
  const double scale = 1 / std::sqrt(D);
  expect_close(seen.sums.regression, weights.d2v_loss * scale * regression, N * R * D);
  expect_close(seen.sums.cls, weights.cls_loss * scale * cls, N * D * T_);
  CHECK(seen.sums.recon == 0);
  CHECK(seen.sums.sample_size == N * R);
  CHECK(seen.sums.total() == seen.sums.regression + seen.sums.cls * seen.sums.sample_size);
  CHECK(Layer::teacher() == seen.teacher_before);
}

TEST_CASE("step: masks of one sample differ, hide what they must, and the moments are those of hidden positions") {
  using Layer = StepLayer<published, Published>;
  constexpr int D = 4, R = 6, N = Layer::N;
  const Seen seen = look<Layer>();
  const auto index = Layer::indices();
  bool differ = false;
  for (int n = 0; n < N; ++n) {
    std::vector<bool> hidden(9);
    for (int r = 0; r < R; ++r) hidden[static_cast<std::size_t>(index.masked[n][r])] = true;
    for (int v = 0; v < 3; ++v) CHECK_FALSE(hidden[static_cast<std::size_t>(index.visible[n][v])]);
    for (int r = 0; n % 2 == 1 && r < R; ++r) differ = differ || index.masked[n][r] != index.masked[n - 1][r];
  }
  CHECK(differ);
  for (int c = 0; c < D; ++c) {
    double sum = 0, squares = 0;
    for (int i = 0; i < N * R; ++i) {
      const double v = seen.values.at("prediction")[static_cast<std::size_t>(i * D + c)];
      sum += v;
      squares += v * v;
    }
    CHECK(seen.moments[static_cast<std::size_t>(c)] == doctest::Approx(sum).epsilon(1e-13));
    CHECK(seen.moments[static_cast<std::size_t>(D + c)] == doctest::Approx(squares).epsilon(1e-13));
  }
}

TEST_CASE("step: smooth L1 and reconstruction from their formulas") {
  using Layer = StepLayer<everything, Everything>;
  constexpr int D = 4, T_ = 9, R = 6, N = Layer::N, masks = 3;
  const auto smooth = [](double u) {
    const double beta = everything.loss_beta;
    return std::fabs(u) < beta ? u * u / (2 * beta) : std::fabs(u) - beta / 2;
  };
  const Seen seen = look<Layer>();
  const auto& targets = seen.values.at("targets");
  const auto& prediction = seen.values.at("prediction");
  const auto p = bind<Layer::Parameters<const double>>(seen.parameters.data()).recon_proj.linear;
  const auto index = Layer::indices();
  double regression = 0, recon = 0;
  for (int n = 0; n < N; ++n)
    for (int r = 0; r < R; ++r) {
      const int t = index.masked[n][r], sample = n / masks;
      const double* y = &prediction[static_cast<std::size_t>((n * R + r) * D)];
      double patch[D], mean = 0, squares = 0;  // one channel: pixels row by row
      for (int i = 0; i < D; ++i) {
        patch[i] = seen.x[static_cast<std::size_t>(sample * 36 + (t / 3 * 2 + i / 2) * 6 + t % 3 * 2 + i % 2)];
        mean += patch[i] / D;
      }
      for (const double v : patch) squares += (v - mean) * (v - mean);
      for (int c = 0; c < D; ++c) {
        regression += smooth(y[c] - targets[static_cast<std::size_t>((sample * T_ + t) * D + c)]);
        double pixel = p.bias[c];
        for (int k = 0; k < D; ++k) pixel += p.weight[c][k] * y[k];
        recon += smooth(pixel - (patch[c] - mean) / std::sqrt(squares / (D - 1) + 1e-6));
      }
    }
  expect_close(seen.sums.regression, weights.d2v_loss * everything.loss_scale * regression, N * R * D);
  expect_close(seen.sums.recon, weights.recon_loss * everything.loss_scale * recon, N * R * D * D);
}

TEST_CASE("step: local_grad_mult scales what reaches the local encoder, zero stops it") {
  const auto local_gradient = []<int percent>() {
    constexpr ModalityConfig m{.ema_local_encoder = true, .local_grad_mult = percent / 100.0};
    using Br = Branch<Vision<images(m)>, Bare::Masking,
                      Conv2dDecoder<DecoderConfig{.decoder_dim = 4, .decoder_groups = 1, .decoder_kernel = 3,
                                                  .decoder_layers = 1, .input_dropout = 0}>>;
    return look<StepLayer<bare, Br>>().gradient;
  };
  const auto whole = local_gradient.template operator()<100>(), half = local_gradient.template operator()<50>();
  const auto none = local_gradient.template operator()<0>();
  CHECK(whole.size() == 4 * 4 + 4);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CHECK(whole[i] != 0);
    CHECK(half[i] == whole[i] / 2);
    CHECK(none[i] == 0);
  }
}
