// SPDX-License-Identifier: MIT
// The exact rule of padding in training: shorter texts train as in a type of their own length, whatever stands behind.
#include <data2vec/training/trainer.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <tests/training/support.hpp>

using namespace training_support;

namespace {

inline constexpr Config config{.embed_dim = 16, .depth = 2, .num_heads = 2, .average_top_k_layers = 2,
                               .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2,
                               .cls_loss = 0.02};
inline constexpr Config without_cls = [] {
  Config c = config;
  c.cls_loss = 0;
  return c;
}();
inline constexpr DecoderConfig decoder{.decoder_dim = 8, .decoder_groups = 2, .decoder_kernel = 5, .decoder_layers = 2,
                                       .input_dropout = 0, .projection_layers = 2};
inline constexpr MaskConfig masks{.mask_prob = 0.5};

template <Config C, int tokens, Padding padding>
struct OfLength
    : Data2Vec2<C, Branch<Text<TextConfig{.vocab_size = 13, .tokens = tokens, .max_source_positions = 8,
                                          .modality = {.prenet_depth = 1, .num_extra_tokens = 1, .padding = padding}}>,
                          RandomMask<tokens, masks>, Conv1dDecoder<decoder>>> {};
using Long = OfLength<config, 8, Padding::exact>;
using Short = OfLength<config, 5, Padding::none>;

constexpr std::size_t n = 16;

/// Texts of five words in rows of `tokens`, with `behind(i)` behind them.
template <class F>
std::vector<std::int32_t> rows_of(std::size_t tokens, F&& behind) {
  std::vector<std::int32_t> values(n * tokens);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < tokens; ++k)
      values[i * tokens + k] = k < 5 ? static_cast<std::int32_t>(2 + (3 * i + 5 * k) % 11) : behind(i + k);
  return values;
}
std::int32_t pad(std::size_t) { return 1; }
std::int32_t anything(std::size_t i) { return static_cast<std::int32_t>(i * 7 % 13); }

std::vector<std::uint32_t> ids() {
  std::vector<std::uint32_t> all(n);
  for (std::size_t i = 0; i < n; ++i) all[i] = static_cast<std::uint32_t>(100 + i);
  return all;
}

}  // namespace

TEST_CASE("padding: a batch of shorter texts trains as in the type of their length") {
  Trainer<Long, Cpu> padded(fast_options<Long>());
  Trainer<Short, Cpu> full(fast_options<Short>());
  const auto names = ids();
  const auto a = rows_of(8, pad), b = rows_of(5, pad);
  std::copy(full.weights().begin(), full.weights().end(), padded.weights().begin());  // the same tensors in both
  std::copy(full.teacher().begin(), full.teacher().end(), padded.state().teacher);
  static_assert(Trainer<Long, Cpu>::size == Trainer<Short, Cpu>::size);
  const StepReport p = padded.step({a, names}), f = full.step({b, names});
  CHECK(p.sample_size == f.sample_size);
  CHECK(p.sample_size == n * 2 * 3);  // 5 - int(5 * 0.5) hidden, two masks
  const double bound = 1e-5;          // float sums of some thousand terms in another order
  for (const auto field : {&StepReport::loss, &StepReport::regression, &StepReport::cls, &StepReport::pred_var,
                           &StepReport::target_var, &StepReport::gradient_norm})
    CHECK(p.*field == doctest::Approx(f.*field).epsilon(bound));
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < padded.gradient().size(); ++i) {
    const double x = static_cast<double>(padded.gradient()[i]), y = static_cast<double>(full.gradient()[i]);
    most = std::max(most, std::fabs(x - y));
    largest = std::max(largest, std::fabs(y));
  }
  CHECK(largest > 1e-3);
  CHECK(most <= bound * largest);
}

TEST_CASE("padding: what stands behind a text changes no bit") {
  const auto names = ids();
  const std::vector<int> lengths(n, 5);
  const auto a = rows_of(8, pad), b = rows_of(8, anything);
  Trainer<Long, Cpu> clean(fast_options<Long>()), told(fast_options<Long>()), dirty(fast_options<Long>());
  for (int i = 0; i < 2; ++i) {
    const StepReport r = clean.step({a, names});
    CHECK(told.step({a, names, {}, lengths}).loss == r.loss);
    CHECK(dirty.step({b, names, {}, lengths}).loss == r.loss);
  }
  CHECK(same_bits(clean.weights(), told.weights()));
  // Positions of unseen tokens read other rows of the tables, which get no gradient: not a bit of the weights differs.
  CHECK(same_bits(clean.weights(), dirty.weights()));
}

TEST_CASE("padding: micro-batches of other lengths are one batch") {
  using Model = OfLength<without_cls, 8, Padding::exact>;
  constexpr std::size_t unit = Trainer<Model, Cpu>::unit_samples;
  std::vector<std::int32_t> values(2 * unit * 8, 4);
  std::vector<std::uint32_t> names(2 * unit);
  std::vector<int> lengths(2 * unit);
  for (std::size_t i = 0; i < 2 * unit; ++i) {
    names[i] = static_cast<std::uint32_t>(i);
    lengths[i] = i < unit ? 8 : 3;
    for (std::size_t k = 0; k < 8; ++k) values[8 * i + k] = static_cast<std::int32_t>(2 + (i + k * k) % 11);
  }
  TrainerOptions options = fast_options<Model>();
  Trainer<Model, Cpu> whole(options);
  options.accumulation = 2;
  Trainer<Model, Cpu> parts(options);
  const StepReport a = whole.step({values, names, {}, lengths});
  const auto half = [&](std::size_t from) {
    return parts.step({std::span<const std::int32_t>(values).subspan(8 * from, 8 * unit),
                       std::span<const std::uint32_t>(names).subspan(from, unit), {},
                       std::span<const int>(lengths).subspan(from, unit)});
  };
  half(0);
  const StepReport b = half(unit);
  CHECK(b.updated);
  CHECK(a.sample_size == b.sample_size);
  CHECK(a.loss == doctest::Approx(b.loss).epsilon(1e-6));
  CHECK(a.gradient_norm == doctest::Approx(b.gradient_norm).epsilon(1e-5));
  double most = 0;
  for (std::size_t i = 0; i < whole.weights().size(); ++i)
    most = std::max(most, std::fabs(static_cast<double>(whole.weights()[i]) - static_cast<double>(parts.weights()[i])));
  CHECK(most <= 2e-3 * 0.1);  // of a step of 2e-3: only tiny gradients, whose rounding Adam blows up, may differ
  TrainerOptions refused = fast_options<Long>();
  refused.accumulation = 2;
  CHECK_THROWS_AS((Trainer<Long, Cpu>(refused)), OptionError);
}
