// SPDX-License-Identifier: MIT
// Speech: gradients of extractor and projection, values by the definition, names, lengths, and what padding may not
// change.
#include <data2vec/modality/speech.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr SpeechConfig waveforms(ExtractorMode mode, int size = 34, double local_grad_mult = 1,
                                 Padding padding = Padding::none) {
  return {.input_size = size,
          .feature_encoder_spec = {{3, 5, 3}, {4, 3, 2}, {3, 2, 1}},
          .extractor_mode = mode,
          .conv_pos_width = 6,
          .conv_pos_groups = 1,
          .conv_pos_depth = 2,
          .modality = {.local_grad_mult = local_grad_mult, .padding = padding}};
}
constexpr SpeechConfig normed = waveforms(ExtractorMode::layer_norm), grouped = waveforms(ExtractorMode::default_),
                       one_layer = [] {
                         SpeechConfig c = normed;
                         c.feature_encoder_spec = {{4, 4, 3}};
                         return c;
                       }();
/// As in wav2vec 2.0: biases, no projection where the width is the model's (4), one weight-normalised convolution.
constexpr SpeechConfig wav2vec(SpeechConfig c) {
  c.conv_bias = true;
  c.project_equal_width = false;
  c.conv_pos_weight_norm = true;
  c.conv_pos_depth = 1;
  return c;
}
constexpr int D = 4;

template <SpeechConfig C, int B>
struct Extractor {
  using Local = typename Speech<C>::template LocalEncoder<D>;
  static constexpr int T_ = Speech<C>::tokens, size = Speech<C>::sample_size;
  static constexpr int input_size = B * size, output_size = B * T_ * D;
  static constexpr bool has_input_gradient = false;
  template <class T>
  using Parameters = typename Local::template Parameters<T>;
  template <class T>
  using Tape = typename Local::template Tape<T, B>;

  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y, const Tape<double>& tape) {
    Local::forward(d, p, View<const double, B, size>{x}, View<double, B, T_, D>{y}, tape);
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    Local::backward(d, p, View<const double, B, size>{x}, View<const double, B, T_, D>{dy}, gradient, tape);
  }
};

/// Tokens, normed frames, and 0.15 times the squares of the frames: what losses on features read.
template <SpeechConfig C, int B>
struct Features {
  using Tokens = Extractor<C, B>;
  using Local = typename Tokens::Local;
  static constexpr int normed_size = B * Tokens::T_ * Local::width;
  static constexpr int input_size = Tokens::input_size, output_size = Tokens::output_size + normed_size + 1;
  static constexpr bool has_input_gradient = false;
  template <class T>
  using Parameters = typename Tokens::template Parameters<T>;
  template <class T>
  using Tape = typename Tokens::template Tape<T>;

  static const double* frames(const Tape<double>& tape) {
    return std::get<Local::layers - 1>(tape.layer.item).activated.data;
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y, const Tape<double>& tape) {
    Tokens::forward(d, p, x, y, tape);
    device::copy(d, normed_size, tape.normed.data, y + Tokens::output_size);
    double squares = 0;
    for (int i = 0; i < normed_size; ++i) squares += frames(tape)[i] * frames(tape)[i];
    y[output_size - 1] = 0.15 * squares;
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double*,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    Local::backward(d, p, View<const double, B, Tokens::size>{x}, View<const double, B, Tokens::T_, D>{dy}, gradient,
                    tape, nullptr, {.normed = dy + Tokens::output_size, .penalty = 0.3 * dy[output_size - 1]});
  }
};

std::vector<double> normal_numbers(std::size_t n, std::uint64_t seed) {
  Rng rng({.seed = seed});
  std::vector<double> v(n);
  for (double& x : v) x = static_cast<double>(rng.normal());
  return v;
}

template <class P>
std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const TensorInfo& info : tensor_table<P>) all.emplace_back(info.name.view());
  return all;
}

/// A tensor of the extractor by name.
template <SpeechConfig C>
const double* tensor(const std::vector<double>& weights, const std::string& name) {
  for (const TensorInfo& info : tensor_table<typename Extractor<C, 1>::template Parameters<double>>)
    if (info.name.view() == name) return weights.data() + info.offset;
  FAIL("no tensor " << name);
  return nullptr;
}

void normalise(std::vector<double>& x, std::size_t first, std::size_t count, std::size_t step, const double* scale,
               const double* shift, std::size_t parameter_step) {
  double mean = 0, variance = 0;
  const auto n = static_cast<double>(count);
  for (std::size_t i = 0; i < count; ++i) mean += x[first + i * step] / n;
  for (std::size_t i = 0; i < count; ++i) variance += std::pow(x[first + i * step] - mean, 2) / n;
  for (std::size_t i = 0; i < count; ++i) {
    double& v = x[first + i * step];
    v = (v - mean) / std::sqrt(variance + 1e-5) * scale[i * parameter_step] + shift[i * parameter_step];
  }
}

