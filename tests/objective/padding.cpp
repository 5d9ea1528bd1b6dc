// SPDX-License-Identifier: MIT
// The exact rule of padding for speech: a batch of recordings of several lengths is, sample by sample, what the types of
// those lengths make of them - losses, gradients of all parameters, statistics, features - and what stands in the
// padding does not matter. In double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/features.hpp>

using namespace data2vec;

namespace {

constexpr Config config{.embed_dim = 8, .depth = 2, .num_heads = 2, .mlp_ratio = 2, .norm_eps = 1e-5,
                        .average_top_k_layers = 2, .instance_norm_target_layer = true, .clone_batch = 2,
                        .cls_loss = 0.3};
constexpr DecoderConfig decoder{.decoder_dim = 8, .decoder_groups = 2, .decoder_kernel = 4, .decoder_layers = 2,
                                .input_dropout = 0, .projection_layers = 2};
constexpr MaskConfig masks{.mask_prob = 0.5, .mask_prob_adjust = 0.1, .mask_length = 3};
constexpr int whole = 97;

template <int size>
constexpr SpeechConfig waveforms{
    .input_size = size,
    .feature_encoder_spec = {{4, 5, 3}, {4, 3, 2}},
    .extractor_mode = ExtractorMode::default_,  // the one with a norm over time
    .conv_pos_width = 8,
    .conv_pos_groups = 2,
    .conv_pos_depth = 2,
    .conv_pos_pre_ln = true,
    .modality = {.prenet_depth = 1, .num_extra_tokens = 1, .ema_local_encoder = true, .use_alibi_encoder = true,
                 .learned_alibi_scale = true, .learned_alibi_scale_per_head = true,
                 .padding = size == whole ? Padding::exact : Padding::none}};
template <int size>
struct Model : Data2Vec2<config, Branch<Speech<waveforms<size>>, BlockMask1d<Speech<waveforms<size>>::tokens, masks>,
                                        Conv1dDecoder<decoder>>> {};
using Padded = Model<whole>;
constexpr std::size_t size = buffer_size<Padded::Parameters<double>>;
constexpr double sample_size = 37;

std::vector<double> normal_numbers(std::size_t n, std::uint64_t seed, double scale) {
  Rng rng({.seed = seed});
  std::vector<double> v(n);
  for (double& x : v) x = scale * static_cast<double>(rng.normal());
  return v;
}
const std::vector<double> student = normal_numbers(size, 1, 0.5), teacher = normal_numbers(size, 2, 0.5),
                          recordings = normal_numbers(3 * whole, 3, 1);
constexpr std::uint32_t ids[] = {11, 5, 70};

struct Result {
  LossSums sums;
  std::vector<double> gradient = std::vector<double>(size), moments, features;
};

/// A step and the features of the recordings from `first` on, in the type of `Model`.
template <class M, int B>
Result run(const std::vector<double>& samples, int first, const int* lengths) {
  using Step = typename M::First;
  using F = Features<M, B>;
  static_assert(buffer_size<typename M::template Parameters<double>> == size);
  Result r;
  r.moments.resize(static_cast<std::size_t>(Step::moment_rows * Step::D));
  Cpu d;
  const auto weights = [](const std::vector<double>& from) {
    return M::template weights<0>(bind<typename M::template Parameters<const double>>(from.data()));
  };
  const typename Step::template Samples<double, B> input{samples.data()};
  {
    std::vector<double> workspace(buffer_size<typename Step::template Workspace<double, B>>);
    std::vector<int> indices(buffer_size<typename Step::template Indices<B>>);
    const Pass<Cpu, true> pass{d, {.seed = 7, .update = 3, .sample_ids = ids + first, .masks = config.clone_batch}};
    r.sums = Step::step_by_masks(pass, weights(student), weights(teacher),
                                 M::template weights<0>(bind<typename M::template Parameters<double>>(r.gradient.data())),
                                 input, input, {.loss = {.d2v_loss = 0.75, .cls_loss = 0.5}, .mask_noise_std = 1.0}, sample_size,
                                 bind<typename Step::template Workspace<double, B>>(workspace.data()),
                                 bind<typename Step::template Indices<B>>(indices.data()), r.moments.data(), lengths);
  }
  std::vector<double> workspace(buffer_size<typename F::template Workspace<double>>);
  std::vector<int> indices(buffer_size<typename F::Index>);
  const auto features = F::run(d, weights(student), input, bind<typename F::template Workspace<double>>(workspace.data()),
                               bind<typename F::Index>(indices.data()), F::last_layer, lengths);
  std::vector<double> pooled(static_cast<std::size_t>(B * F::D));
  F::mean_pool(d, features, pooled.data(), lengths);
  for (int b = 0; b < B; ++b) {
    const int tokens = F::E + (lengths ? F::Enc::valid_tokens(lengths[b]) : F::Enc::T_);
    r.features.insert(r.features.end(), features[b].data, features[b].data + tokens * F::D);
    r.features.insert(r.features.end(), pooled.begin() + b * F::D, pooled.begin() + (b + 1) * F::D);
  }
  return r;
}

constexpr int lengths[] = {whole, 61, 80};

/// The recordings in rows of `whole` numbers, with `behind` behind each.
std::vector<double> rows(double behind) {
  std::vector<double> all = recordings;
  for (int b = 0; b < 3; ++b) std::fill(all.begin() + b * whole + lengths[b], all.begin() + (b + 1) * whole, behind);
  return all;
}

/// Recording b in the type of its length.
template <int length>
Result alone(int b) {
  return run<Model<length>, 1>({recordings.begin() + b * whole, recordings.begin() + b * whole + length}, b, nullptr);
}

void add(Result& a, const Result& b) {
  a.sums += b.sums;
  for (std::size_t i = 0; i < size; ++i) a.gradient[i] += b.gradient[i];
  for (std::size_t i = 0; i < a.moments.size(); ++i) a.moments[i] += b.moments[i];
  a.features.insert(a.features.end(), b.features.begin(), b.features.end());
}

/// Some hundred operations in another order, between them norms that divide by deviations of 0.01 and more.
constexpr double bound = 1e-11;

void check_close(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::fabs(a[i] - b[i]));
    largest = std::max(largest, std::fabs(b[i]));
  }
  CHECK(largest > 1e-6);  // more than rounding: the comparison says something
  CHECK(most < bound * largest);
}

}  // namespace

