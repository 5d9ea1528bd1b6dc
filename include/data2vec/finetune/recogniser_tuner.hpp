// SPDX-License-Identifier: MIT
// Fine-tuning of a recogniser on the CPU: the sibling of finetuner.hpp for utterances with transcripts, of one or of
// several static lengths. Every utterance counts: what fills up a short chunk has no part in loss and gradient.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/finetune/copy_encoder.hpp>
#include <data2vec/finetune/finetuner.hpp>
#include <data2vec/finetune/recogniser.hpp>
#include <data2vec/finetune/recogniser_options.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/training/updater.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// The lengths of a model: those of Lengths (objective/lengths.hpp), or the one that it has.
template <class Model>
struct LengthsOf {
  static constexpr int count = 1;
  template <int>
  using At = Model;
};
template <class Model>
  requires requires { typename Model::template LengthAt<0>; }
struct LengthsOf<Model> {
  static constexpr int count = Model::branches;
  template <int i>
  using At = typename Model::template LengthAt<i>;
};

}  // namespace detail

template <class Model, int symbols, class Device>
class RecogniserTuner;

template <class Model, int num_symbols, class Isa>
class RecogniserTuner<Model, num_symbols, BasicCpu<Isa>> {
 public:
  using T = float;
  using LengthTypes = detail::LengthsOf<Model>;
  static constexpr int symbols = num_symbols, lengths = LengthTypes::count;
  template <int i>
  using NetAt = Recogniser<typename LengthTypes::template At<i>, symbols>;
  using Net = NetAt<0>;
  using ModelType = Net;  ///< what a checkpoint describes (see finetune/recogniser_checkpoint.hpp)
  using Batch = UtteranceBatch<T>;
  using Parameters = typename Net::template Parameters<T>;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr std::string_view prefix = Net::encoder_prefix;

  /// Samples per chunk, and per unit of work, of length `i`.
  template <int i>
  static constexpr int chunk_of = default_classifier_chunk<NetAt<i>>;
  template <int i>
  static constexpr int unit_samples_of = samples_per_unit(
      chunk_of<i>, size, 3 * (NetAt<i>::Enc::Local::flops_per_sample + NetAt<i>::Enc::flops(NetAt<i>::S)));

  /// Weights start at random: a recogniser from scratch.
  explicit RecogniserTuner(const RecogniserOptions& options) : options_(options), updater_(options.threads) {
    options.validate();
    threads_.reserve(static_cast<std::size_t>(updater_.team().size()));
    for (int i = 0; i < updater_.team().size(); ++i) threads_.emplace_back();
    for (const TensorInfo& info : tensor_table<Parameters>) {
      const std::string_view own = without_prefix(info.name.view(), prefix);
      in_encoder_.push_back(!own.empty());
      learns_.push_back(own.empty() || Model::receives_gradient(own));
    }
    Buffer<T> encoder(buffer_size<Source>);
    Model::initialise(encoder.data(), options.seed);
    initialise_tensors<Parameters>(weights().data(), options.seed, Net::config.mae_init);
    set_encoder({encoder.data(), encoder.size()});
  }

  /// The encoder is a pre-trained one, the head is new. `pretrained` is a buffer of Model::Parameters.
  RecogniserTuner(const RecogniserOptions& options, std::span<const T> pretrained) : RecogniserTuner(options) {
    set_encoder(pretrained);
  }

  /// Copies what the recogniser has of a buffer of Model::Parameters. Moments and update count stay as they are.
  void set_encoder(std::span<const T> pretrained) {
    copy_encoder<Parameters, Source>(pretrained, prefix, weights().data());
  }

  /// One update. Throws OptionError if the batch does not fit the model, and MismatchError, naming the utterance by its
  /// id, for a target that CTC cannot learn (see check_ctc_target); no other exception.
  RecogniserReport step(const Batch& batch) {
    return at(batch.bucket, [&]<int i>() {
      check<i>(batch);
      return train<i>(batch);
    });
  }