/// Tokens (T, D) of one waveform, by the definition.
template <SpeechConfig C>
std::vector<double> by_definition(const std::vector<double>& weights, std::vector<double> x) {
  std::size_t in = 1, frames = x.size();
  for (int i = 0; i < C.feature_encoder_spec.size; ++i) {
    const ConvLayer& layer = C.feature_encoder_spec[i];
    const auto out = static_cast<std::size_t>(layer.channels), kernel = static_cast<std::size_t>(layer.kernel),
               stride = static_cast<std::size_t>(layer.stride), count = (frames - kernel) / stride + 1;
    const std::string name = "local_encoder.conv_layers." + std::to_string(i) + ".";
    const double* const w = tensor<C>(weights, name + "0.weight");
    std::vector<double> y(count * out);
    for (std::size_t t = 0; t < count; ++t)
      for (std::size_t o = 0; o < out; ++o)
        for (std::size_t c = 0; c < in; ++c)
          for (std::size_t k = 0; k < kernel; ++k)
            y[t * out + o] += w[(o * in + c) * kernel + k] * x[(t * stride + k) * in + c];
    if (C.extractor_mode == ExtractorMode::layer_norm)
      for (std::size_t t = 0; t < count; ++t)
        normalise(y, t * out, out, 1, tensor<C>(weights, name + "2.1.weight"), tensor<C>(weights, name + "2.1.bias"), 1);
    else if (i == 0)
      for (std::size_t o = 0; o < out; ++o)
        normalise(y, o, count, out, tensor<C>(weights, name + "2.weight") + o, tensor<C>(weights, name + "2.bias") + o,
                  0);
    for (double& v : y) v = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
    x = y;
    in = out;
    frames = count;
  }
  const double *w = tensor<C>(weights, "project_features.2.weight"), *b = tensor<C>(weights, "project_features.2.bias");
  std::vector<double> tokens(frames * D);
  for (std::size_t t = 0; t < frames; ++t) {
    normalise(x, t * in, in, 1, tensor<C>(weights, "project_features.1.weight"),
              tensor<C>(weights, "project_features.1.bias"), 1);
    for (std::size_t o = 0; o < D; ++o) {
      tokens[t * D + o] = b[o];
      for (std::size_t c = 0; c < in; ++c) tokens[t * D + o] += w[o * in + c] * x[t * in + c];
    }
  }
  return tokens;
}

template <SpeechConfig C>
void check_values() {
  using L = Extractor<C, 2>;
  const auto weights = normal_numbers(buffer_size<typename L::template Parameters<double>>, 3);
  const auto x = normal_numbers(L::input_size, 4);
  std::vector<double> y(L::output_size), tape(buffer_size<typename L::template Tape<double>>);
  Cpu d;
  L::forward(d, bind<typename L::template Parameters<const double>>(weights.data()), x.data(), y.data(),
             bind<typename L::template Tape<double>>(tape.data()));
  for (std::size_t b = 0; b < 2; ++b) {
    const auto expected = by_definition<C>(weights, {x.begin() + static_cast<std::ptrdiff_t>(b) * L::size,
                                                     x.begin() + static_cast<std::ptrdiff_t>(b + 1) * L::size});
    REQUIRE(expected.size() * 2 == y.size());
    // Four norms, each over as few as three channels whose deviation may be 0.1 of their size.
    const double bound = 8 * std::numeric_limits<double>::epsilon() * std::sqrt(12.0) * 1e4;
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK(std::fabs(y[b * expected.size() + i] - expected[i]) < bound);
  }
}

}  // namespace

