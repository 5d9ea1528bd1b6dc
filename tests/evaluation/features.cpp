// SPDX-License-Identifier: MIT
// Features by layer against the encoder itself, and against blocks run one by one.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/features.hpp>

using namespace data2vec;

namespace {

constexpr ModalityConfig modality{.prenet_depth = 1, .num_extra_tokens = 2};
constexpr Config post_norm{.embed_dim = 16, .depth = 3, .num_heads = 2, .average_top_k_layers = 2, .clone_batch = 2};
constexpr Config pre_norm = [] {
  Config c = post_norm;
  c.layer_norm_first = true;
  c.encoder_dropout = c.layerdrop = 0.5;  // features are evaluation: no trace of it
  return c;
}();
using Images = Vision<VisionConfig{.input_size = 8, .patch_size = 2, .in_chans = 1, .modality = modality}>;
using Br =
    Branch<Images, RandomMask<16, MaskConfig{.mask_prob = 0.5}>, LinearDecoder<DecoderConfig{.input_dropout = 0}>>;
struct PostNorm : Data2Vec2<post_norm, Br> {};
struct PreNorm : Data2Vec2<pre_norm, Br> {};

constexpr int B = 3, depth = 3;

template <class Model>
struct Setting {
  using F = Features<Model, B>;
  using Enc = typename Model::First::Enc;
  using Parameters = typename Model::template Parameters<const double>;
  Buffer<double> weights{buffer_size<Parameters>}, memory{buffer_size<typename F::template Workspace<double>>};
  Buffer<int> indices{buffer_size<typename F::Index>};
  std::vector<double> samples = std::vector<double>(B * 64);
  Cpu device;

  Setting() {
    Model::initialise(weights.data(), 3);
    for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = std::sin(0.7 * static_cast<double>(i));
  }
  Parameters parameters() const { return bind<Parameters>(weights.data()); }
  View<const double, B, 64> input() const { return {samples.data()}; }
  auto workspace() { return bind<typename F::template Workspace<double>>(memory.data()); }
  auto index() { return bind<typename F::Index>(indices.data()); }

  std::vector<double> layer(int i) {
    const auto y = features<Model, B>(device, parameters(), input(), workspace(), index(), i);
    static_assert(decltype(y)::shape == std::array{B, 2 + 16, 16});
    return {y.data, y.data + y.size};
  }
  /// Prenet's output, then every block's, then the encoder's, from the encoder itself.
  std::vector<std::vector<double>> expected() {
    std::vector<std::vector<double>> layers(1);
    const auto w = workspace();
    const auto weight = Model::template weights<0>(parameters());
    Enc::Rows::index_all(index());
    Enc::Local::forward(device, weight.branch.front.local_encoder, input(), w.local, w.local_tape);
    const auto out = Enc::forward(Pass{device}, Pass{device}, weight.branch.front, weight.blocks, weight.norm,
                                  View<const double, B, 16, 16>(w.local), index(), w.encoder,
                                  [&](int i, const auto&, const auto& y) {
                                    CHECK(i + 1 == static_cast<int>(layers.size()));
                                    layers.emplace_back(y.data, y.data + y.size);
                                  });
    layers[0].assign(out.prenet.data, out.prenet.data + out.prenet.size);
    layers.emplace_back(out.encoder.data, out.encoder.data + out.encoder.size);
    return layers;
  }
};

}  // namespace

TEST_CASE_TEMPLATE("layer 0 is the prenet's output, i the output of shared block i, depth the encoder's", Model,
                   PostNorm, PreNorm) {
  Setting<Model> s;
  const auto expected = s.expected();  // prenet, blocks 1 .. depth, output
  REQUIRE(expected.size() == depth + 2);
  for (int i = 0; i < depth; ++i) CHECK(s.layer(i) == expected[static_cast<std::size_t>(i)]);
  CHECK(s.layer(depth) == expected.back());
  for (std::size_t i = 0; i < depth; ++i) CHECK(expected[i] != expected[i + 1]);
  // Post-norm: the last block is the output. Pre-norm: a norm is behind it.
  CHECK((expected[depth] == expected.back()) == !Model::config.layer_norm_first);
}

TEST_CASE("the default is the encoder's output") {
  Setting<PostNorm> s;
  const auto y = features<PostNorm, B>(s.device, s.parameters(), s.input(), s.workspace(), s.index());
  CHECK(std::vector<double>(y.data, y.data + y.size) == s.layer(depth));
}