  /// Logits in evaluation mode: `seen(row, logits)` is called in the order of the batch's rows, one at a time, with
  /// logits (valid frames, symbols). Labels are not read. Throws OptionError if the batch does not fit the model.
  template <class Seen>
  void logits(const Batch& batch, Seen&& seen) {
    at(batch.bucket, [&]<int i>() {
      check<i>(batch, false);
      constexpr int chunk = chunk_of<i>;
      const std::size_t n = batch.ids.size();
      turns_.restart();
      updater_.team().for_each_task(static_cast<int>((n + chunk - 1) / chunk), [&](int number, int task) {
        const std::size_t first = static_cast<std::size_t>(task) * chunk,
                          count = std::min<std::size_t>(chunk, n - first);
        using W = typename NetAt<i>::template Workspace<T, chunk, false>;
        const auto chunk_lengths = lengths_of<i>(batch, first, count);
        const auto w = bind<W>(thread(number).workspace.data());
        NetAt<i>::forward(Pass{updater_.device(number)}, read<i>(), samples_of<i>(number, batch, first, count), w,
                          index<i>(number), {}, used<i>(chunk_lengths));
        int valid[chunk];
        NetAt<i>::template valid_frames<chunk>(used<i>(chunk_lengths), valid);
        turns_.wait_for(task);
        for (std::size_t b = 0; b < count; ++b)
          seen(first + b, std::span<const T>(w.logits[static_cast<std::ptrdiff_t>(b)].data,
                                             static_cast<std::size_t>(valid[b]) * symbols));
        turns_.done(task);
      });
      return 0;
    });
  }

  /// Counts an update whose step was skipped, so that the next one has other samples and other draws.
  void pass_over() { ++updates_; }

  std::int64_t updates() const { return updates_; }
  const RecogniserOptions& options() const { return options_; }
  /// All parameters, a buffer of `Parameters`.
  std::span<T> weights() { return updater_.weights(); }
  std::span<const T> weights() const { return updater_.weights(); }
  std::span<const T> gradient() const { return updater_.gradient(); }

  /// Everything that a checkpoint keeps, as Trainer::state(); there is no teacher.
  TrainingState state() {
    return {updater_.weights().data(), nullptr, updater_.m().data(), updater_.v().data(), &updates_};
  }

 private:
  using Source = typename Model::template Parameters<T>;
  template <int i>
  static constexpr int sample_size = NetAt<i>::M::sample_size;

  /// The most that `of` gives for any of the lengths.
  static constexpr std::size_t most(auto&& of) {
    return [&]<int... i>(std::integer_sequence<int, i...>) {
      return std::max({of.template operator()<i>()...});
    }(std::make_integer_sequence<int, lengths>{});
  }
  static constexpr std::size_t workspace_size = most([]<int i>() {
    return std::max(buffer_size<typename NetAt<i>::template Workspace<T, chunk_of<i>>>,
                    buffer_size<typename NetAt<i>::template Workspace<T, chunk_of<i>, false>>);
  });
  static constexpr std::size_t index_size =
      most([]<int i>() { return buffer_size<typename NetAt<i>::template Index<chunk_of<i>>>; });
  static constexpr std::size_t chunk_samples =
      most([]<int i>() { return static_cast<std::size_t>(chunk_of<i> * sample_size<i>); });
  static constexpr std::size_t most_rows = most([]<int i>() { return static_cast<std::size_t>(chunk_of<i>); });

  struct Thread {
    Buffer<T> workspace{workspace_size};
    Buffer<int> indices{index_size};
    Buffer<T> samples{chunk_samples};  // of a chunk that is filled up
    Buffer<std::uint32_t> ids{most_rows};
    std::vector<CtcBatch> targets = [] {  // of each length; no target has more labels than frames
      std::vector<CtcBatch> all;
      [&]<int... i>(std::integer_sequence<int, i...>) {
        (all.emplace_back(chunk_of<i>, NetAt<i>::T_, NetAt<i>::T_), ...);
      }(std::make_integer_sequence<int, lengths>{});
      return all;
    }();
    double loss = 0;
  };