static_assert(Modality<Speech<normed>> && Modality<Speech<grouped>> && Modality<Speech<SpeechConfig{}>>);
static_assert(Speech<SpeechConfig{}>::tokens == 999 && Speech<SpeechConfig{}>::grid == Grid{1, 999});
static_assert(Speech<SpeechConfig{}>::valid_tokens(16'000) == 49 && Speech<SpeechConfig{}>::valid_tokens(399) == 0);
static_assert(Speech<SpeechConfig{}>::valid_tokens(400) == 1);
static_assert(normed.feature_encoder_spec.frames(34, 1) == 10 && normed.feature_encoder_spec.frames(34) == 3);
static_assert(SpeechConfig{}.conv_pos_kernel() == 19 && wav2vec(normed).conv_pos_kernel() == 6);

TEST_CASE("speech: parameter gradients of extractor and projection") {
  expect_gradients<Extractor<normed, 2>>();
  expect_gradients<Extractor<grouped, 2>>();
  expect_gradients<Extractor<one_layer, 2>>();
}

TEST_CASE("speech: gradients with biases, without projection, and of losses on the features") {
  constexpr SpeechConfig narrow = [] {
    SpeechConfig c = wav2vec(normed);
    c.feature_encoder_spec = {{3, 5, 3}, {4, 3, 2}};
    return c;
  }();
  static_assert(tensor_count<Extractor<narrow, 1>::Parameters<float>> == 2 * 4 + 2);
  expect_gradients<Extractor<narrow, 2>>();
  expect_gradients<Extractor<wav2vec(grouped), 2>>();
  expect_gradients<Features<wav2vec(normed), 2>>();
  expect_gradients<Features<grouped, 2>>();
}

TEST_CASE("speech: tokens are convolutions, norms, GELU and projection as defined") {
  check_values<normed>();
  check_values<grouped>();
  check_values<one_layer>();
}

TEST_CASE("speech: names of the parameters") {
  using Normed = Extractor<one_layer, 1>::Parameters<float>;
  CHECK(names<Normed>() ==
        std::vector<std::string>{"local_encoder.conv_layers.0.0.weight", "local_encoder.conv_layers.0.2.1.weight",
                                 "local_encoder.conv_layers.0.2.1.bias", "project_features.1.weight",
                                 "project_features.1.bias", "project_features.2.weight", "project_features.2.bias"});
  using Grouped = Extractor<grouped, 1>::Parameters<float>;
  CHECK(names<Grouped>()[1] == "local_encoder.conv_layers.0.2.weight");
  CHECK(tensor_count<Grouped> == 3 + 2 + 4);
}

TEST_CASE("speech: local_grad_mult scales the extractor's gradient and not the projection's") {
  using Half = Extractor<waveforms(ExtractorMode::layer_norm, 34, 0.5), 2>;
  using None = Extractor<waveforms(ExtractorMode::layer_norm, 34, 0), 2>;
  using Full = Extractor<normed, 2>;
  using Parameters = Full::Parameters<double>;
  const auto weights = normal_numbers(buffer_size<Parameters>, 7), x = normal_numbers(Full::input_size, 8);
  const auto gradient = [&]<class L>(const L&) {
    std::vector<double> g(buffer_size<Parameters>), y(L::output_size), tape(buffer_size<typename L::template Tape<double>>);
    Cpu d;
    const auto p = bind<typename L::template Parameters<const double>>(weights.data());
    const auto t = bind<typename L::template Tape<double>>(tape.data());
    L::forward(d, p, x.data(), y.data(), t);
    std::vector<double> dy = normal_numbers(y.size(), 9);
    L::backward(d, p, x.data(), dy.data(), nullptr, bind<typename L::template Parameters<double>>(g.data()), t);
    return g;
  };
  const auto full = gradient(Full{}), half = gradient(Half{}), none = gradient(None{});
  for (const TensorInfo& info : tensor_table<Parameters>) {
    const bool extractor = info.name.view().starts_with("local_encoder.");
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i) {
      CHECK(half[i] == doctest::Approx(extractor ? full[i] / 2 : full[i]).epsilon(1e-12));
      CHECK(none[i] == (extractor ? 0 : full[i]));
    }
  }
}

TEST_CASE_TEMPLATE("speech: tokens of a padded waveform are those of its own length", Mode,
                   std::integral_constant<ExtractorMode, ExtractorMode::layer_norm>,
                   std::integral_constant<ExtractorMode, ExtractorMode::default_>) {
  using Long = Extractor<waveforms(Mode::value, 34, 1, Padding::exact), 1>;
  using Short = Extractor<waveforms(Mode::value, 27), 1>;
  static_assert(Long::T_ == 3 && Short::T_ == 2 && Speech<waveforms(Mode::value)>::valid_tokens(27) == 2);
  using Parameters = typename Long::template Parameters<double>;
  const auto weights = normal_numbers(buffer_size<Parameters>, 11);
  const auto x = normal_numbers(34, 12), dy = normal_numbers(Short::output_size, 13);
  const auto run = [&]<class L>(const L&, double behind, int length) {
    std::vector<double> samples = x, y(L::output_size), gradient(buffer_size<Parameters>), d_y(L::output_size);
    std::fill(samples.begin() + 27, samples.end(), behind);
    std::copy(dy.begin(), dy.end(), d_y.begin());
    std::vector<double> tape(buffer_size<typename L::template Tape<double>>);
    Cpu d;
    const auto p = bind<typename L::template Parameters<const double>>(weights.data());
    const auto t = bind<typename L::template Tape<double>>(tape.data());
    const View<const double, 1, L::size> input{samples.data()};
    L::Local::forward(d, p, input, View<double, 1, L::T_, D>{y.data()}, t, &length);
    L::Local::backward(d, p, input, View<const double, 1, L::T_, D>{d_y.data()},
                       bind<typename L::template Parameters<double>>(gradient.data()), t, &length);
    y.resize(dy.size());
    y.insert(y.end(), gradient.begin(), gradient.end());
    return y;
  };
  const auto zeros = run(Long{}, 0, 27), others = run(Long{}, 5, 27), full = run(Short{}, 0, 27);
  CHECK(zeros == others);
  double largest = 0;
  for (const double v : full) largest = std::max(largest, std::fabs(v));
  const double bound = 8 * std::numeric_limits<double>::epsilon() * std::sqrt(20.0) * largest * 100;
  for (std::size_t i = 0; i < full.size(); ++i) CHECK(std::fabs(zeros[i] - full[i]) < bound);
}
