// SPDX-License-Identifier: MIT
// How parameters start: distributions, zero rows, mae_init, and what the draws depend on. Bounds are five standard
// deviations of each statistic.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <data2vec/data2vec.hpp>

using namespace data2vec;

namespace {

template <class T>
struct Net {
  View<T, 100, 200> normal, uniform, truncated, constant, zeros, fixed;
  View<T, 3, 5000> rows;
  typename Linear<300, 50>::template Parameters<T> bert;
  typename Linear<300, 50, LinearInit::fan_in>::template Parameters<T> fan_in;
  typename Linear<300, 50, LinearInit::truncated_normal>::template Parameters<T> head;
  View<T, 7> odd;
  static constexpr void visit(auto&& f, auto&... p) {
    f(Field{"normal", init::normal(0.5)}, p.normal...);
    f(Field{"uniform", init::uniform(0.25)}, p.uniform...);
    f(Field{"truncated", init::truncated_normal(1.5)}, p.truncated...);
    f(Field{"constant", init::constant(3)}, p.constant...);
    f(Field{"zeros", init::zeros()}, p.zeros...);
    f(Field{"fixed", init::fixed(), false}, p.fixed...);
    f(Field{"rows", init::normal(1, 1)}, p.rows...);
    f("bert", p.bert...);
    f("fan_in", p.fan_in...);
    f("head", p.head...);
    f(Field{"odd", init::normal(1)}, p.odd...);
  }
};
using P = Net<float>;

struct Start {
  std::vector<float> buffer = std::vector<float>(buffer_size<P>, 77.0f);
  explicit Start(std::uint64_t seed = 1, bool mae_init = false) {
    initialise_tensors<P>(buffer.data(), seed, mae_init);
  }
  std::vector<float> operator[](std::string_view name) const {
    for (const TensorInfo& info : tensor_table<P>)
      if (info.name.view() == name) return {&buffer[info.offset], &buffer[info.offset] + info.size};
    return {};
  }
};

/// Mean 0, the given deviation, and no value beyond `bound`; `kurtosis` (fourth moment over squared variance) is that
/// of the distribution: it tells a normal (3) from a uniform (1.8), and says how much the deviation spreads.
void check_distribution(const std::vector<float>& x, double deviation, double kurtosis, double bound) {
  const double n = static_cast<double>(x.size());
  double sum = 0, squares = 0, fourth = 0, largest = 0;
  for (const float v : x) {
    const double d = static_cast<double>(v) / deviation;
    sum += d;
    squares += d * d;
    fourth += d * d * d * d;
    largest = std::max(largest, std::fabs(d));
  }
  CHECK(std::fabs(sum / n) < 5 / std::sqrt(n));
  CHECK(std::fabs(squares / n - 1) < 5 * std::sqrt((kurtosis - 1) / n));
  // The fourth moment's own deviation: E[z^8] - E[z^4]^2 is 96 for a normal and far less for the others.
  CHECK(std::fabs(fourth / n - kurtosis) < 5 * std::sqrt(96 / n));
  CHECK(largest * deviation <= bound);
}
constexpr double no_bound = 1e30;
double uniform_deviation(double bound) { return bound / std::sqrt(3.0); }

constexpr Config config{.embed_dim = 16, .depth = 1, .num_heads = 2, .average_top_k_layers = 1};

bool all(const std::vector<float>& x, float value) {
  return !x.empty() && std::all_of(x.begin(), x.end(), [&](float v) { return v == value; });
}

}  // namespace

TEST_CASE("distributions") {
  const Start start;
  check_distribution(start["normal"], 0.5, 3, no_bound);
  check_distribution(start["uniform"], uniform_deviation(0.25), 1.8, 0.25);
  CHECK(all(start["constant"], 3));
  CHECK(all(start["zeros"], 0));
  CHECK(all(start["fixed"], 0));  // the model fills it
}

TEST_CASE("a truncated normal ends at two units") {
  // With a = 2 / s, p = phi(a) / (2 Phi(a) - 1), by parts: variance s^2 (1 - 2 a p), fourth moment
  // s^4 (3 - (2 a^3 + 6 a) p).
  const double s = 1.5, a = 2 / s, phi = std::exp(-a * a / 2) / std::sqrt(2 * 3.14159265358979323846);
  const double inside = std::erf(a / std::sqrt(2.0)), variance = 1 - 2 * a * phi / inside;
  const double fourth = 3 - (2 * a * a * a + 6 * a) * phi / inside;
  check_distribution(Start()["truncated"], s * std::sqrt(variance), fourth / (variance * variance), 2);
}