  Thread& thread(int number) { return threads_[static_cast<std::size_t>(number)]; }
  template <int i>
  auto read() const {
    return bind<typename NetAt<i>::template Parameters<const T>>(static_cast<const T*>(updater_.weights().data()));
  }
  template <int i>
  auto index(int number) {
    return bind<typename NetAt<i>::template Index<chunk_of<i>>>(thread(number).indices.data());
  }

  /// f.operator()<i>() for the length with that number.
  template <class F>
  static auto at(int bucket, F&& f) {
    if (bucket < 0 || bucket >= lengths)
      throw OptionError("recogniser: expected a length from 0 to " + std::to_string(lengths - 1) + ", found " +
                        std::to_string(bucket));
    return choose<0>(bucket, f);
  }
  template <int i, class F>
  static auto choose(int bucket, F& f) {
    if constexpr (i + 1 < lengths)
      if (bucket != i) return choose<i + 1>(bucket, f);
    return f.template operator()<i>();
  }

  /// A whole chunk of samples, `count` of which are the batch's from `first` on; the rest repeat the last one.
  template <int i>
  auto samples_of(int number, const Batch& batch, std::size_t first, std::size_t count) {
    constexpr int chunk = chunk_of<i>, width = sample_size<i>;
    View<const T, chunk, width> samples{batch.samples.data() + first * width};
    if (count == static_cast<std::size_t>(chunk)) return samples;
    T* const own = thread(number).samples.data();
    std::copy_n(samples.data, count * width, own);
    for (std::size_t b = count; b < chunk; ++b) std::copy_n(own + (count - 1) * width, width, own + b * width);
    samples.data = own;
    return samples;
  }

  /// Samples of each row of a chunk that are no padding.
  template <int i>
  static std::array<int, chunk_of<i>> lengths_of(const Batch& batch, std::size_t first, std::size_t count) {
    std::array<int, chunk_of<i>> found;
    for (std::size_t b = 0; b < found.size(); ++b)
      found[b] = batch.lengths.empty() ? sample_size<i> : batch.lengths[first + std::min(b, count - 1)];
    return found;
  }
  template <int i>
  static const int* used(const std::array<int, chunk_of<i>>& samples) {
    return NetAt<i>::padded ? samples.data() : nullptr;
  }

  template <int i>
  static void check(const Batch& batch, bool labelled = true) {
    using This = NetAt<i>;
    const std::size_t n = batch.ids.size();
    const auto expect = [](std::size_t expected, const char* what, std::size_t found) {
      if (found != expected)
        throw OptionError("recogniser: expected " + std::to_string(expected) + " " + what + ", found " +
                          std::to_string(found));
    };
    if (n == 0) throw OptionError("recogniser: expected at least one utterance, found none");
    expect(n * static_cast<std::size_t>(sample_size<i>), "numbers in the samples", batch.samples.size());
    if (!batch.lengths.empty()) expect(n, "lengths", batch.lengths.size());
    for (const int length : batch.lengths)
      if (length > sample_size<i> || (!This::padded && length < sample_size<i>) || This::Enc::valid_tokens(length) < 1)
        throw OptionError("recogniser: expected lengths " +
                          std::string(This::padded ? "of one frame or more, up to " : "of ") +
                          std::to_string(sample_size<i>) +
                          (This::padded ? "" : " (ModalityConfig::padding is Padding::none)") + ", found " +
                          std::to_string(length));
    if (!labelled) return;
    expect(n, "targets", batch.labels.size());
    for (std::size_t row = 0; row < n; ++row) {
      const int frames = batch.lengths.empty() ? This::T_ : This::Enc::valid_tokens(batch.lengths[row]);
      if (!ctc_target_fits(batch.labels[row], frames, symbols))
        check_ctc_target("utterance " + std::to_string(batch.ids[row]), batch.labels[row], frames, symbols);
    }
  }