static_assert(Padded::First::T_ == 15 && Model<61>::First::T_ == 9 && Model<80>::First::T_ == 12);

TEST_CASE("padding: recordings of several lengths in a batch are those of the types of their lengths") {
  const Result together = run<Padded, 3>(rows(0), 0, lengths);
  Result apart = run<Padded, 1>({recordings.begin(), recordings.begin() + whole}, 0, nullptr);
  add(apart, alone<61>(1));
  add(apart, alone<80>(2));
  CHECK(together.sums.sample_size == 2 * (7 + 4 + 6));
  CHECK(together.sums.sample_size == apart.sums.sample_size);
  CHECK(together.sums.regression == doctest::Approx(apart.sums.regression).epsilon(bound));
  CHECK(together.sums.cls == doctest::Approx(apart.sums.cls).epsilon(bound));
  check_close(together.gradient, apart.gradient);
  check_close(together.moments, apart.moments);
  check_close(together.features, apart.features);
  // No tensor is so small beside the largest that the comparison would not see it.
  for (const TensorInfo& info : tensor_table<Padded::Parameters<double>>) {
    const auto begin = static_cast<std::ptrdiff_t>(info.offset), end = begin + static_cast<std::ptrdiff_t>(info.size);
    INFO(std::string(info.name.view()));
    check_close({together.gradient.begin() + begin, together.gradient.begin() + end},
                {apart.gradient.begin() + begin, apart.gradient.begin() + end});
  }
}

TEST_CASE("padding: what stands behind a recording changes no bit") {
  const Result zeros = run<Padded, 3>(rows(0), 0, lengths), others = run<Padded, 3>(rows(-3.5), 0, lengths);
  CHECK(zeros.sums.total() == others.sums.total());
  CHECK(zeros.gradient == others.gradient);
  CHECK(zeros.moments == others.moments);
  CHECK(zeros.features == others.features);
}

TEST_CASE("padding: a type with full recordings is that without padding") {
  struct Plain : Data2Vec2<config, Branch<Speech<[] {
                                            SpeechConfig c = waveforms<whole>;
                                            c.modality.padding = Padding::none;
                                            return c;
                                          }()>,
                                          BlockMask1d<15, masks>, Conv1dDecoder<decoder>>> {};
  const Result padded = run<Padded, 1>(recordings, 0, nullptr), plain = run<Plain, 1>(recordings, 0, nullptr);
  CHECK(padded.sums.total() == plain.sums.total());
  CHECK(padded.gradient == plain.gradient);
  CHECK(padded.features == plain.features);
}