TEST_CASE("shared blocks: each layer's features are the block before applied to them") {
  Setting<PostNorm> s;
  using Blocks = PostNorm::First::Enc::Blocks;
  using Block = Blocks::BlockType;
  using Tape = Block::Tape<double, B, 18>;
  using Scratch = Block::Scratch<double, B, 18>;
  Buffer<double> tape(buffer_size<Tape>), scratch(buffer_size<Scratch>);
  for (int i = 0; i < depth; ++i) {
    const std::vector<double> x = s.layer(i), y = s.layer(i + 1);
    std::vector<double> found(y.size());
    Block::forward(Pass{s.device}, s.parameters().blocks[static_cast<std::size_t>(i)], i, 0,
                   View<const double, B, 18, 16>{x.data()}, View<double, B, 18, 16>{found.data()},
                   bind<Tape>(tape.data()), bind<Scratch>(scratch.data()), AttentionExtras<double>{});
    CHECK(found == y);
  }
}

TEST_CASE("pooling leaves extra tokens out") {
  Setting<PostNorm> s;
  const auto y = features<PostNorm, B>(s.device, s.parameters(), s.input(), s.workspace(), s.index());
  double pooled[B * 16];
  Features<PostNorm, B>::mean_pool(s.device, y, pooled);
  for (int b = 0; b < B; ++b)
    for (int c = 0; c < 16; ++c) {
      double sum = 0;
      for (int t = 2; t < 18; ++t) sum += y[b][t][c];
      CHECK(pooled[b * 16 + c] == doctest::Approx(sum / 16).epsilon(1e-14));
    }
}

TEST_CASE("pooling by parts: every token counts in the part of the grid that it lies in") {
  Setting<PostNorm> s;
  const auto y = features<PostNorm, B>(s.device, s.parameters(), s.input(), s.workspace(), s.index());
  for (const Grid parts : {Grid{2, 2}, Grid{3, 3}, Grid{1, 4}, Grid{5, 1}}) {  // of 4 x 4 tokens
    std::vector<double> pooled(static_cast<std::size_t>(B * parts.size() * 16), -1);
    Features<PostNorm, B>::pool(s.device, y, parts, pooled.data());
    for (int b = 0; b < B; ++b)
      for (int part = 0; part < parts.size(); ++part)
        for (int c = 0; c < 16; ++c) {
          double sum = 0;
          int count = 0;
          for (int t = 0; t < 16; ++t) {
            if (t / 4 * parts.height / 4 * parts.width + t % 4 * parts.width / 4 != part) continue;
            sum += y[b][2 + t][c];
            ++count;
          }
          const double expected = count > 0 ? sum / count : 0;  // five rows of parts over four of tokens: one is empty
          CHECK(pooled[static_cast<std::size_t>((b * parts.size() + part) * 16 + c)] ==
                doctest::Approx(expected).epsilon(1e-13));
        }
  }
}

TEST_CASE("weights and samples are read only, and a call leaves nothing behind for the next") {
  Setting<PostNorm> s;
  const std::vector<double> weights(s.weights.begin(), s.weights.end()), samples = s.samples;
  const auto first = s.layer(1);
  std::fill(s.memory.begin(), s.memory.end(), std::numeric_limits<double>::quiet_NaN());
  std::fill(s.indices.begin(), s.indices.end(), -1);
  CHECK(s.layer(1) == first);
  CHECK(std::equal(weights.begin(), weights.end(), s.weights.begin()));
  CHECK(samples == s.samples);
}

TEST_CASE("one block of weights serves many threads, each with a workspace of its own") {
  Setting<PostNorm> s;
  const auto expected = s.layer(depth);
  constexpr std::size_t threads = 4;
  std::vector<int> wrong(threads);
  std::vector<std::thread> team;
  for (std::size_t i = 0; i < threads; ++i)
    team.emplace_back([&, i] {
      using F = Features<PostNorm, B>;
      Buffer<double> memory(buffer_size<F::Workspace<double>>);
      Buffer<int> indices(buffer_size<F::Index>);
      Cpu device;
      for (int repeat = 0; repeat < 20; ++repeat) {
        const auto y = features<PostNorm, B>(device, s.parameters(), s.input(),
                                             bind<F::Workspace<double>>(memory.data()), bind<F::Index>(indices.data()));
        wrong[i] += !std::equal(expected.begin(), expected.end(), y.data);
      }
    });
  for (auto& thread : team) thread.join();
  CHECK(wrong == std::vector<int>(threads));
}

TEST_CASE("a layer that the model does not have is refused with its number") {
  Setting<PostNorm> s;
  for (const int layer : {-1, depth + 1}) {
    std::string text;
    try {
      s.layer(layer);
    } catch (const OptionError& error) {
      text = error.what();
    }
    CHECK(text == "features: expected a layer between 0 and 3, found " + std::to_string(layer));
  }
}