  template <int i>
  RecogniserReport train(const Batch& batch) {
    const std::size_t n = batch.ids.size();
    RecogniserReport report{.update = updates_, .samples = static_cast<std::int64_t>(n)};
    for (const auto labels : batch.labels) report.labels += static_cast<std::int64_t>(labels.size());
    report.bucket = batch.bucket;
    report.frozen = updates_ < options_.freeze_finetune_updates;
    report.learning_rate = learning_rate(options_.schedule, updates_);
    const auto divisor = static_cast<double>(options_.sentence_avg ? report.samples : report.labels);
    constexpr int unit_samples = unit_samples_of<i>, chunk = chunk_of<i>;
    loss_ = 0;
    updater_.accumulate(
        static_cast<int>((n + unit_samples - 1) / unit_samples),
        [&](int number, int unit, T* gradient) {
          thread(number).loss = 0;
          const std::size_t begin = static_cast<std::size_t>(unit) * unit_samples,
                            end = std::min(n, begin + unit_samples);
          for (std::size_t first = begin; first < end; first += chunk)
            run_chunk<i>(number, gradient, batch, first, std::min<std::size_t>(chunk, n - first), divisor,
                         report.frozen);
        },
        [&](int number, int) { loss_ += thread(number).loss; });
    report.loss = loss_ / divisor;
    report.gradient_norm = updater_.gradient_norm();
    report.updated = is_finite(report.gradient_norm);
    report.skipped = !report.updated;
    if (report.updated) apply(report);
    return report;
  }

  template <int i>
  void run_chunk(int number, T* gradient, const Batch& batch, std::size_t first, std::size_t count, double divisor,
                 bool frozen) {
    using This = NetAt<i>;
    constexpr int chunk = chunk_of<i>;
    Thread& own = thread(number);
    std::copy_n(batch.ids.data() + first, count, own.ids.data());
    std::fill(own.ids.begin() + count, own.ids.end(), own.ids[count - 1]);
    const auto chunk_lengths = lengths_of<i>(batch, first, count);
    int valid[chunk];
    This::template valid_frames<chunk>(used<i>(chunk_lengths), valid);
    CtcBatch& targets = own.targets[static_cast<std::size_t>(i)];
    for (std::size_t b = 0; b < count; ++b) targets.set(static_cast<int>(b), batch.labels[first + b], valid[b]);
    const Draws draws{options_.seed, static_cast<std::uint32_t>(updates_), own.ids.data(), 1};
    const Pass<BasicCpu<Isa>, true> pass{updater_.device(number), draws, options_.rates};
    const auto indices = index<i>(number);
    indices.masks.draw(draws, options_.mask, valid);
    const auto w = bind<typename This::template Workspace<T, chunk>>(own.workspace.data());
    const CtcSums sums = This::step(
        pass, read<i>(), bind<typename This::template Parameters<T>>(gradient),
        samples_of<i>(number, batch, first, count), static_cast<int>(count), targets, divisor, w, indices,
        {.zero = options_.mask.zero_mask, .noise_std = options_.mask.mask_noise_std}, used<i>(chunk_lengths), frozen);
    own.loss += sums.loss;
  }

  void apply(const RecogniserReport& report) {
    const double factor = clip_factor(report.gradient_norm, options_.optimizer.clip_norm);
    updater_.apply(
        options_.optimizer,
        [&](std::size_t row) {  // a frozen tensor's own updates are yet to begin: its count is below 1
          const std::int64_t waits = in_encoder_[row] ? options_.freeze_finetune_updates : 0;
          return TensorUpdate{report.learning_rate, learns_[row] ? updates_ + 1 - waits : 0, factor};
        },
        [](auto&&...) {});
    ++updates_;
  }

  RecogniserOptions options_;
  Updater<Parameters, Isa> updater_;
  std::vector<Thread> threads_;
  std::vector<bool> in_encoder_, learns_;  // by row of the table
  Turns turns_;
  double loss_ = 0;
  std::int64_t updates_ = 0;
};

}  // namespace data2vec::inline v0