TEST_CASE("a zero row is zero, the others are not") {
  const std::vector<float> rows = Start()["rows"];
  CHECK(all({rows.begin() + 5000, rows.begin() + 10000}, 0));
  check_distribution({rows.begin(), rows.begin() + 5000}, 1, 3, no_bound);
  check_distribution({rows.begin() + 10000, rows.end()}, 1, 3, no_bound);
}

TEST_CASE("linear layers: BERT, fan-in, head") {
  const Start start;
  check_distribution(start["bert.weight"], 0.02, 3, no_bound);
  CHECK(all(start["bert.bias"], 0));
  const double bound = 1 / std::sqrt(300.0);
  check_distribution(start["fan_in.weight"], uniform_deviation(bound), 1.8, bound * (1 + 1e-7));
  const std::vector<float> bias = start["fan_in.bias"];
  CHECK(!all(bias, 0));
  for (const float b : bias) CHECK(std::fabs(static_cast<double>(b)) <= bound * (1 + 1e-7));
  check_distribution(start["head.weight"], 0.02, 3, no_bound);
  CHECK(all(start["head.bias"], 0));
}

TEST_CASE("mae_init: all linear layers Xavier-uniform with biases of zero, nothing else changes") {
  const Start start(1, true), plain(1, false);
  const double bound = std::sqrt(6.0 / (300 + 50));
  for (const std::string name : {"bert", "fan_in", "head"}) {
    INFO(name);
    check_distribution(start[name + ".weight"], uniform_deviation(bound), 1.8, bound * (1 + 1e-7));
    CHECK(all(start[name + ".bias"], 0));
  }
  for (const char* name : {"normal", "uniform", "truncated", "constant", "rows", "odd"})
    CHECK(start[name] == plain[name]);
}

TEST_CASE("the start is a function of the seed, each tensor has its own draws, gaps are zero") {
  const Start a(5), b(5), c(6);
  CHECK(a.buffer == b.buffer);
  for (const char* name : {"normal", "uniform", "truncated", "rows", "bert.weight", "fan_in.bias", "odd"})
    CHECK(a[name] != c[name]);
  // Two normal tensors of different scale would be proportional if they shared their draws.
  const std::vector<float> x = a["normal"], y = a["bert.weight"];
  double product = 0;
  for (std::size_t i = 0; i < y.size(); ++i)
    product += static_cast<double>(x[i]) / 0.5 * static_cast<double>(y[i]) / 0.02;
  CHECK(std::fabs(product) < 5 * std::sqrt(static_cast<double>(y.size())));
  std::size_t end = 0;
  for (const TensorInfo& info : tensor_table<P>) {
    for (; end < info.offset; ++end) CHECK(a.buffer[end] == 0);
    end = info.offset + info.size;
  }
  for (; end < a.buffer.size(); ++end) CHECK(a.buffer[end] == 0);
}

TEST_CASE("a model's start: tables are filled, extra tokens as configured, double and float alike") {
  using Images = Vision<VisionConfig{.input_size = 8,
                                     .patch_size = 2,
                                     .in_chans = 1,
                                     .modality = {.num_extra_tokens = 2, .init_extra_token_zero = true}}>;
  struct Model : Data2Vec2<config, Branch<Images, RandomMask<16, MaskConfig{.mask_prob = 0.5}>,
                                          LinearDecoder<DecoderConfig{.input_dropout = 0}>>> {};
  Buffer<float> buffer(buffer_size<Model::Parameters<float>>);
  Buffer<double> wide(buffer_size<Model::Parameters<double>>);
  Model::initialise(buffer.data(), 2);
  Model::initialise(wide.data(), 2);
  const auto p = bind<Model::Parameters<float>>(buffer.data());
  const auto& front = std::get<0>(p.modality_encoders.branch).front;
  std::vector<float> positions(16 * 16);
  sincos_positions(Images::grid, 16, positions.data());
  CHECK(std::equal(positions.begin(), positions.end(), front.fixed_positional_encoder.positions.data));
  const auto tokens = front.extra_tokens.tokens[0];
  for (int i = 0; i < 16; ++i) {
    CHECK(tokens[0][i] == 0);
    CHECK(tokens[1][i] != 0);
  }
  CHECK(p.blocks[0].norm1.weight[3] == 1);
  CHECK(p.blocks[0].norm1.bias[3] == 0);
  for (const TensorInfo& info : tensor_table<Model::Parameters<float>>) {
    if (!info.trained) continue;
    INFO(std::string(info.name.view()));
    bool same = true;
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
      same = same && wide[i] == static_cast<double>(buffer[i]);
    CHECK(same);
  }
}
